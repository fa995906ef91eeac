"""Files to one running text, for models of what comes next: text files, and the sequences of FASTA files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from elman.readers.fasta import fasta_text, is_fasta
from elman.readers.text import utf8_chunks


def text_chunks(path: Path) -> Iterator[str]:
    """Yield the text of a file in pieces of about a mebibyte; of a FASTA file by its name, a sequence a line.

    Raises:
        DataError: it is no text, see utf8_chunks, or no FASTA, see fasta_text.
        MissingInputError, StorageError: see check_readable.
    """
    yield from fasta_text(path) if is_fasta(path) else utf8_chunks(path)


def word_pieces(path: Path, end: str) -> Iterator[list[str]]:
    """Yield lists of words between white space, with `end` for each end of line; the last line needs none."""
    rest, open_line = "", False
    for text in text_chunks(path):
        text = rest + text
        cut = max(text.rfind(" "), text.rfind("\n"), text.rfind("\t")) + 1
        text, rest = text[:cut], text[cut:]
        if text:
            yield text.replace("\n", f" {end} ").split()
            last = text.rpartition("\n")[2]
            open_line = bool(last.strip()) or (open_line and "\n" not in text)
    if rest:
        yield [*rest.split(), end]
    elif open_line:
        yield [end]
