"""Cells as people name them: by the catalogue's name, a file of equations, stdin, or the equations themselves."""

from __future__ import annotations

import re
from pathlib import Path

from elman.equations import Cell
from elman.equations.notation import declared_name
from elman.errors import EquationError, UsageError, nearest
from elman.readers.small_text import read_text
from elman.storage import nearest_beside

SUFFIXES = (".tex", ".txt", ".md", ".eq")
_BETWEEN = re.compile(r"(?<!\\);(?![^\[]*\])")  # no space of LaTeX, \;, and not between the vectors of [h; x]


def read_cell(text: str, output: str | None = None, functions: dict[str, str] | None = None) -> Cell:
    """Return the cell that a text means.

    Args:
        text: A name of the catalogue, a file of equations, "-" for stdin, or the equations themselves ("=" in it; ";"
            may stand for a new line).
        output: Name of the cell's output; None to infer it.
        functions: Functions that the equations leave open, {"g_1": "relu"}.

    Raises:
        UsageError: neither a known name nor a file nor equations.
        EquationError: the equations do not describe a cell.
    """
    written = equations_of(text)
    if written is None:
        return _known(text, output, functions)
    if not is_file_name(text):
        return Cell(written, output=output, functions=functions)
    stem, where = (None, "stdin") if text == "-" else (Path(text).stem, text)
    try:
        return Cell(written, name=declared_name(written) or stem, output=output, functions=functions)
    except EquationError as error:
        raise EquationError(f"{where}: {error.message}", error.hint) from None


def equations_of(text: str) -> str | None:
    """Return the equations that a text means; None for a name of the catalogue."""
    if is_file_name(text):
        return read_text(text)
    return _BETWEEN.sub("\n", text) if "=" in text else None


def _known(name: str, output: str | None, functions: dict[str, str] | None) -> Cell:
    from elman.cells import cells

    if name not in cells:
        close = nearest(name, cells) or (nearest_beside(Path(name)) if "." in name else "")
        raise UsageError(
            f"cell: must be a name of the catalogue, a file or equations; got {name!r}{close}",
            "`elman cells` lists the catalogue",
        )
    if output is not None or functions:
        raise UsageError(
            f"cell {name}: output and functions are settled; --output and --function are for own equations"
        )
    return cells[name]


def _is_known(name: str) -> bool:
    from elman.cells import cells

    return name in cells


def is_file_name(text: str) -> bool:
    """Say whether a word means a file: "-", a suffix of equations, or without "=" a folder or something that exists.

    A name of the catalogue means the cell in any working folder, whatever stands there: ./gru is the file.
    """
    if text == "-" or text.endswith(SUFFIXES):
        return True
    if "=" in text or "\n" in text:
        return False
    return "/" in text or (Path(text).exists() and not _is_known(text))
