"""How many characters of text tokens stand for, without decoding them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from elman.codecs.text import TextCodec

_PIECE = 1 << 20


def characters_after_first(codec: TextCodec, ids: npt.NDArray[Any]) -> int | None:
    """Return how many characters all tokens but the first add to the text, for bits per character.

    A word adds itself and the blank before it, the end of a line its newline; a subword adds the characters whose
    first byte it holds.

    Args:
        codec: Level and vocabulary of the tokens.
        ids: Token numbers, at least 1.

    Returns:
        None when one of them stands for unknown text, whose length is not known.
    """
    total, lengths = 0, _lengths(codec)
    for start in range(1, len(ids), _PIECE):
        before, now = ids[start - 1 : start - 1 + _PIECE], ids[start : start + _PIECE]
        if codec.unknown is not None and bool((now == codec.unknown).any()):
            return None
        total += int(lengths[now].sum())
        if codec.level == "word":
            total += int(((before[: len(now)] != codec.end) & (now != codec.end)).sum())
    return total


def _lengths(codec: TextCodec) -> npt.NDArray[np.int64]:
    """Characters of each token, blanks between words left out."""
    if codec.level == "character":
        return np.ones(codec.size, dtype=np.int64)
    if codec.level == "word":
        return np.array([1 if n == codec.end else len(token) for n, token in enumerate(codec.tokens)], dtype=np.int64)
    return np.array([sum(c not in _CONTINUED for c in token) for token in codec.tokens], dtype=np.int64)


def _continued() -> frozenset[str]:
    """What stands in byte-level tokens for the bytes 0x80 to 0xBF, which continue a character of UTF-8.

    Bytes that print stand for themselves; all others, in order, for the code points from 256 on.
    """
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in prints]
    return frozenset(chr(b) if b in prints else chr(256 + others.index(b)) for b in range(0x80, 0xC0))


_CONTINUED = _continued()
