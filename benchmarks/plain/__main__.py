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
from benchmarks.plain.labels import clips, digits, fsdd_digits, gestures, promoters, splice
from benchmarks.plain.rides import bikes, bikes_with_lag
from benchmarks.plain.rolls import nottingham_independent
from benchmarks.plain.speech import fsdd_strings
from benchmarks.plain.tagger import ewt, wnut17
from benchmarks.plain.texts import sst, subj
from benchmarks.plain.translator import dates, multi30k
from benchmarks.worker import TUNED

SCRIPTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "sst": sst,
    "subj": subj,
    "wnut17": wnut17,
    "ewt": ewt,
    "nottingham_independent": nottingham_independent,
    "fsdd_digits": fsdd_digits,
    "fsdd_strings": fsdd_strings,
    "multi30k": multi30k,
    "dates": dates,
    "splice": splice,
    "promoters": promoters,
    "clips": clips,
    "gestures": gestures,
    "bikes": bikes,
    "bikes-lag": bikes_with_lag,
    "digits": digits,
}
"""By the name of the row."""


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
