"""Raw text to words, with the place of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Letters and digits with ' - . , : @ between them; "'s" and the like where a text was cut already; other signs alone.
_WORD = re.compile(r"\w+(?:['’.,:@-]\w+)*|['’]\w+|[^\w\s]")


@dataclass(frozen=True)
class Word:
    """A word and its place: text[begin:end]."""

    text: str
    begin: int
    end: int


def words_of(text: str) -> list[Word]:
    """Return the words of a text: letters and digits together, every other sign by itself.

    Example:
        >>> [word.text for word in words_of("It's 3.5 km, isn't it?")]
        ["It's", '3.5', 'km', ',', "isn't", 'it', '?']
    """
    return [Word(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]
