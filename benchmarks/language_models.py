"""Language models of words and characters by the command line, beside a plain PyTorch script: loss, time, speed.

    ELMAN_DATA=FOLDER python -m benchmarks.language_models --rows ptb_medium --runs RUNS
    ELMAN_DATA=FOLDER python -m benchmarks.language_models --rows shakespeare_bf16,shakespeare_bf16_plain

Run folders stay in RUNS: one that was interrupted goes on when the command is given again. A finished row is written to
benchmarks/results/language_models.json at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.applications import DATA_VARIABLE, machine
from benchmarks.plain.characters import tinyshakespeare
from benchmarks.worker import TUNED
from elman.storage import write_json

RESULTS = Path(__file__).parent / "results" / "language_models.json"
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Row:
    """One model: the words behind `elman train language-model`, in which DATA and EXAMPLES stand for folders.

    Args:
        words: Of the command; none for the plain script.
        minutes: Of the plain script.
        precision: Of the plain script.
    """

    words: str = ""
    minutes: float = 0.0
    precision: str = "float32"


PTB = "DATA/ptb/ptb.train.txt --validation DATA/ptb/ptb.valid.txt --test DATA/ptb/ptb.test.txt --config EXAMPLES/"
SHAKESPEARE = "DATA/tinyshakespeare/input.txt"
ROWS = {
    "ptb_small": Row(PTB + "ptb_small.toml"),
    "ptb_medium": Row(PTB + "ptb_medium.toml"),
    "ptb_medium_tied": Row(PTB + "ptb_medium_tied.toml"),
    "shakespeare": Row(SHAKESPEARE),
    "shakespeare_15": Row(SHAKESPEARE + " --minutes 15"),
    "shakespeare_bf16": Row(SHAKESPEARE + " --minutes 15 --precision bf16"),
    "shakespeare_bf16_half": Row(SHAKESPEARE + " --minutes 3.5 --precision bf16"),
    "shakespeare_plain": Row(minutes=7, precision="float32"),
    "shakespeare_bf16_plain": Row(minutes=7, precision="bf16"),
    "shakespeare_bf16_plain_half": Row(minutes=3.5, precision="bf16"),
}


def train(name: str, data: Path, runs: Path, threads: int) -> dict[str, Any]:
    """Train a row by the command line, or go on with it; return what the command says."""
    words = [w.replace("DATA", str(data)).replace("EXAMPLES", str(EXAMPLES)) for w in ROWS[name].words.split()]
    run = runs / name
    if run.exists():
        command = ["resume", str(run)]
    else:
        command = ["train", "language-model", *words, "-o", str(run), "--threads", str(threads)]
    done = subprocess.run(
        [sys.executable, "-m", "elman", *command, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}: training must end well; got code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    del found["folder"]
    speeds = [json.loads(line)["items_per_second"] for line in (run / "timing.jsonl").read_text("utf-8").splitlines()]
    command_line = f"elman train language-model {ROWS[name].words}"
    return {"command": command_line, **found, "items_per_second": sorted(speeds)[len(speeds) // 2]}


def run_plain(name: str, threads: int) -> dict[str, Any]:
    """Run the plain script in a process of its own, with malloc tuned in its favour."""
    command = [sys.executable, "-m", "benchmarks.language_models", "--here", "--rows", name, "--threads", str(threads)]
    done = subprocess.run(command, env={**os.environ, **TUNED}, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Train the chosen rows, save and print each as soon as it is there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.language_models", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rows", required=True, help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders stay (default runs)")
    parser.add_argument("--threads", type=int, default=2, help="threads of training (default 2)")
    parser.add_argument("--here", action="store_true", help="run one plain script in this process, and save nothing")
    options = parser.parse_args(argv)
    folder, wanted = os.environ.get(DATA_VARIABLE), options.rows.split(",")
    if folder is None:
        raise SystemExit(f"language_models: the variable {DATA_VARIABLE} must name the folder of public data sets")
    if unknown := set(wanted) - set(ROWS):
        raise SystemExit(f"language_models: rows must be among {', '.join(ROWS)}; got {', '.join(sorted(unknown))}")
    if options.here:
        torch.manual_seed(0)
        torch.set_num_threads(options.threads)
        row = ROWS[wanted[0]]
        print(json.dumps(tinyshakespeare(Path(folder), row.minutes, row.precision)))
        return
    for name in wanted:
        if ROWS[name].words:
            found = train(name, Path(folder), options.runs, options.threads)
        else:
            found = run_plain(name, options.threads)
        rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        rows[name] = {**found, "threads": options.threads, "machine": machine()}
        write_json(RESULTS, rows)
        print(f"{name}: {json.dumps(rows[name])}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
