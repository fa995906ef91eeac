"""Sentences of JSON lines: tokens with tags, or a text with spans of code points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from elman.errors import DataError
from elman.readers.examples import Example, Reading, shown
from elman.readers.tables import Row
from elman.readers.words import Word, Words, cut_at, words_in, words_of

Span = tuple[int, int, str]


def example_of(row: Row, how: Reading) -> Example:
    """Return the sentence of a row; see elman.readers.tagged_text.

    Raises:
        DataError: the row cannot be used.
    """
    words, tags = _tokens(row, how) if "tokens" in row.values else _text(row, how)
    return Example(row.where, words, tags, row.group(how), row.part(how))


def _tokens(row: Row, how: Reading) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    tokens, text, column = _texts(row, "tokens"), row.values.get("text"), how.columns.get("tag", "tags")
    words = (words_in(text, tokens) if isinstance(text, str) else None) or tokens
    if not how.labelled and column not in row.values:
        return words, None
    tags = _texts(row, column)
    if len(words) != len(tags):
        raise DataError(f"{row.where}: must have a tag a token; got {len(words)} tokens and {len(tags)} tags")
    return words, tags


def _texts(row: Row, name: str) -> tuple[str, ...]:
    values = row.values.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(item, str) and item for item in values):
        raise DataError(f"{row.where}: {name} must be a list of texts; got {shown(values)}")
    return tuple(values)


def _text(row: Row, how: Reading) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    text = row.values.get("text")
    words = words_of(text) if isinstance(text, str) else []
    if not words:
        names = ", ".join(row.values) or "no columns"
        raise DataError(f"{row.where}: must have tokens and tags, or text with words and spans; got {names}")
    if not how.labelled:
        return Words.of(str(text), words), None
    spans = list(_spans(row, len(str(text))))
    words = cut_at(words, (place for begin, end, _ in spans for place in (begin, end)))
    return Words.of(str(text), words), tags_of_spans(row.where, words, spans)


def _spans(row: Row, size: int) -> Iterator[Span]:
    spans = row.values.get("spans")
    if not isinstance(spans, list):
        raise DataError(f"{row.where}: spans must be a list; got {shown(spans)}")
    for span in spans:
        values: list[Any] = [span.get(key) for key in ("start", "end", "label")] if isinstance(span, dict) else []
        if [type(value) for value in values] != [int, int, str] or not 0 <= values[0] < values[1] <= size:
            raise DataError(
                f"{row.where}: a span must have start, end (from 0 to {size}) and a label; got {shown(span)}"
            )
        yield values[0], values[1], values[2]


def tags_of_spans(where: str, words: Sequence[Word], spans: Iterable[Span]) -> tuple[str, ...]:
    """Return BIO tags of words for spans of code points.

    Args:
        where: Where the text stands, for errors.
        words: The words with their places, none of which a span cuts.
        spans: Begin, end and label of each.

    Raises:
        DataError: a span holds no word, or two overlap.
    """
    tags = ["O"] * len(words)
    for begin, end, label in spans:
        touched = [n for n, word in enumerate(words) if word.begin < end and begin < word.end]
        if not touched:
            raise DataError(f"{where}: a span must hold a word; got {begin} to {end}, which is white space")
        if any(tags[n] != "O" for n in touched):
            raise DataError(f"{where}: spans must not overlap; got two at {shown(words[touched[0]].text)}")
        for n in touched:
            tags[n] = f"{'B' if n == touched[0] else 'I'}-{label}"
    return tuple(tags)
