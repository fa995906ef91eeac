"""Writes plans as text for the programme of this folder: `python csrc/checks/cases.py FILE`.

The plans are those of the compiler in elman/plans, on an engine that only writes down what it is told. A list is its
length and its elements; a structure is its members in the order of plan.h.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elman.cells import cells
from elman.equations import Cell
from elman.equations.rewrite import variational
from elman.errors import ShapeError
from elman.plans import native
from elman.plans.compile import compile_cell

PLAN = (
    "input_size output_size parameter_rows parameter_columns slot_groups slots states mask_sizes vectors "
    "forward backward accumulations"
).split()
LENGTHS = {"ragged": (9, 2, 9, 5, 1), "long": (70,) * 19}


class Plan:
    """A plan whose members are set one by one."""


class Scribe:
    """Stands in for the native module: everything that the compiler makes is a tuple of its arguments."""

    Plan = Plan

    def __init__(self) -> None:
        self.CODES = native.engine.CODES

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: arguments


def flat(value: Any) -> Iterator[str]:
    """Yield the numbers of a value."""
    if isinstance(value, list):
        yield str(len(value))
    if isinstance(value, list | tuple):
        for element in value:
            yield from flat(element)
    elif isinstance(value, bool):
        yield str(int(value))
    elif isinstance(value, float):
        yield f"{value:.9g}"
    else:
        yield str(value)


def plan_of(cell: Cell, input_size: int, hidden_size: int, keep: bool, halves: bool) -> list[Any]:
    """Return the members of a cell's plan."""
    declared = dict.fromkeys(cell.free_sizes, 5)
    sizes = cell.check_sizes(input_size, hidden_size, declared)
    shapes = cell.parameters(input_size, hidden_size, declared)
    widths = {cell.input: input_size, **cell.state_sizes(input_size, hidden_size, declared)}
    widths |= cell.mask_sizes(input_size, hidden_size, declared)
    rounded = (lambda width: width) if halves else None
    plan = compile_cell(Scribe(), cell, shapes, sizes, widths, keep, rounded).plan
    return [getattr(plan, name) for name in PLAN]


def lines() -> Iterator[str]:
    """Yield a line a case: name, whether products are bfloat16's, whether it steps, lengths, plan."""
    wanted = [(cell, shape, False) for cell in cells.values() for shape in ("ragged",)]
    wanted += [(cells[name], "ragged", True) for name in ("gru", "lstm_layer_norm", "sru")]
    wanted += [(cells[name], "long", False) for name in ("gru", "lstm")] + [
        (variational(cells["lstm"]), "ragged", False)
    ]
    for cell, shape, halves in wanted:
        try:
            plan = plan_of(cell, 5, 37, True, halves)
        except ShapeError:  # it adds input and state
            plan = plan_of(cell, 37, 37, True, halves)
        yield " ".join(flat(("run", cell.name, halves, list(LENGTHS[shape]), tuple(plan))))
    for name in ("gru", "lstm_layer_norm", "min_gru"):
        yield " ".join(flat(("step", name, False, [1] * 4, tuple(plan_of(cells[name], 5, 37, False, False)))))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(lines()) + "\n", encoding="utf-8")
