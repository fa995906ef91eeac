"""How fast is the engine beside its peers: any cell, any lengths, forward and back, validated and then timed in turns.

    python -m benchmarks.engine --preset targets          # what the target table needs; 8 minutes on two quiet cores
    python -m benchmarks.engine --preset full --minutes 30
    python -m benchmarks.engine --cells lstm,gru --shapes 32x100x256 --peers elman,torch.nn --threads 1,2
    python -m benchmarks.tables                           # the tables, from the results

Every finished row is written to the result file at once; running the same command again goes on with the rows that
are missing, and with those that lack a peer that is asked for. `--again` measures all of them anew. A peer that is not
installed is reported as absent; one that computes something else than the oracle stops the run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import elman
from benchmarks.cases import CELLS, CONTROLS, PEERS, PRESETS, SHAPES, Case, Wanted, merged
from benchmarks.worker import Worker
from elman.plans.native import target

FOLDER = Path(__file__).parent / "results"
LIBRARIES = ("torch", "numpy", "jax", "onnxruntime", "torchrecurrent")
Row = dict[str, Any]


def results(what: str) -> Path:
    """Return where results lie of processors like this one: those that run the same target of the engine."""
    return FOLDER / f"{what}_{target()}.json"


def load_rows(path: Path) -> list[Row]:
    """Return the rows already in the result file."""
    if path.is_dir():
        raise SystemExit(f"engine: --output must be a file; got the folder '{path}'")
    if not path.exists():
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def save_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the result file, whole or not at all; a row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    temporary = path.with_suffix(".part")
    temporary.write_text(f'{{\n "machine": {json.dumps(machine())},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    os.replace(temporary, path)


def machine() -> dict[str, Any]:
    """Where and with what the rows were measured."""
    found = {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(), "processor": processor()}
    return found | {"python": platform.python_version(), "elman": elman.__version__} | versions()


def processor() -> str:
    """Return the name of the processor, with what it offers to products."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    pairs = (line.partition(":") for line in lines)
    table = {name.strip(): value.strip() for name, _, value in pairs}
    offers = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in table.get("flags", "").split()]
    return (
        f"{table.get('model name', platform.processor() or 'unknown')} ({', '.join(offers) or 'no vector units known'})"
    )


def versions() -> dict[str, str]:
    """Return the versions of the peers; what is not installed is left out."""
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    return {name: installed[name] for name in LIBRARIES if name in installed}


def commit() -> str:
    """Return the commit that is measured, with a + where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


@dataclass
class Run:
    """One run of the command: what it measures and where the rows go.

    Args:
        path: Of the result file.
        seconds: For each peer of a case.
        deadline: Moment, by time.monotonic, after which no case begins.
    """

    path: Path
    seconds: float
    deadline: float
    rows: list[Row] = field(default_factory=list)
    workers: dict[tuple[str, int], Worker] = field(default_factory=dict)

    def measure_all(self, wanted: Sequence[Wanted], again: bool) -> int:
        """Measure the cases that are missing; return how many are left when the time is up."""
        self.rows = load_rows(self.path)
        waiting = [w for w in wanted if again or self.missing(*w)]
        try:
            for n, (case, names) in enumerate(waiting):
                if time.monotonic() > self.deadline:
                    return len(waiting) - n
                self.add(case, self.in_order(case, names))
        finally:
            for worker in self.workers.values():
                worker.close()
        return 0

    def row_of(self, case: Case) -> Row | None:
        """The row of a case, if there is one."""
        return next((row for row in self.rows if row["case"] == asdict(case)), None)

    def missing(self, case: Case, names: Sequence[str]) -> bool:
        """Say whether a case lacks a peer."""
        row = self.row_of(case)
        return row is None or not set(names) <= {*row["peers"], *row["absent"]}

    def in_order(self, case: Case, names: Sequence[str]) -> list[str]:
        """The peers to measure: those asked for, and those that the row had, since all of a row are timed in turns."""
        row = self.row_of(case)
        known = {*names, *(row["peers"] if row else ())}
        return [name for name in (*PEERS, *CONTROLS) if name in known]

    def add(self, case: Case, names: Sequence[str]) -> None:
        """Measure a case, put its row into the file."""
        row = self.ask_memory(case, names) if case.memory else self.ask(case, names)
        row = {"case": asdict(case), **row, "load": round(os.getloadavg()[0], 1), "commit": commit()}
        self.rows = [r for r in self.rows if r["case"] != asdict(case)] + [row]
        save_rows(self.path, self.rows)
        print(line(row), file=sys.stderr, flush=True)

    def ask(self, case: Case, names: Sequence[str]) -> Row:
        """Let the process with the settings of a case measure it."""
        key = case.allocator, case.threads
        if key not in self.workers:
            self.workers[key] = Worker(*key)
        return self.workers[key].ask({"case": asdict(case), "peers": list(names), "seconds": self.seconds})

    def ask_memory(self, case: Case, names: Sequence[str]) -> Row:
        """Let each peer show its peak in a process of its own."""
        together: Row = {"peers": {}, "absent": {}}
        for name in names:
            worker = Worker("default", case.threads)
            found = worker.ask({"case": asdict(case), "peers": [name], "seconds": self.seconds})
            worker.close()
            together["peers"] |= found["peers"]
            together["absent"] |= found["absent"]
        return together


def line(row: Row) -> str:
    """One row for people who wait."""
    case = Case(**row["case"])
    special = [case.lengths, case.way, case.precision, case.allocator] + ["last"] * (case.loss == "last")
    head = f"{case.cell:16}{'x'.join(map(str, case.shape)):>13} {' '.join(special)} {case.threads} threads"
    unit = "peak_mib" if case.memory else "median"
    found = [f"{name} {peer[unit]:.4g}" for name, peer in row["peers"].items()]
    found += [f"{name} absent" for name in row["absent"]]
    return f"{head}: {', '.join(found)} {'MiB' if case.memory else 'ms'}"


def chosen(options: argparse.Namespace) -> list[Wanted]:
    """The cases that a command line asks for: a preset, or the combinations of what is listed."""
    given = (options.cells, options.shapes, options.peers)
    if options.preset and any(given):
        raise SystemExit("engine: --preset must stand alone; got --cells, --shapes or --peers beside it")
    precisions = listed("precisions", options.precisions or "float32", ("float32", "bf16"))
    if options.preset or not any(given):
        wanted = merged(list(PRESETS[options.preset or "quick"]()))
        return [w for w in wanted if options.precisions is None or w[0].precision in precisions]
    cells = listed("cells", options.cells, CELLS) if options.cells else tuple(CELLS)
    peers = listed("peers", options.peers, PEERS) if options.peers else ("elman", "torch.nn", "eager")
    shapes = [shape(text) for text in options.shapes.split(",")] if options.shapes else SHAPES
    lengths = listed("lengths", options.lengths, ("equal", "ragged"))
    ways = listed("ways", options.ways, ("forward", "both"))
    threads = [
        int(n) for n in listed("threads", options.threads, [str(n) for n in range(1, (os.cpu_count() or 1) + 1)])
    ]
    combinations = product(cells, shapes, lengths, ways, precisions, threads)
    return merged([(Case(c, *s, n, w, precision=p, threads=t), peers) for c, s, n, w, p, t in combinations])


def listed(option: str, text: str, known: Sequence[str] | dict[str, Any]) -> tuple[str, ...]:
    """Split a comma-separated option and check its parts."""
    parts = tuple(text.split(","))
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise SystemExit(f"engine: --{option} must be among {', '.join(known)}; got '{unknown[0]}'")
    return parts


def shape(text: str) -> tuple[int, int, int]:
    """Read BxTxH."""
    parts = text.split("x")
    if len(parts) != 3 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise SystemExit(f"engine: --shapes must be like 32x100x256, sequences x steps x hidden size; got '{text}'")
    batch, steps, hidden = map(int, parts)
    return batch, steps, hidden


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), help="a set of cases (default quick, when nothing is listed)"
    )
    parser.add_argument("--cells", help=f"comma-separated (default all): {', '.join(CELLS)}")
    parser.add_argument(
        "--shapes", help="comma-separated, sequences x steps x hidden size: 32x100x256 (default all six)"
    )
    parser.add_argument("--peers", help=f"comma-separated (default elman,torch.nn,eager): {', '.join(PEERS)}")
    parser.add_argument("--lengths", default="equal", help="equal, ragged (default equal)")
    parser.add_argument("--ways", default="both", help="forward, both (default both: forward and back)")
    parser.add_argument("--precisions", help="float32, bf16 (default float32; of a preset: those that it holds)")
    parser.add_argument("--threads", default="2", help="numbers of threads (default 2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each peer of a case (default 1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="after these no case begins (default 60)")
    parser.add_argument("--again", action="store_true", help="measure rows anew that are in the result file")
    parser.add_argument(
        "--output",
        type=Path,
        help="result file (default benchmarks/results/engine_TARGET.json, by the engine's target)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, save each row as soon as it is there."""
    options = arguments(argv)
    run = Run(options.output or results("engine"), options.seconds, time.monotonic() + 60 * options.minutes)
    left = run.measure_all(chosen(options), options.again)
    if left:
        print(f"engine: {left} cases left when the time was up; the same command goes on with them", file=sys.stderr)


if __name__ == "__main__":
    main()
