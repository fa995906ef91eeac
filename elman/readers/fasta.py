"""FASTA files, plain or gzip: a line ">id description", then lines of letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elman.errors import DataError
from elman.readers.examples import Reading, shown
from elman.readers.lines import lines
from elman.readers.nucleotides import check_nucleotides
from elman.readers.text import CHUNK

SUFFIXES = (".fa", ".fasta", ".fna", ".ffn", ".frn")


@dataclass
class Record:
    """One sequence: where its header stands, the header's first word, letters in capitals; None where one is bad."""

    where: str
    id: str
    letters: str | None = ""


def is_fasta(path: Path) -> bool:
    """Return whether a file's name says that it is FASTA."""
    return Path(path.name.removesuffix(".gz")).suffix.lower() in SUFFIXES


def fasta_records(path: Path, how: Reading) -> Iterator[Record]:
    """Yield the sequences of a FASTA file that can be used.

    Args:
        path: The file; compressed by gzip if its name ends in ".gz".
        how: Encoding, and what becomes of sequences without letters or with letters that stand for no base.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: it is damaged, or a sequence cannot be used and is not to be skipped.
    """
    record: Record | None = None
    before = len(how.rejects)
    for number, text in lines(path, how):
        if text.startswith(">"):
            yield from _whole(record, how, before)
            record, before = Record(f"{path}:{number}", (text[1:].split() or [""])[0]), len(how.rejects)
        elif text.strip():
            _extend(record, f"{path}:{number}", text.strip(), how)
    yield from _whole(record, how, before)


def fasta_text(path: Path) -> Iterator[str]:
    """Yield the sequences of a FASTA file as text in pieces of about a mebibyte: capitals, a line a sequence.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: it is damaged, or a letter stands for no base.
    """
    held: list[str] = []
    size, begun = 0, False
    for number, text in lines(path, Reading()):
        where, letters = f"{path}:{number}", text.strip()
        if text.startswith(">"):
            piece, begun = "\n" if begun else "", True
        elif letters and not begun:
            raise DataError(f"{where}: must begin with a line '>id'; got {shown(letters)}")
        else:
            check_nucleotides(where, letters)
            piece = letters.upper()
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(held)
            held, size = [], 0
    yield "".join([*held, "\n"])


def _extend(record: Record | None, where: str, letters: str, how: Reading) -> None:
    if record is None:
        how.rejects.refuse(where, f"must begin with a line '>id'; got {shown(letters)}")
    elif record.letters is not None:
        try:
            check_nucleotides(where, letters)
            record.letters += letters.upper()
        except DataError as error:
            how.rejects.take(where, error)
            record.letters = None


def _whole(record: Record | None, how: Reading, before: int) -> Iterator[Record]:
    """The record, unless a line of it was refused: a sequence with a hole in it is another sequence."""
    if record is not None and len(how.rejects) == before:
        if record.letters:
            yield record
        else:
            how.rejects.refuse(record.where, f"must have letters after its header; got none for {shown(record.id)}")
