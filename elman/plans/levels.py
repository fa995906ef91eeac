"""In which pass each line runs: a product waits for the pass that makes its operand."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from elman.plans.lines import PRODUCT, ROW_FUNCTIONS, Line


def levels(part: Sequence[Line]) -> dict[str, int]:
    """Return the first pass in which each named line can run.

    A pass does operations over whole rows, then products, then what is pointwise. A product reads whole rows, so its
    operand belongs to an earlier pass, or to the row operations of its own; so does what its sum starts from. Lines of
    another width are a pass of their own beside it, so their row operations may still be to come.

    Args:
        part: Lines in order.
    """
    found: dict[str, int] = {}
    over_rows: dict[str, int] = {}

    def next_of(name: str, width: int) -> int:
        return found.get(name, -1) + (over_rows.get(name) != width)

    for line in part:
        if line.function in ROW_FUNCTIONS:
            level = max(0, *(found.get(a, -1) + 1 for a in line.arguments))
            over_rows[line.target] = line.width
        elif line.function == PRODUCT:
            level = max(0, *(next_of(name, line.width) for name in line.reads))
        else:
            level = max(0, *(found.get(a, 0) for a in line.arguments), 0)
        if line.target:
            found[line.target] = level
    return found


def in_passes(part: Sequence[Line], kept: Collection[str]) -> list[list[Line]]:
    """Return the lines of each pass, with pointwise lines as late as that saves keeping a value between passes.

    Args:
        part: Lines in order.
        kept: Names that are kept anyway.
    """
    found = levels(part)
    # A line that only stores a value runs where the value is made; in the first pass, where that is another part.
    level = [found[line.target] if line.target else found.get(line.arguments[0], 0) for line in part]
    _respect_overwriting(part, level)
    _sink(part, level, set(kept))
    count = max(level, default=-1) + 1
    return [[line for line, at in zip(part, level, strict=True) if at == n] for n in range(count)]


def _respect_overwriting(part: Sequence[Line], level: list[int]) -> None:
    """A line that overwrites a value runs in the last pass that reads the value, or later."""
    for n, line in enumerate(part):
        for name in line.after:
            level[n] = max(level[n], *(level[m] for m, other in enumerate(part) if name in other.reads), 0)


def _sink(part: Sequence[Line], level: list[int], kept: set[str]) -> None:
    """Move pointwise lines to the pass that reads them, where their arguments are at hand there anyway.

    The derivative that arrives at a state is at hand in no later pass: the last that reads it overwrites it.
    """
    made = {line.target for line in part}
    crossing = kept | {name for n, line in enumerate(part) for name in line.reads if _made_before(part, level, name, n)}
    for n in range(len(part) - 1, -1, -1):
        line = part[n]
        if _takes_rows(line) or line.target in kept:
            continue
        readers = [m for m, other in enumerate(part) if line.target in other.reads]
        if any(_takes_rows(part[m]) for m in readers):  # they come before what is pointwise in their pass
            continue
        wanted = min((level[m] for m in readers), default=level[n])
        if wanted > level[n] and all(a not in made or a in crossing for a in line.arguments):
            level[n] = wanted


def _takes_rows(line: Line) -> bool:
    return line.function == PRODUCT or line.function in ROW_FUNCTIONS


def _made_before(part: Sequence[Line], level: list[int], name: str, reader: int) -> bool:
    return any(line.target == name and level[n] < level[reader] for n, line in enumerate(part))
