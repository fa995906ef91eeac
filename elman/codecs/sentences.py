"""Sentences: texts one by one, to token numbers and back, at the level of characters, words or subwords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from elman.codecs.text import LEVELS, CharacterCodec, TextCodec, WordCodec, codec_from_json
from elman.errors import ModelFileError, UsageError, nearest

SUBWORDS = 4000
_LONGEST = 1_000_000


class Sentences:
    """A text codec for one side of pairs of texts, and how long these texts are.

    A subword that begins a text is the same as inside one: a blank is put before the text, and taken away from what is
    decoded.

    Args:
        codec: Level and vocabulary.
        longest: Tokens of the longest text that training met.

    Example:
        >>> letters = Sentences.build(["abc", "ca"], "character")
        >>> letters.encode("cab"), letters.decode([3, 1, 2]), letters.longest
        ([3, 1, 2], 'cab', 3)
    """

    kind = "sentences"

    def __init__(self, codec: TextCodec, longest: int) -> None:
        if not 0 < longest <= _LONGEST:
            raise ModelFileError(f"sentences: longest must be from 1 to {_LONGEST:,}; got {longest:,}")
        self.codec, self.longest = codec, longest

    @classmethod
    def build(
        cls, texts: Sequence[str], level: str, vocabulary_size: int | None = None, min_count: int = 1
    ) -> Sentences:
        """Build a codec of texts.

        Args:
            texts: At least one, none empty.
            level: "character", "word" or "subword".
            vocabulary_size: Most tokens to keep; None keeps all (subword: 4,000).
            min_count: Tokens met less often become unknown.

        Raises:
            UsageError: an unknown level, or an option without effect at this level.
            DataError: no token is left.
        """
        codec: TextCodec
        if level == "character":
            codec = CharacterCodec.build(texts, vocabulary_size, min_count)
        elif level == "word":
            codec = WordCodec.build((text.split() for text in texts), vocabulary_size, min_count)
        elif level == "subword":
            from elman.codecs.subwords import SubwordCodec

            codec = SubwordCodec.of_texts((f" {text}" for text in texts), vocabulary_size or SUBWORDS, min_count)
        else:
            raise UsageError(f"level: must be one of {', '.join(LEVELS)}; got {level!r}{nearest(level, LEVELS)}")
        longest = max(len(cls(codec, 1).encode(text)) for text in texts)
        return cls(codec, longest)

    @property
    def size(self) -> int:
        """Number of tokens, V."""
        return self.codec.size

    @property
    def tokens(self) -> list[str]:
        """The tokens, as people see them."""
        if self.codec.level != "subword":
            return self.codec.tokens
        return [self.codec.decode([number]) for number in range(self.codec.size)]

    def encode(self, text: str) -> list[int]:
        """Return the token numbers of a text."""
        numbers: list[int] = self.codec.encode(f" {text}" if self.codec.level == "subword" else text).tolist()
        return numbers

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of token numbers."""
        text = self.codec.decode(numbers)
        return text.removeprefix(" ") if self.codec.level == "subword" else text

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` rebuilds."""
        return {"longest": self.longest, "codec": self.codec.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Sentences:
        """Rebuild what `to_json` gave.

        Raises:
            ModelFileError: it is not the description of sentences.
        """
        longest = value.get("longest")
        if type(longest) is not int:
            raise ModelFileError("sentences: must tell the longest, a whole number")
        return cls(codec_from_json(value.get("codec")), longest)
