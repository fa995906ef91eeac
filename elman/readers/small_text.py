"""Small files and stdin to text."""

from __future__ import annotations

import sys
from pathlib import Path

from elman.errors import DataError, MissingInputError
from elman.storage import nearest_beside

LIMIT = 1 << 20


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


def _file(path: Path, limit: int) -> bytes:
    check_input(path)
    with path.open("rb") as file:
        return file.read(limit + 1)


def check_input(path: Path) -> None:
    """Refuse a folder (DataError) and what does not exist (MissingInputError, with the nearest name there)."""
    if path.is_dir():
        raise DataError(f"{path}: must be a file; got a folder", "name a file in it")
    if not path.exists():
        raise MissingInputError(f"{path}: file must exist; got none{nearest_beside(path)}")
