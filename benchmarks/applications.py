"""Every application on its public data, by the command line and its defaults: metrics on test data, time, size.

    ELMAN_DATA=FOLDER python -m benchmarks.applications                 # all rows, about an hour on two cores
    ELMAN_DATA=FOLDER python -m benchmarks.applications --rows subj,splice

Each row prepares its data where the task does not read it as published, trains by `elman train` in a process of its
own, and takes the metrics of the best weights on the test data. A finished row is written to the result file at once.
`python -m benchmarks.applications --table` prints the table of the results and puts it into README.md, those of the
plain PyTorch scripts of benchmarks.plain beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import elman
from benchmarks.application_rows import ROWS as TEXT_ROWS
from benchmarks.application_rows import Row
from benchmarks.engine import processor
from benchmarks.signal_rows import SIGNAL_ROWS
from benchmarks.tables import put_between_marks
from elman.cli.inspecting import examine
from elman.tasks import TASKS

ROWS = (*TEXT_ROWS, *SIGNAL_ROWS)
FRONT = Path(__file__).parents[1] / "README.md"
MARKS = "<!-- applications: begin, python -m benchmarks.applications --table -->", "<!-- applications: end -->"
RESULTS = Path(__file__).parent / "results" / "applications.json"
PLAIN = RESULTS.with_name("plain_torch.json")
DATA_VARIABLE = "ELMAN_DATA"


def run_row(row: Row, data: Path, threads: int) -> dict[str, Any]:
    """Prepare the data, train, and return what was reached."""
    with tempfile.TemporaryDirectory(prefix="elman-application-") as place:
        folder = Path(place)
        words = row.words(data, folder)
        command = [sys.executable, "-m", "elman", "train", *map(str, words), "-o", str(folder / "run"), "--json", "-q"]
        start, used = time.perf_counter(), children_seconds()
        done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{row.name}: training must end well; got code {done.returncode}\n{done.stderr}")
        found = json.loads(done.stdout)
        return {
            "row": row.name,
            "command": " ".join(["elman train", *(str(w).replace(str(folder), "PREPARED") for w in words)]).replace(
                str(data), "DATA"
            ),
            "metric": row.metric,
            "value": found["test"][row.metric],
            "test": found["test"],
            "validation": found["best"],
            "seconds": round(found["seconds"], 1),
            "seconds_with_reading_and_test": round(time.perf_counter() - start, 1),
            "processor_seconds": round(children_seconds() - used, 1),
            "steps": found["steps"],
            "parameters": count_parameters(folder / "run"),
            "items_per_second": speed(folder / "run"),
            "threads": threads,
            "machine": machine(),
        }


def children_seconds() -> float:
    """Return the processor time of all finished children: on a shared machine it says more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def count_parameters(run: Path) -> int:
    """Return how many numbers a model learns, a matrix that two parts share counted once."""
    parameters: int = examine(run)["model"]["parameters"]
    return parameters


def speed(run: Path) -> float | None:
    """Return the items per second of the last record of training."""
    lines = (run / "timing.jsonl").read_text(encoding="utf-8").splitlines()
    return round(json.loads(lines[-1])["items_per_second"], 1) if lines else None


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows already in a result file, by name."""
    if not path.exists():
        return {}
    return {row["row"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}


def machine() -> dict[str, str]:
    """Return where and with what a row was measured."""
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "elman": elman.__version__,
    }


def save(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Write a result file, whole or not at all."""
    ordered = [rows[row.name] for row in ROWS if row.name in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rows": ordered}, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def table(rows: dict[str, dict[str, Any]], plain: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of the results, those that fall short among them.

    Args:
        rows: Of this benchmark, by name.
        plain: Of benchmarks.plain, by name.
    """
    lines = [
        "| data | metric on test data | Elman | plain PyTorch | elsewhere | processor | a second | parameters |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        found = rows.get(row.name)
        if found is None:
            continue
        reached = with_time(row, found)
        if not row.met(found["value"]):
            reached += f" (short of {row.shown(row.must)})"
        beside = with_time(row, plain[row.name]) if row.name in plain else ""
        task = found["command"].split()[2]  # elman train TASK
        lines.append(
            f"| {row.data} | {row.metric_in_words} | {reached} | {beside} | {row.plain} | "
            f"{found['processor_seconds']:,.0f} s | {found['items_per_second']:,.0f} {TASKS[task].unit} | "
            f"{found['parameters']:,} |"
        )
    return "\n".join(lines)


def with_time(row: Row, found: dict[str, Any]) -> str:
    """Return what was reached, and the time of training by the clock."""
    threads = "" if found["threads"] == 2 else ", one thread"
    return f"{row.shown(found['value'])}, {found['seconds']:,.0f} s{threads}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen rows, save each as soon as it is there, print the table."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.applications", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rows", default=",".join(names), help=f"comma-separated, of {', '.join(names)}")
    parser.add_argument("--threads", type=int, default=2, help="threads of training (default 2)")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table of the results")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="result file (default benchmarks/results/applications.json)"
    )
    options = parser.parse_args(argv)
    rows = load(options.output)
    if not options.table:
        folder = os.environ.get(DATA_VARIABLE)
        if folder is None:
            raise SystemExit(f"applications: the variable {DATA_VARIABLE} must name the folder of public data sets")
        wanted = options.rows.split(",")
        if unknown := set(wanted) - set(names):
            raise SystemExit(f"applications: rows must be among {', '.join(names)}; got {', '.join(sorted(unknown))}")
        for row in (row for row in ROWS if row.name in wanted):
            rows[row.name] = run_row(row, Path(folder), options.threads)
            save(options.output, rows)
            print(f"{row.name}: {row.metric} {row.shown(rows[row.name]['value'])}", file=sys.stderr, flush=True)
    made = table(rows, load(PLAIN))
    print(made)
    if options.output == RESULTS:
        FRONT.write_text(put_between_marks(FRONT.read_text(encoding="utf-8"), made, MARKS), encoding="utf-8")


if __name__ == "__main__":
    main()
