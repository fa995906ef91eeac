"""Files to text: UTF-8 checked as it streams, with the byte of the first error; constant memory for any size."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from elman.errors import DataError, MissingInputError, StorageError

CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_UTF_16 = ("UTF-16", "convert it first: iconv -f utf-16 -t utf-8")
_OTHERS = {
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"PK\x03\x04": ("a zip archive", "unpack it first: unzip"),
    b"\x1f\x8b": ("a gzip archive", "unpack it first: zcat"),
}
"""What is taken for text by mistake, by its first bytes, and what to do about it."""


def check_readable(path: Path) -> bytes:
    """Return the first bytes of a file; refuse what cannot be read as a text file before anything is built from it.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is a folder, a pipe, or empty.
        StorageError: it may not be read.
    """
    if not path.exists():
        raise MissingInputError(
            f"{path}: must be a text file; there is no such file", "check the path and the working folder"
        )
    if path.is_dir():
        raise DataError(f"{path}: must be a text file; got a folder", "name a file in it")
    if path.is_fifo():  # what is looked at first would be missing afterwards
        raise DataError(
            f"{path}: must be a file that can be read more than once; got a pipe",
            "keep it in a file, or let it be stdin where that may be the data: COMMAND | elman ... -",
        )
    try:
        with path.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    if not first:
        raise DataError(f"{path}: must hold text; the file is empty")
    return first


def check_text(path: Path) -> None:
    """Refuse what cannot be read as text, and what is told by its first bytes not to be any.

    Raises:
        MissingInputError, StorageError: see check_readable.
        DataError: it is a folder, a pipe, empty, in UTF-16 or an archive.
    """
    first = check_readable(path)
    for begin, (kind, remedy) in _OTHERS.items():
        if first.startswith(begin):
            raise DataError(f"{path}: must be text; it begins as {kind} does", f"{remedy} {path.name}")


def utf8_chunks(path: Path) -> Iterator[str]:
    """Yield the text of a file in pieces of about a mebibyte.

    A byte-order mark at the start is dropped; "\\r\\n" and a lone "\\r" become "\\n".

    Raises:
        DataError: a byte is not UTF-8, or is NUL (a binary file); with its offset and line.
        DataError, MissingInputError, StorageError: see check_text.
    """
    check_text(path)
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    offset, lines, held = 0, 1, ""
    with path.open("rb") as file:
        while True:
            piece = file.read(CHUNK)
            if offset == 0 and piece.startswith(_BOM):
                piece, offset = piece[len(_BOM) :], len(_BOM)
            text = _decoded(decoder, piece, path, offset, lines)
            offset, lines = offset + len(piece), lines + piece.count(b"\n")
            text, held = held + text, ""
            if text.endswith("\r") and piece:
                # The "\n" of a "\r\n" may begin the next piece.
                text, held = text[:-1], "\r"
            if text:
                yield text.replace("\r\n", "\n").replace("\r", "\n")
            if not piece:
                return


def _decoded(decoder: codecs.IncrementalDecoder, piece: bytes, path: Path, offset: int, lines: int) -> str:
    nul = piece.find(b"\0")
    if nul >= 0:
        raise DataError(f"{path}: byte offset {offset + nul:,}: must be text; got a NUL byte, as in a binary file")
    waiting = len(decoder.getstate()[0])
    try:
        return decoder.decode(piece, final=not piece)
    except UnicodeDecodeError as error:
        at = error.start - waiting
        line = lines + piece[: max(at, 0)].count(b"\n")
        raise DataError(
            f"{path}: byte offset {offset + at:,} (line {line:,}): must be UTF-8; "
            f"got byte 0x{error.object[error.start]:02x}, {error.reason}",
            f"convert the file first: iconv -f latin1 -t utf-8 {path.name}",
        ) from None
