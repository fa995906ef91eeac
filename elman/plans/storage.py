"""Where the values of a plan lie: rows of the workspace, registers of a tile, vectors; each place used again as soon as
its value is no longer read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from elman.plans.lines import ROW_FUNCTIONS, Line, before, is_rounded, rounded

END = 1 << 30


@dataclass
class Slots:
    """Rows of the workspace.

    Args:
        slot_of: Name to number of its slot.
        widths: Width of each slot.
    """

    slot_of: dict[str, int] = field(default_factory=dict)
    widths: list[int] = field(default_factory=list)

    def new(self, width: int) -> int:
        """Add a slot."""
        self.widths.append(width)
        return len(self.widths) - 1


def rows_needed(
    segments: Sequence[Sequence[Sequence[Line]]], states: Sequence[str], kept: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Return the values that must lie in rows, each with the numbers of the first and last line that touch it.

    A value lies in rows when a product or a row operation reads or makes it as a whole row, when another pass reads it,
    and when a gradient does. What products and row operations read keeps its place: other threads may still read it.

    Args:
        segments: Passes of each part of the plan, in order.
        states: Names of the states.
        kept: Factors of gradients.
    """
    made: dict[str, tuple[int, int]] = {}
    last: dict[str, int] = {}
    stored = [form for s in states for form in (before(s), rounded(before(s)))]
    pinned: set[str] = {*kept, *stored}
    crossing: set[str] = set()
    clock = 0
    number = 0
    for part in segments:
        for lines in part:
            for line in lines:
                for name in line.reads:
                    last[name] = clock
                    if name in made and made[name][1] != number:
                        crossing.add(name)
                pinned |= {t.operand for t in line.terms}
                if line.function in ROW_FUNCTIONS:
                    pinned |= {line.target, *line.arguments}
                made[line.target] = (clock, number)
                clock += 1
            number += 1
    found = {name: (-1, END) for name in stored if name in last or name in kept}
    for name, (first, _) in made.items():
        if name in crossing or name in pinned:
            found[name] = (first, END if name in pinned else last[name])
    return found


def assign_slots(
    wanted: Mapping[str, tuple[int, int]], widths: Mapping[str, int], rounded_floats: Callable[[int], int] | None
) -> Slots:
    """Give each value in rows a slot; a value may take the slot of one whose last reader makes it.

    Args:
        wanted: First and last line that touch each value.
        widths: Components of each value.
        rounded_floats: Floats that hold so many components of a rounded value; None where nothing is rounded.
    """
    slots = Slots()
    free_at: list[int] = []
    for name, (first, last) in sorted(wanted.items(), key=lambda item: item[1][0]):
        width, number = widths[name], None
        if rounded_floats and is_rounded(name):  # other columns lie elsewhere: it takes the slot of nobody
            width = rounded_floats(width)
        else:
            number = next((n for n, free in enumerate(free_at) if free <= first and slots.widths[n] == width), None)
        if number is None:
            number = slots.new(width)
            free_at.append(0)
        slots.slot_of[name] = number
        free_at[number] = last
    return slots


def assign_tiles(lines: Sequence[Line], in_rows: Mapping[str, object]) -> tuple[dict[str, int], int]:
    """Give the values that only one pass knows, and reads, registers; return them and their number.

    Args:
        lines: Of a pass, products first.
        in_rows: Names that lie in rows.
    """
    last = {name: n for n, line in enumerate(lines) for name in line.reads}
    found: dict[str, int] = {}
    free_at: list[int] = []
    for n, line in enumerate(lines):
        name = line.target
        if not name or name in in_rows or name.startswith("%carry"):
            continue
        # A product, which runs in the order of its group, finds no register free: all readers come after all products.
        register = next((r for r, free in enumerate(free_at) if free <= n), len(free_at))
        free_at[register : register + 1] = [last[name]]
        found[name] = register
    return found, len(free_at)
