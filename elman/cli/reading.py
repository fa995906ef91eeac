"""Small inputs of the command line: a cell by name, file or equations; text from a file or stdin."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import DataError, MissingInputError, UsageError, nearest

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

    if "=" in text and not Path(text).exists():
        return Cell(text.replace(";", "\n"), output=output, functions=functions)
    if is_file_name(text):
        name = "cell" if text == "-" else Path(text).stem
        return Cell(read_text(text), name=name, output=output, functions=functions)
    return _known(text, output, functions)


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
    """Say whether a word means a file: "-", something that exists, or a name with a folder or a suffix of equations."""
    return text == "-" or "/" in text or text.endswith(SUFFIXES) or Path(text).exists()


def read_text(path: str, limit: int = LIMIT) -> str:
    """Return the text of a small file, or of stdin for "-".

    Raises:
        MissingInputError: no such file, a folder, or a closed stdin.
        DataError: not UTF-8, with the byte offset; or longer than `limit` bytes.
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
def as_path(file: str) -> Iterator[Path]:
    """Give a file that can be read several times; what comes from stdin is kept in one as long as the block lasts."""
    if file != "-":
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
    """Raise MissingInputError unless `path` is something that can be read as a file."""
    if path.is_dir():
        raise MissingInputError(f"{path}: must be a file; got a folder")
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingInputError(f"{path}: file must exist; got none{nearest(path.name, siblings)}")
