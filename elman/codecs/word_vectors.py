"""Word vectors from text files, as word2vec, GloVe and fastText publish them: a word and its numbers a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from elman.errors import DataError
from elman.readers.examples import Reading, shown
from elman.readers.lines import lines


@dataclass(frozen=True)
class WordVectors:
    """Vectors by word.

    Args:
        vectors: Each (D,), float32, in the order of the file.
        size: D.
    """

    vectors: dict[str, npt.NDArray[np.float32]]
    size: int


def read_word_vectors(path: Path, wanted: Callable[[str], bool], further: int = 0) -> WordVectors:
    """Read the vectors of some words.

    A first line of two whole numbers, count and size, is a header. A word may hold blanks: the last D fields are its
    numbers, and D is the size in the header or that of the first line. The first of two lines with one word counts.

    Args:
        path: A text file; it may be compressed by gzip.
        wanted: Says which words to take.
        further: How many of the first words to take besides, wanted or not.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: a line has too few fields, or one is not a finite number; or no word is wanted.
    """
    found: dict[str, npt.NDArray[np.float32]] = {}
    size = 0
    for number, line in lines(path, Reading()):
        fields = line.rstrip().split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            size = int(fields[1])
            continue
        size = size or len(fields) - 1
        if size < 1 or len(fields) <= size:
            raise DataError(f"{path}:{number}: must hold a word and {max(size, 1)} numbers; got {shown(line)}")
        word = " ".join(fields[:-size])
        if word in found or not (wanted(word) or further > 0):
            continue
        further -= not wanted(word)
        found[word] = _numbers(fields[-size:], f"{path}:{number}")
    if not found:
        raise DataError(f"{path}: must hold vectors of words that the data has; got none of them")
    return WordVectors(found, size)


def _numbers(fields: list[str], where: str) -> npt.NDArray[np.float32]:
    try:
        values = np.array(fields, dtype=np.float32)
    except ValueError:
        raise DataError(f"{where}: must hold numbers behind the word; got {shown(' '.join(fields))}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where}: must hold finite numbers; got {shown(' '.join(fields))}")
    return values
