"""What the option `cell` brings with it: sizes that a cell declares, and how large a model may be."""

from __future__ import annotations

from elman.equations import Cell
from elman.errors import UsageError

MOST_PARAMETERS = 2_000_000_000


def projection_sizes(cell: Cell, size: int | None) -> dict[str, int]:
    """Return the value of every size that a cell declares, for Recurrent; nothing where none is given.

    Raises:
        UsageError: there is a value and the cell declares no size, or none and it declares one.
    """
    if size is None and cell.free_sizes:
        raise UsageError(
            f"projection_size: must be given for the cell {cell.name!r}, which declares the size "
            f"{', '.join(cell.free_sizes)}; got none",
            "a half of hidden_size is usual",
        )
    if size is None:
        return {}
    if not cell.free_sizes:
        raise UsageError(
            f"projection_size: must have a declared size to set; the cell {cell.name!r} declares none",
            "use lstm_projected",
        )
    return dict.fromkeys(cell.free_sizes, size)


def refuse_absurd_size(count: int) -> None:
    """Refuse a model of more than two thousand million parameters before anything of it is allocated.

    Raises:
        UsageError: it has more.
    """
    if count > MOST_PARAMETERS:
        raise UsageError(
            f"model: must have at most {MOST_PARAMETERS:,} parameters; these sizes make {count:,}",
            "lower hidden_size, layers or vocabulary_size",
        )
