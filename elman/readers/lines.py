"""Lines of a text file with their numbers, plain or gzip; a line that cannot be decoded costs itself alone."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from elman.errors import DataError, UsageError
from elman.readers.examples import Reading, Rejects
from elman.readers.text import check_readable, check_text
from elman.storage import reading as guarded

_BOM = "\ufeff"


def lines(path: Path, how: Reading) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of every line, without its end.

    Args:
        path: A text file; compressed by gzip if its name ends in ".gz".
        how: Encoding, and what happens to lines that are not text.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: it is empty, a folder or a damaged archive, or its lines end with CR alone; or a line is not text and
            is not to be skipped.
        UsageError: an unknown encoding.
    """
    check_encoding(how.encoding)
    check = check_readable if path.suffix == ".gz" else check_text
    check(path)
    for number, data in enumerate(_raw_lines(path), 1):
        text = _decoded(data, f"{path}:{number}", how)
        if text is not None:
            yield number, text.removeprefix(_BOM) if number == 1 else text


def looked_at(path: Path, how: Reading) -> Iterator[str]:
    """Yield the lines of a file that is read again: what is no text is told there, not twice.

    Raises:
        MissingInputError, StorageError, DataError, UsageError: see lines.
    """
    return (text for _, text in lines(path, replace(how, rejects=Rejects(how.rejects.skip))))


def count_lines(path: Path) -> int:
    """Return how many lines a file has, text or not.

    Raises:
        MissingInputError, StorageError, DataError: it cannot be read.
    """
    check_readable(path)
    return sum(1 for _ in _raw_lines(path))


def _raw_lines(path: Path) -> Iterator[bytes]:
    with guarded(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file):
                text = line.rstrip(b"\r\n")
                if not number and not line.endswith(b"\n") and b"\r" in text:
                    raise DataError(
                        f"{path}: lines must end with LF or CRLF; got CR alone, as old Macs wrote it",
                        f"convert it first: tr '\\r' '\\n' < {path.name}",
                    )
                yield text
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path}: must be a whole gzip file; {error}") from None


def _decoded(data: bytes, where: str, how: Reading) -> str | None:
    if b"\0" in data:
        how.rejects.refuse(where, f"must be text; got a NUL byte at offset {data.index(0)} of the line")
        return None
    try:
        return data.decode(how.encoding)
    except UnicodeDecodeError as error:
        how.rejects.refuse(
            where,
            f"must be {how.encoding}; got byte 0x{data[error.start]:02x} at offset {error.start} of the line",
            "name the file's encoding, e.g. --encoding cp1252, or leave such lines out with --on-error skip",
        )
        return None


def check_encoding(name: str) -> None:
    """Refuse an encoding that does not exist or has other ends of line than ASCII.

    Raises:
        UsageError: it cannot be used.
    """
    try:
        fits = codecs.lookup(name).encode("a\n")[0] == b"a\n"
    except (LookupError, TypeError, ValueError):
        fits = False
    if not fits:
        raise UsageError(
            f"encoding: must be one that Python knows and that agrees with ASCII; got {name!r}",
            "utf-8, cp1252 and latin-1 are usual; convert other files first with iconv",
        )
