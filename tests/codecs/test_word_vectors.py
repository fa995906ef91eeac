"""Word vectors as published: with and without a header, words with blanks, damaged files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from elman.codecs.word_vectors import read_word_vectors
from elman.errors import DataError

GLOVE = "the 0.1 -2 3e-1\ncat 1 2 3\nnew york 4 5 6\n"


def write(folder: Path, text: str) -> Path:
    (folder / "vectors.txt").write_text(text, encoding="utf-8")
    return folder / "vectors.txt"


@pytest.mark.parametrize("header", ["", "3 3\n"])
def test_wanted_words_are_read(header: str, tmp_path: Path) -> None:
    found = read_word_vectors(write(tmp_path, header + GLOVE), {"cat", "new york", "dog"}.__contains__)
    assert found.size == 3
    assert {word: vector.tolist() for word, vector in found.vectors.items()} == {
        "cat": [1, 2, 3],
        "new york": [4, 5, 6],
    }


def test_first_words_are_read_besides(tmp_path: Path) -> None:
    found = read_word_vectors(write(tmp_path, GLOVE + "cat 9 9 9\ndog 7 7 7\n"), {"cat"}.__contains__, further=2)
    assert list(found.vectors) == ["the", "cat", "new york"]
    assert found.vectors["cat"].tolist() == [1, 2, 3]


def test_gzip(tmp_path: Path) -> None:
    (tmp_path / "v.vec.gz").write_bytes(gzip.compress(b"2 1\na 1\nb 2\n"))
    assert read_word_vectors(tmp_path / "v.vec.gz", lambda _: True).vectors["b"].tolist() == [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GLOVE + "dog 1 2\n", ":4: must hold a word and 3 numbers; got 'dog 1 2'"),
        (GLOVE + "dog 1 2 x\n", ":4: must hold numbers behind the word"),
        (GLOVE + "dog 1 2 nan\n", ":4: must hold finite numbers"),
        ("alone\n", ":1: must hold a word and 1 numbers"),
        ("a 1 2\n", "must hold vectors of words that the data has"),
    ],
)
def test_damaged_files_are_told(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_word_vectors(write(tmp_path, text), {"dog"}.__contains__)
