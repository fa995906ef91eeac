"""The tables of benchmarks/README.md, from the results: run after `python -m benchmarks.engine`.

    python -m benchmarks.tables            # writes benchmarks/README.md, and the block of README.md between its marks

A row of the target table gives the range over the shapes and the worst one, a column for each kind of processor; a
target that is missed stays, and says by how much. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import generation
from benchmarks.cases import CELLS, FUSED, Case, rival
from benchmarks.engine import FOLDER, Row

PAGE = Path(__file__).parent / "README.md"
FRONT = Path(__file__).parents[1] / "README.md"
MARKS = "<!-- benchmarks: begin, python -m benchmarks.tables -->", "<!-- benchmarks: end -->"
OWN = ("elman", "elman.torch")


@dataclass(frozen=True)
class Rows:
    """The rows of a result file, by case."""

    of: dict[Case, Row]

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Read a result file."""
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return cls({Case(**row["case"]): row for row in rows})

    def time(self, case: Case, peer: str) -> float | None:
        """Median milliseconds of a peer."""
        found: float | None = self.of.get(case, {}).get("peers", {}).get(peer, {}).get("median")
        return found

    def own(self, case: Case) -> float | None:
        """Elman's time: of its layer, or of the drop-in module; the slower one."""
        times = [t for name in OWN if (t := self.time(case, name)) is not None]
        return max(times, default=None)

    def speed(self, case: Case, peer: str, name: str | None = None) -> float | None:
        """How many times faster than a peer Elman is, by name or the slower one."""
        own, other = self.time(case, name) if name else self.own(case), self.time(case, peer)
        return None if own is None or other is None else other / own

    def against(self, case: Case, control: str) -> float | None:
        """Elman's time by that of a control, which was taken in turns with it."""
        own, other = self.time(case, "elman"), self.time(case, control)
        return None if own is None or other is None else own / other

    def share(self, case: Case, name: str | None = None) -> float | None:
        """Share of the machine's own GEMM rate that Elman reaches, by name or the slower one.

        Pointwise operations are in the time and not in the rate.
        """
        row, own = self.of.get(case), self.time(case, name) if name else self.own(case)
        return None if row is None or own is None else row["gflop"] / own * 1e3 / row["gemm_gflops"]

    def chosen(self, wanted: Callable[[Case], bool]) -> list[Case]:
        """The cases that fulfil a condition, of those whose time was taken."""
        return [case for case in self.of if not case.memory and case.threads == 2 and wanted(case)]


Found = list[tuple[Case, float]]


@dataclass(frozen=True)
class Target:
    """A line of the target table.

    Args:
        what: What is compared.
        must, aim: What it must and should be, in the unit of the values.
        values: The measured values by case.
        least: Values must be at least, not at most, the target.
        percent: Values are shares.
    """

    what: str
    must: float
    aim: float
    values: Callable[[Rows], Found]
    least: bool = True
    percent: bool = False

    def line(self, columns: Sequence[Rows]) -> str:
        """The line in Markdown, a column a processor."""
        goal = f"{'>=' if self.least else '<='} {self.show(self.must)} | {self.show(self.aim)}"
        return " | ".join([f"| {self.what} | {goal}", *(self.verdict(rows) for rows in columns)]) + " |"

    def verdict(self, rows: Rows) -> str:
        """What was measured, and whether it is good enough."""
        found = self.values(rows)
        if not found:
            return "not measured"
        values = sorted(value for _, value in found)
        worst = min(found, key=lambda f: f[1] if self.least else -f[1])
        met = sum(self.meets(v) for v in values)
        span = self.show(values[0]) if len(values) == 1 else f"{self.show(values[0])} to {self.show(values[-1])}"
        verdict = "met" if met == len(values) else f"**{met} of {len(values)} met**; worst {named(worst[0])}"
        return f"{span}, {verdict}"

    def meets(self, value: float) -> bool:
        """Whether a value, rounded as it is shown, is good enough."""
        seen = round(value, 2)
        return seen >= self.must if self.least else seen <= self.must

    def show(self, value: float) -> str:
        """A value in its unit."""
        return f"{100 * value:.0f} %" if self.percent else f"{value:.2f}x"


def named(case: Case) -> str:
    """A case in few words."""
    special = [case.lengths] * (case.lengths != "equal") + [case.precision] * (case.precision != "float32")
    return " ".join([case.cell, "x".join(map(str, case.shape)), *special])


def paired(cases: Iterable[Case], value: Callable[[Case], float | None]) -> Found:
    """The cases that have a value, with it."""
    return [(case, found) for case in cases if (found := value(case)) is not None]


def training(case: Case, cells: Sequence[str], precision: str = "float32", lengths: str = "equal") -> bool:
    """Forward and back, dense loss, tuned allocator."""
    wanted = case.cell, case.precision, case.lengths, case.way, case.loss, case.allocator
    return wanted in {(cell, precision, lengths, "both", "dense", "tuned") for cell in cells}


def speeds(
    cells: Sequence[str],
    precision: str,
    lengths: str,
    which: Callable[[Case], bool] = lambda c: c.batch > 1,
    own: str | None = None,
) -> Callable[[Rows], Found]:
    """How many times faster than the best of torch, for cells in one precision and kind of lengths.

    `own` is the one of Elman's that counts; None for the slower one.
    """

    def values(rows: Rows) -> Found:
        cases = rows.chosen(lambda c: training(c, cells, precision, lengths) and which(c))
        return paired(cases, lambda c: rows.speed(c, rival(c.cell), own))

    return values


def shares(precision: str, which: Callable[[int], bool]) -> Callable[[Rows], Found]:
    """Share of the GEMM rate; the GRU that resets before the product has two products in a row, min_gru none."""
    one_product = [cell for cell in CELLS if cell not in ("gru", "min_gru")]

    def values(rows: Rows) -> Found:
        cases = rows.chosen(lambda c: training(c, one_product, precision) and c.batch > 1 and which(c.hidden))
        return paired(cases, rows.share)

    return values


def pasted(rows: Rows) -> Found:
    """The time of an LSTM pasted as LaTeX by that of the catalogue's."""
    return paired(rows.chosen(lambda c: training(c, ("lstm_pasted",))), partial(rows.against, control="elman.lstm"))


def ragged(rows: Rows) -> Found:
    """Time of a real step in a ragged batch by that in one of equal lengths, taken in turns.

    Of elman.Recurrent: in elman.torch the functions of torch that pack and pad weigh more than the layer.
    """

    def ratio(case: Case) -> float | None:
        whole = rows.against(case, "elman.equal")
        return None if whole is None else whole * case.batch * case.steps / rows.of[case]["steps"]

    return paired(rows.chosen(lambda c: training(c, FUSED, lengths="ragged") and c.batch >= 32), ratio)


def last_step(rows: Rows) -> Found:
    """The time with a loss at the last step only, by that with a dense one."""
    return paired(rows.chosen(lambda c: c.loss == "last"), partial(rows.against, control="elman.dense"))


def ragged_speeds(own: str) -> Callable[[Rows], Found]:
    """How many times faster than torch's packed sequences one of Elman's is, from 32 sequences on."""
    return speeds(("lstm", "gru_reset_after"), "float32", "ragged", lambda c: c.batch >= 32, own)


def single(c: Case) -> bool:
    """One sequence."""
    return c.batch == 1 and c.steps == 1000


TARGETS = (
    Target("float32, equal lengths: LSTM", 1.0, 1.15, speeds(("lstm",), "float32", "equal")),
    Target("float32, equal lengths: GRU", 1.5, 1.8, speeds(("gru_reset_after",), "float32", "equal")),
    Target(
        "float32, equal lengths: GRU that resets before the product, against an eager loop",
        3.0,
        5.0,
        speeds(("gru",), "float32", "equal"),
    ),
    Target("float32, ragged, B >= 32, against packed: elman.Recurrent", 3.0, 4.5, ragged_speeds("elman")),
    Target(
        "float32, ragged, against packed: elman.torch, with packing and padding", 3.0, 4.5, ragged_speeds("elman.torch")
    ),
    Target("bf16, equal lengths, H >= 256: LSTM", 1.5, 2.5, speeds(("lstm",), "bf16", "equal")),
    Target("bf16, equal lengths, H >= 256: GRU", 4.0, 6.0, speeds(("gru_reset_after",), "bf16", "equal")),
    Target("bf16, ragged, against packed", 6.0, 15.0, speeds(("lstm", "gru_reset_after"), "bf16", "ragged")),
    Target("LSTM pasted as LaTeX, by the catalogue's", 1.10, 1.03, pasted, least=False),
    Target("B = 1, T = 1000: LSTM", 1.3, 2.0, speeds(("lstm",), "float32", "equal", single)),
    Target(
        "B = 1, T = 1000: other cells",
        8.0,
        10.0,
        speeds(("gru_reset_after", "rnn", "gru", "lstm_peephole"), "float32", "equal", single),
    ),
    Target("share of the GEMM rate, float32, H >= 256", 0.7, 0.85, shares("float32", lambda h: h >= 256), percent=True),
    Target("share of the GEMM rate, bf16, H = 512", 0.5, 0.85, shares("bf16", lambda h: h == 512), percent=True),
    Target("ragged by equal lengths, per real step", 1.10, 1.03, ragged, least=False),
    Target("loss at the last of 400 steps, by a dense loss", 1.0, 1.0, last_step, least=False),
)


@dataclass(frozen=True)
class Measured:
    """What was measured on one kind of processor."""

    machine: dict[str, Any]
    rows: Rows
    generation: generation.Rows

    @classmethod
    def load(cls, path: Path) -> Measured:
        """Read a result file of benchmarks.engine, and that of benchmarks.generation beside it."""
        machine = json.loads(path.read_text(encoding="utf-8"))["machine"]
        beside = path.with_name(path.name.replace("engine", "generation"))
        return cls(machine, Rows.load(path), generation.load(beside))


ORDER = ("amx", "avx512_bf16", "avx512", "avx2", "neon", "scalar")


def load_all(folder: Path) -> list[Measured]:
    """Read the results of every kind of processor, the widest first."""
    paths = {name: folder / f"engine_{name}.json" for name in ORDER}
    return [Measured.load(path) for path in paths.values() if path.exists()]


def target_table(found: Sequence[Measured]) -> str:
    """The targets, forward and back, two threads, torch with its allocator tuned."""
    names = " | ".join(m.machine["processor"] for m in found)
    head = f"| against torch, forward and back | must | aim | {names} |\n|---|---|---|{'---|' * len(found)}\n"
    lines = [t.line([m.rows for m in found]) for t in TARGETS]
    return head + "\n".join(lines + generation.target_lines([m.generation for m in found]))


def case_table(rows: Rows, cases: Sequence[Case], unit: str = "ms") -> str:
    """Every case with every peer: medians, Elman's rate and its share of the GEMM rate."""
    cases = sorted(cases, key=lambda c: (c.shape, c.cell, c.lengths, c.precision, c.allocator))
    peers = list(dict.fromkeys(name for case in cases for name in rows.of[case]["peers"]))
    lines = [
        f"| case, {unit} | " + " | ".join([*peers, "GFLOP/s", "of GEMM"]) + " |",
        "|---|" + "---|" * (len(peers) + 2),
    ]
    for case in cases:
        row, share = rows.of[case], rows.share(case) if unit == "ms" else None
        key = "median" if unit == "ms" else "peak_mib"
        values = [f"{row['peers'][p][key]:.4g}" if p in row["peers"] else "" for p in peers]
        rate = "" if share is None else f"{share * row['gemm_gflops']:.0f}"
        special = [case.allocator] * (case.allocator != "tuned") + ["last step"] * (case.loss == "last")
        name = ", ".join([named(case), *special])
        lines.append(f"| {name} | {' | '.join(values)} | {rate} | {'' if share is None else f'{100 * share:.0f} %'} |")
    return "\n".join(lines)


SECTIONS: tuple[tuple[str, str, Callable[[Case], bool]], ...] = (
    ("Forward and back, two threads", "ms", lambda c: c.way == "both" and c.threads == 2 and not c.memory),
    ("Forward, two threads", "ms", lambda c: c.way == "forward" and c.threads == 2 and not c.memory),
    ("Forward and back, one thread", "ms", lambda c: c.way == "both" and c.threads == 1 and not c.memory),
    ("Forward, one thread", "ms", lambda c: c.way == "forward" and c.threads == 1 and not c.memory),
    ("Peak of memory, forward and back", "MiB", lambda c: c.memory and c.way == "both"),
    ("Peak of memory, forward", "MiB", lambda c: c.memory and c.way == "forward"),
)

WHY = """\
Where a target is missed, and why. With AVX-512-BF16 (two cores give 520 GFLOP/s in float32 and 960 in bfloat16):

- **LSTM in float32**: torch's is oneDNN's, which reaches 390 to 440 GFLOP/s; Elman's is within three hundredths of it,
  and with malloc as it comes 1.4 and 1.8 times as fast (the rows "default").
- **GRU with the reset before the product**: three times the speed of the loops that are missed would take 390 to 430
  GFLOP/s. Elman does 370 to 400.
- **bfloat16, equal lengths**: 1.5 times the speed of torch's LSTM would take 880 to 1,130 GFLOP/s, four times that of
  its GRU 850 to 1,470; the targets are those of a processor with AMX. Elman's LSTM is 2 to 15 hundredths slower than
  torch's: what is not a product stays in float32 and takes a quarter of the time.
- **bfloat16, ragged**: six times the speed of torch would take 1,120 to 1,480 GFLOP/s for four of the six that are
  missed, 580 and 640 for the others (32x100x256), where Elman does 490 and 500.
- **Generation**: where the weights lie is told by what the processor says of its caches: the 4.3 MB of a layer of
  512 in float32 are in L3 here, with two second-level caches of 1 MB.

With AVX2 (200 GFLOP/s, others used the machine meanwhile):

- **GRU with the reset before the product**: three times the speed of a loop in torch would take 144 to 210 GFLOP/s.
- **GRU of 128 sequences**: torch's products over 128 rows are near the GEMM rate themselves; 1.5 times its speed
  would take nine tenths of that rate.
- **Ragged by equal lengths**: at steps that few sequences reach, weights are read for fewer rows, and what is done
  once a step weighs more.
- **Ragged batches through elman.torch**: measured with torch's `pack_padded_sequence` and `pad_packed_sequence`, which
  take half of the time and more; the other processor was measured with those of `elman.torch`.
- **A loss at the last step alone** takes the time of a dense one, but for noise: no subnormal numbers slow it.
- **bfloat16** has the speed of float32 there, so no row of it is measured.

Small layers (H = 128) show a small share of the GEMM rate: pointwise operations and the passage through Python and
autograd are in the time and not in the rate. Where torch's own products do not use AVX-512 the share exceeds 100 %.
Rows of one case are timed in turns, rows of different cases are not.
"""


def page(found: Sequence[Measured]) -> str:
    """benchmarks/README.md."""
    parts = [
        "# How fast the engine is\n\nWritten by `python -m benchmarks.tables` from `results/engine_*.json`, a file for "
        "each kind of processor, which `python -m benchmarks.engine --preset targets` measures (8 minutes on two quiet "
        "cores; `--preset full` adds every cell, shape and peer). Peers of a row are held to a loop by hand in float64 "
        "and then timed in turns in one process, through `elman.Recurrent` and `elman.torch`; the slower of the two "
        "counts. Medians.",
        "## Targets",
        target_table(found),
        WHY,
        *(part for measured in found for part in processor_parts(measured)),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def processor_parts(found: Measured) -> list[str]:
    """All that was measured on one kind of processor."""
    rows = found.rows
    commits = sorted({row["commit"] for row in rows.of.values()})
    loads = [row["load"] for row in rows.of.values()]
    parts = [
        f"## {found.machine['processor']}",
        "\n".join(f"- {name}: {value}" for name, value in found.machine.items() if name != "processor"),
        f"- commits: {', '.join(commits)}; load of the machine meanwhile: {min(loads)} to {max(loads)} (about the "
        "number of threads, when nothing else runs)",
        generation.table(found.generation),
    ]
    for title, unit, wanted in SECTIONS:
        cases = [case for case in rows.of if wanted(case)]
        parts += [f"### {title}", case_table(rows, cases, unit)] if cases else []
    absent = sorted({(n, why) for row in rows.of.values() for n, why in row["absent"].items()})
    return parts + (["### Absent", "\n".join(f"- {name}: {why}" for name, why in absent)] if absent else [])


def put_between_marks(text: str, block: str, marks: tuple[str, str] = MARKS) -> str:
    """Return a text with what stands between two marks replaced; unchanged where it has none."""
    begin, end = marks
    if begin not in text:
        return text
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{block}\n{end}{after}"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page and the block."""
    about = (__doc__ or "").split("\n")[0]
    argparse.ArgumentParser(prog="python -m benchmarks.tables", description=about).parse_args(argv)
    found = load_all(FOLDER)
    if not found:
        raise SystemExit(f"tables: {FOLDER} must hold results; run python -m benchmarks.engine --preset targets")
    PAGE.write_text(page(found), encoding="utf-8")
    FRONT.write_text(put_between_marks(FRONT.read_text(encoding="utf-8"), target_table(found)), encoding="utf-8")
    print(target_table(found), file=sys.stdout)


if __name__ == "__main__":
    main()
