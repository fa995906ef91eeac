"""Small inputs of the command line: a cell by name, file or equations; text from a file or stdin."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import DataError, EquationError, MissingInputError, UsageError, nearest

if TYPE_CHECKING:
    from elman.equations import Cell

LIMIT = 1 << 20
SUFFIXES = (".tex", ".txt", ".md", ".eq")


def read_cell(text: str, output: str | None = None, functions: dict[str, str] | None = None) -> Cell:
    """Return the cell that a word of the command line means.

    Args:
        text: A name of the catalogue, a file of equations, "-" for stdin, or the equations themselves ("=" in it; ";"
            may stand for a new line).
        output: Name of the cell's output; None to infer it.
        functions: Functions that the equations leave open, {"g_1": "relu"}.

    Raises:
        UsageError: neither a known name nor a file nor equations.
        EquationError: the equations do not describe a cell.
    """
    from elman.equations import Cell

    written = equations_of(text)
    if written is None:
        return _known(text, output, functions)
    if not is_file_name(text):
        return Cell(written, output=output, functions=functions)
    name, where = ("cell", "stdin") if text == "-" else (Path(text).stem, text)
    try:
        return Cell(written, name=name, output=output, functions=functions)
    except EquationError as error:
        raise EquationError(f"{where}: {error.message}", error.hint) from None


def equations_of(text: str) -> str | None:
    """Return the equations that a word of the command line means; None for a name of the catalogue."""
    if is_file_name(text):
        return read_text(text)
    return text.replace(";", "\n") if "=" in text else None


def _known(name: str, output: str | None, functions: dict[str, str] | None) -> Cell:
    from elman.cells import cells

    if name not in cells:
        raise UsageError(
            f"cell: must be a name of the catalogue, a file or equations; got {name!r}{nearest(name, cells)}",
            "`elman cells` lists the catalogue",
        )
    if output is not None or functions:
        raise UsageError(
            f"cell {name}: output and functions are settled; --output and --function are for own equations"
        )
    return cells[name]


def is_file_name(text: str) -> bool:
    """Say whether a word means a file: "-", a suffix of equations, or without "=" a folder or something that exists."""
    if text == "-" or text.endswith(SUFFIXES):
        return True
    return "=" not in text and "\n" not in text and ("/" in text or Path(text).exists())


def read_text(path: str, limit: int = LIMIT) -> str:
    """Return the text of a small file, or of stdin for "-".

    Raises:
        MissingInputError: no such file, or a closed stdin.
        DataError: a folder; not UTF-8, with the byte offset; or longer than `limit` bytes.
    """
    data = _stdin(limit) if path == "-" else _file(Path(path), limit)
    name = "stdin" if path == "-" else path
    if len(data) > limit:
        raise DataError(f"{name}: must have at most {limit} bytes; got more")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: must be UTF-8; got the byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from error
    if "\0" in text:
        raise DataError(f"{name}: must be text; got a zero byte at offset {data.index(0)}")
    return text


def _stdin(limit: int) -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise MissingInputError("stdin: must be open; got a closed one")
    return sys.stdin.buffer.read(limit + 1)


@contextmanager
def as_path(file: str, *, folders: bool = False) -> Iterator[Path]:
    """Give a file that can be read several times; what comes from stdin is kept in one as long as the block lasts.

    Args:
        file: Its path, or - for stdin.
        folders: Whether it may be a folder.
    """
    if file != "-":
        if not (folders and Path(file).is_dir()):
            check_input(Path(file))
        yield Path(file)
        return
    if sys.stdin is None or sys.stdin.closed:
        raise MissingInputError("stdin: must be open; got a closed one")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "stdin"
        with kept.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield kept


def _file(path: Path, limit: int) -> bytes:
    check_input(path)
    with path.open("rb") as file:
        return file.read(limit + 1)


def check_input(path: Path) -> None:
    """Refuse a folder (DataError) and what does not exist (MissingInputError, with the nearest name there)."""
    if path.is_dir():
        raise DataError(f"{path}: must be a file; got a folder", "name a file in it")
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingInputError(f"{path}: file must exist; got none{nearest(path.name, siblings)}")
