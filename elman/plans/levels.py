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
    level = [found[line.target] if line.target else _last(line, found) for line in part]
    _respect_overwriting(part, level)
    _sink(part, level, set(kept))
    count = max(level, default=-1) + 1
    return [[line for line, at in zip(part, level, strict=True) if at == n] for n in range(count)]


def _last(line: Line, found: dict[str, int]) -> int:
    return max((found.get(a, 0) for a in line.reads), default=0)


def _respect_overwriting(part: Sequence[Line], level: list[int]) -> None:
    """A line that overwrites a value runs in the last pass that reads the value, or later."""
    for n, line in enumerate(part):
        for name in line.after:
            readers = (level[m] for m, other in enumerate(part) if other is not line and name in other.reads)
            level[n] = max(level[n], *readers, 0)


def _sink(part: Sequence[Line], level: list[int], kept: set[str]) -> None:
    """Move pointwise lines to the pass that reads them, where their arguments are at hand there anyway."""
    made = {line.target for line in part if line.target}
    crossing = kept | {name for n, line in enumerate(part) for name in line.reads if _made_before(part, level, name, n)}
    for n in range(len(part) - 1, -1, -1):
        line = part[n]
        if (
            not line.target
            or line.after
            or line.function == PRODUCT
            or line.function in ROW_FUNCTIONS
            or line.target in kept
        ):
            continue
        readers = [m for m, other in enumerate(part) if line.target in other.reads]
        operand = any(
            line.target in (t.operand for t in part[m].terms) or part[m].function in ROW_FUNCTIONS for m in readers
        )
        wanted = min((level[m] for m in readers), default=level[n])
        if operand or wanted <= level[n]:
            continue
        if any(part[m].function == PRODUCT for m in readers):  # a start must be there before the products of the pass
            continue
        if all(a not in made or a in crossing for a in line.arguments) and not _overwritten(part, level, line, wanted):
            level[n] = wanted
            crossing |= set(line.arguments)


def _made_before(part: Sequence[Line], level: list[int], name: str, reader: int) -> bool:
    return any(line.target == name and level[n] < level[reader] for n, line in enumerate(part))


def _overwritten(part: Sequence[Line], level: list[int], line: Line, wanted: int) -> bool:
    """Say whether an argument is overwritten in a pass up to the wanted one."""
    return any(other.after and other.target in line.reads and level[n] < wanted for n, other in enumerate(part))
