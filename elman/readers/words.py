"""Raw text to words, with the place of each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise


@dataclass(frozen=True)
class Word:
    """A word and its place: text[begin:end]."""

    text: str
    begin: int
    end: int


def words_of(text: str) -> list[Word]:
    """Return the words of a text: letters and digits together, every other sign by itself, each with its marks.

    Example:
        >>> [word.text for word in words_of("It's 3.5 km, isn't it?")]
        ["It's", '3.5', 'km', ',', "isn't", 'it', '?']
    """
    return [Word(match.group(), match.start(), match.end()) for match in _word().finditer(text)]


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    """The form of a word; made when words are wanted, since it looks through the characters of Unicode."""
    # Vowel signs, accents and joiners belong to the letter before them, though \w has none of them.
    marks = "".join(sign for sign in map(chr, range(0x300, 0x1F000)) if unicodedata.category(sign).startswith("M"))
    marks += "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\U000e0100-\U000e01ef"
    letters = rf"\w+(?:[{marks}]+\w*)*"
    # Letters and digits with ' - . , : @ between them; "'s" and the like where a text was cut already; others alone.
    return re.compile(rf"{letters}(?:['’.,:@-]{letters})*|['’]{letters}|[^\w\s][{marks}]*")


class Words(tuple[str, ...]):
    """The words of a text, equal to any tuple of them, that know the text and the place of each.

    Attributes:
        text: The text.
        places: Begin and end of each word in it.
    """

    text: str
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, text: str, words: Iterable[Word]) -> Words:
        """Return words of a text."""
        given = tuple(words)
        found = cls(word.text for word in given)
        found.text, found.places = text, tuple((word.begin, word.end) for word in given)
        return found


def words_in(text: str, tokens: Sequence[str]) -> Words | None:
    """Return tokens with their places in a text that holds them one after the other; None where it does not."""
    found, at = [], 0
    for token in tokens:
        begin = text.find(token, at)
        if begin < 0:
            return None
        at = begin + len(token)
        found.append(Word(token, begin, at))
    return Words.of(text, found)


def with_places(words: Sequence[str]) -> Words:
    """Return words with their places: in their text, or in one where a space stands between them.

    Example:
        >>> with_places(["in", "Oslo"]).places
        ((0, 2), (3, 7))
    """
    if isinstance(words, Words):
        return words
    found = words_in(" ".join(words), words)
    assert found is not None, "a text holds the words that it is made of"
    return found


def cut_at(words: Iterable[Word], places: Iterable[int]) -> list[Word]:
    """Return words cut in two at every place within one.

    Example:
        >>> [word.text for word in cut_at(words_of("Bob's dog"), [0, 3])]
        ['Bob', "'s", 'dog']
    """
    found, points = [], set(places)
    for word in words:
        ends = [word.begin, *sorted(p for p in points if word.begin < p < word.end), word.end]
        parts = pairwise(ends)
        found += [Word(word.text[a - word.begin : b - word.begin], a, b) for a, b in parts]
    return found
