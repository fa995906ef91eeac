"""What a user would write without Elman: short PyTorch scripts for rows of benchmarks.applications, timed beside it.

    ELMAN_DATA=FOLDER python -m benchmarks.plain                   # every row that has a script
    ELMAN_DATA=FOLDER python -m benchmarks.plain --rows splice,ewt

They know nothing of Elman. Each runs in a process of its own with glibc's allocator tuned, on as many threads as the
row of benchmarks.applications has; its time is that of training, reading and testing not counted.
A finished row is written to the result file at once; benchmarks.applications puts it into its table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.applications import DATA_VARIABLE, PLAIN, load, machine, save
from benchmarks.plain.labels import clips, digits, fsdd_digits, promoters, splice
from benchmarks.plain.speech import fsdd_strings
from benchmarks.plain.tagger import ewt
from benchmarks.plain.translator import multi30k
from benchmarks.worker import TUNED

SCRIPTS: dict[str, Callable[[Path], dict[str, float]]] = {
    script.__name__: script for script in (splice, promoters, fsdd_digits, fsdd_strings, clips, digits, ewt, multi30k)
}


def run_here(name: str, data: Path, threads: int) -> None:
    """Run a script in this process and print what it reached as JSON."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    print(json.dumps(SCRIPTS[name](data)))


def run_apart(name: str, threads: int) -> dict[str, Any]:
    """Run a script in a process of its own; return its row."""
    command = [sys.executable, "-m", "benchmarks.plain", "--here", name, "--threads", str(threads)]
    done = subprocess.run(command, env={**os.environ, **TUNED}, stdout=subprocess.PIPE, text=True, check=True)
    return {"row": name, **json.loads(done.stdout), "threads": threads, "machine": machine()}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen scripts, save and print each as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", default=",".join(SCRIPTS), help=f"comma-separated, of {', '.join(SCRIPTS)}")
    parser.add_argument("--threads", type=int, default=2, help="threads of training (default 2)")
    parser.add_argument("--here", choices=SCRIPTS, help="run this script only, in this process, and save nothing")
    parser.add_argument("--output", type=Path, default=PLAIN, help="result file (default benchmarks/results)")
    options = parser.parse_args(argv)
    folder = os.environ.get(DATA_VARIABLE)
    if folder is None:
        raise SystemExit(f"plain: the variable {DATA_VARIABLE} must name the folder of public data sets")
    if options.here:
        run_here(options.here, Path(folder), options.threads)
        return
    wanted = options.rows.split(",")
    if unknown := set(wanted) - set(SCRIPTS):
        raise SystemExit(f"plain: rows must be among {', '.join(SCRIPTS)}; got {', '.join(sorted(unknown))}")
    rows = load(options.output)
    for name in wanted:
        rows[name] = run_apart(name, options.threads)
        save(options.output, rows)
        print(f"{name}: {rows[name]['value']:.4f} in {rows[name]['seconds']:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
