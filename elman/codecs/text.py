"""Text to token numbers and back: characters, words, subwords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from elman.codecs.vocabulary import UNKNOWN, checked_tokens, most_frequent
from elman.errors import ModelFileError, UsageError, nearest
from elman.readers import text_chunks, word_pieces

Ids = npt.NDArray[np.int64]
END = "<eos>"
LEVELS = ("character", "word", "subword")


class TextCodec(Protocol):
    """What every text codec offers."""

    level: str
    tokens: list[str]
    unknown: int | None
    end: int | None

    @property
    def size(self) -> int:
        """Number of tokens, V."""

    def encode(self, text: str) -> Ids:
        """Return the token numbers of a text; what is not in the vocabulary becomes `unknown`."""

    def encode_file(self, path: Path) -> Iterator[Ids]:
        """Yield the token numbers of a file in pieces, in constant memory."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token numbers."""

    def to_json(self) -> dict[str, Any]:
        """Return what `codec_from_json` rebuilds."""


class CharacterCodec:
    """Characters: every code point is a token, the newline included; token 0 stands for characters never seen.

    Args:
        tokens: The vocabulary; "<unk>" first, then single characters.

    Example:
        >>> codec = CharacterCodec.build(["hello"])
        >>> codec.decode(codec.encode("hole")), codec.size
        ('hole', 5)
    """

    level = "character"
    end: int | None = None

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = checked_tokens(tokens, "character")
        bad = next((t for t in self.tokens[1:] if len(t) != 1), None)
        if bad is not None:
            raise ModelFileError(f"vocabulary: tokens after the first must be single characters; got {bad!r}")
        self.unknown: int | None = 0
        points = np.array([ord(t) for t in self.tokens[1:]], dtype=np.int64)
        order = np.argsort(points)
        self._points, self._ids = points[order], order.astype(np.int64) + 1

    @classmethod
    def build(cls, texts: Iterable[str], vocabulary_size: int | None = None, min_count: int = 1) -> CharacterCodec:
        """Count characters and keep the most frequent; they are numbered in order of their code points."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        return cls([UNKNOWN, *sorted(most_frequent(counts, vocabulary_size, min_count))])

    @property
    def size(self) -> int:
        """Number of tokens, V."""
        return len(self.tokens)

    def encode(self, text: str) -> Ids:
        """Return one number for each character."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
        if not len(self._points):
            return np.zeros(len(points), dtype=np.int64)
        at = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
        return np.where(self._points[at] == points, self._ids[at], 0)

    def encode_file(self, path: Path) -> Iterator[Ids]:
        """Yield the numbers of a file in pieces."""
        for text in text_chunks(path):
            yield self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text; the unknown token shows as the replacement character."""
        return "".join("\N{REPLACEMENT CHARACTER}" if i == 0 else self.tokens[i] for i in ids)

    def to_json(self) -> dict[str, Any]:
        """Return level and tokens."""
        return {"level": self.level, "tokens": self.tokens}


class WordCodec:
    """Words: what stands between white space; "<eos>" ends every line, "<unk>" stands for words not in the vocabulary.

    Args:
        tokens: The vocabulary; it has "<unk>" and "<eos>".

    Example:
        >>> codec = WordCodec.build([["a", "rose", "is", "a", "rose", "<eos>"]])
        >>> codec.decode(codec.encode("a rose\\n"))
        'a rose\\n'
    """

    level = "word"

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = checked_tokens(tokens, "word")
        self._ids = {token: n for n, token in enumerate(self.tokens)}
        missing = [t for t in (UNKNOWN, END) if t not in self._ids]
        if missing:
            raise ModelFileError(f"vocabulary: must have {UNKNOWN} and {END}; {', '.join(missing)} is missing")
        self.unknown: int | None = self._ids[UNKNOWN]
        self.end: int | None = self._ids[END]

    @classmethod
    def build(cls, pieces: Iterable[list[str]], vocabulary_size: int | None = None, min_count: int = 1) -> WordCodec:
        """Count words and keep the most frequent, in order of frequency."""
        counts: Counter[str] = Counter()
        for words in pieces:
            counts.update(words)
        for special in (UNKNOWN, END):
            counts.pop(special, None)
        limit = None if vocabulary_size is None else vocabulary_size - 1
        return cls([UNKNOWN, END, *most_frequent(counts, limit, min_count)])

    @property
    def size(self) -> int:
        """Number of tokens, V."""
        return len(self.tokens)

    def _numbers(self, words: Sequence[str]) -> Ids:
        unknown = self._ids[UNKNOWN]
        return np.fromiter((self._ids.get(word, unknown) for word in words), dtype=np.int64, count=len(words))

    def encode(self, text: str) -> Ids:
        """Return one number for each word and each end of line."""
        return self._numbers(text.replace("\r\n", "\n").replace("\n", f" {END} ").split())

    def encode_file(self, path: Path) -> Iterator[Ids]:
        """Yield the numbers of a file in pieces."""
        for words in word_pieces(path, END):
            yield self._numbers(words)

    def decode(self, ids: Iterable[int]) -> str:
        """Return words joined by blanks, with a newline for every end of line."""
        text = " ".join("\n" if i == self.end else self.tokens[i] for i in ids)
        return text.replace(" \n ", "\n").replace(" \n", "\n").replace("\n ", "\n")

    def to_json(self) -> dict[str, Any]:
        """Return level and tokens."""
        return {"level": self.level, "tokens": self.tokens}


def build_codec(paths: Sequence[Path], level: str, vocabulary_size: int | None = None, min_count: int = 1) -> TextCodec:
    """Build a codec from text files, in memory that grows with the vocabulary only.

    Args:
        paths: Training files.
        level: "character", "word" or "subword".
        vocabulary_size: Most tokens to keep, "<unk>" counted; None keeps all (subword: 2,000).
        min_count: Tokens met less often become "<unk>".

    Raises:
        UsageError: an unknown level, or an option without effect at this level.
        DataError: a file cannot be read as text.
    """
    if level == "character":
        return CharacterCodec.build((text for path in paths for text in text_chunks(path)), vocabulary_size, min_count)
    if level == "word":
        return WordCodec.build(
            (words for path in paths for words in word_pieces(path, END)), vocabulary_size, min_count
        )
    if level == "subword":
        from elman.codecs.subwords import SubwordCodec

        return SubwordCodec.build(paths, vocabulary_size or 2000, min_count)
    raise UsageError(f"level: must be one of {', '.join(LEVELS)}; got {level!r}{nearest(level, LEVELS)}")


def codec_from_json(value: Any) -> TextCodec:
    """Rebuild a codec from what `to_json` gave.

    Raises:
        ModelFileError: it is not the description of a codec.
    """
    if not isinstance(value, dict) or value.get("level") not in LEVELS:
        raise ModelFileError(f"vocabulary: must name its level, one of {', '.join(LEVELS)}")
    if value["level"] == "subword":
        from elman.codecs.subwords import SubwordCodec

        return SubwordCodec.from_json(value)
    tokens = value.get("tokens")
    if not isinstance(tokens, list):
        raise ModelFileError("vocabulary: must have a list of tokens")
    return CharacterCodec(tokens) if value["level"] == "character" else WordCodec(tokens)
