"""Sentences with a tag for each word: CoNLL columns, CoNLL-U, JSON lines with tags or spans, raw lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.examples import EMPTY, Example, Reading, shown
from elman.readers.lines import lines
from elman.readers.spans import example_of
from elman.readers.tables import rows
from elman.readers.words import Words, words_of

FORMS = ("auto", "conll", "conllu", "jsonl", "lines")
SUFFIXES = {".conllu": "conllu", ".jsonl": "jsonl", ".ndjson": "jsonl"}
COLUMNS_OF_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_GAP = re.compile(r"[ ]*\t[ ]*|[ ]+")


def read_tagged_text(path: Path, how: Reading) -> Iterator[Example]:
    """Yield sentences: x is a tuple of words, y a tuple of tags of the same length.

        conll    a word a line, columns between blanks, or tabs with or without blanks around them, an empty line
                 between sentences; the word is in the first column and the tag in the last, or in those numbered by
                 columns "word" and "tag", from 1
        conllu   CoNLL-U; columns "word" and "tag" name its columns, form and upos by default
        jsonl    a line is {"tokens": [...], "tags": [...]}, or {"text": ..., "spans": [{"start": 0, "end": 5,
                 "label": "person"}, ...]}, whose spans become tags B-person, I-person; places count code points, and
                 a word is cut where a span begins or ends in it; with tokens and text, tokens are those of the text
        lines    a line is a sentence without tags; an empty one stands for itself

    Without a form the name tells: .conllu, .jsonl; other files are conll, or lines (.txt) where no tags are needed.

    Args:
        path: A file; it may be compressed by gzip.
        how: Form, encoding, columns ("word", "tag", and "group" and "part" of JSON lines), whether tags are needed,
            rejects.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        UsageError: an unknown form or column.
    """
    how.known_columns("word", "tag", "group", "part")
    form = _form(path, how)
    if form == "lines":
        for number, text in lines(path, how):
            yield Example(f"{path}:{number}", Words.of(text, words_of(text)) or EMPTY)
    elif form == "jsonl":
        for row in rows(path, "jsonl", how, ()):
            try:
                yield example_of(row, how)
            except DataError as error:
                how.rejects.take(row.where, error)
    else:
        yield from _sentences(path, form, how)


def _form(path: Path, how: Reading) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    if how.form != "auto":
        return how.form
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    return SUFFIXES.get(suffix, "lines" if suffix == ".txt" and not how.labelled else "conll")


# ---- columns


@dataclass
class _Sentence:
    """Lines of one sentence so far; `problem` says why it cannot be used, and where."""

    first: int
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    problem: tuple[int, str] | None = None


def _sentences(path: Path, form: str, how: Reading) -> Iterator[Example]:
    place = _Columns(form, how)
    sentence: _Sentence | None = None
    for number, text in lines(path, how):
        if not text.strip() or text.startswith("-DOCSTART-"):
            yield from _ended(path, sentence, how)
            sentence = None
        elif not (form == "conllu" and text.startswith("#")):
            sentence = sentence or _Sentence(number)
            place.add(sentence, number, text)
    yield from _ended(path, sentence, how)


class _Columns:
    """Which columns hold word and tag; every line must have as many columns as the first."""

    def __init__(self, form: str, how: Reading) -> None:
        self.form, self.labelled, self.count = form, how.labelled, 0
        self.word = self._index("word", how, 1 if form == "conllu" else 0)
        self.tag = self._index("tag", how, 3 if form == "conllu" else -1)
        self.tagged = 2 if self.tag < 0 else self.tag + 1  # columns that a line with a tag has at least

    def _index(self, name: str, how: Reading, usual: int) -> int:
        given = how.columns.get(name)
        if given is None:
            return usual
        if self.form == "conllu":
            if given.lower() not in COLUMNS_OF_CONLLU:
                raise UsageError(
                    f"column {name}: must be one of {', '.join(COLUMNS_OF_CONLLU)}; got {given!r}"
                    f"{nearest(given.lower(), COLUMNS_OF_CONLLU)}"
                )
            return COLUMNS_OF_CONLLU.index(given.lower())
        if not given.isdecimal() or int(given) < 1:
            raise UsageError(f"column {name}: must be the number of a column, from 1; got {given!r}")
        return int(given) - 1

    def add(self, sentence: _Sentence, number: int, text: str) -> None:
        """Add a line to a sentence, or note why it cannot be."""
        cells = text.split("\t") if self.form == "conllu" else _GAP.split(text.rstrip())
        self.count = self.count or len(cells)
        if self.form == "conllu" and not cells[0].isdecimal():
            if not re.fullmatch(r"\d+[-.]\d+", cells[0]):
                sentence.problem = sentence.problem or (number, f"id must be a number; got {shown(cells[0])}")
            return  # 3-4 is written as one word and stands again as two; 3.1 is not written
        needed = max(self.word + 1, self.tagged if self.labelled else 0)
        if len(cells) != self.count or len(cells) < needed:
            wanted = max(self.count, needed)
            sentence.problem = sentence.problem or (number, f"must have {wanted} columns; got {len(cells)}")
        elif not cells[self.word] or (self.labelled and not cells[self.tag]):
            sentence.problem = sentence.problem or (number, f"must hold a word and a tag; got {shown(text)}")
        else:
            sentence.words.append(cells[self.word])
            sentence.tags.append(cells[self.tag] if len(cells) >= self.tagged else "")


def _ended(path: Path, sentence: _Sentence | None, how: Reading) -> Iterator[Example]:
    if sentence is None:
        return
    if sentence.problem is not None:
        number, problem = sentence.problem
        how.rejects.refuse(f"{path}:{number}", problem)
    elif sentence.words:
        tags = tuple(sentence.tags) if all(sentence.tags) else None
        yield Example(f"{path}:{sentence.first}", tuple(sentence.words), tags)
