"""The option `cell`: by name, by file or by its equations."""

from __future__ import annotations

from pathlib import Path

from elman.cells import cells
from elman.equations import Cell
from elman.errors import DataError, EquationError, MissingInputError, UsageError, nearest
from elman.model_config import describe_cell, restored_cell
from elman.readers import check_readable

__all__ = [
    "MOST_PARAMETERS",
    "describe_cell",
    "projection_sizes",
    "read_cell",
    "refuse_absurd_size",
    "restored_cell",
]

MOST_PARAMETERS = 2_000_000_000


def read_cell(text: str) -> Cell:
    """Return the cell that an option names: of the catalogue, of a file, or by its equations.

    Raises:
        UsageError: no cell and no file has that name.
        EquationError: the equations do not describe a cell; with the file's name.
    """
    if text in cells:
        return cells[text]
    if "=" in text:
        return Cell(text)
    path = Path(text)
    if path.suffix in (".tex", ".txt", ".eq") or path.exists():
        return _cell_of_file(path)
    raise UsageError(
        f"cell: unknown name {text!r}{nearest(text, cells)}",
        f"known cells: {', '.join(sorted(cells))}; or a file .tex, or equations with '='",
    )


def _cell_of_file(path: Path) -> Cell:
    if not path.exists():
        raise MissingInputError(f"{path}: must be a file of equations; there is no such file")
    check_readable(path)
    try:
        return Cell(path.read_text(encoding="utf-8"), name=path.stem)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte offset {error.start:,}: must be UTF-8") from None
    except EquationError as error:
        raise EquationError(f"{path}: {error.message}", error.hint) from None


def projection_sizes(cell: Cell, size: int | None) -> dict[str, int]:
    """Return the value of every size that a cell declares, for Recurrent; nothing where none is given.

    Raises:
        UsageError: there is a value and the cell declares no size.
    """
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
