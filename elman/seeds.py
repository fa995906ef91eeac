"""Seeds as a function of what they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

Part = str | int


def seed_of(seed: int, *purpose: Part) -> int:
    """Return the 63-bit seed that belongs to `seed` and the parts of a purpose.

    blake2b over the parts, each written with its type and length, so that ("a", "bc") and ("ab", "c"), or 1 and "1",
    never meet. The same on every machine and in every version.

    Args:
        seed: The run's seed, any integer.
        purpose: What the draw is for, e.g. "dropout", epoch, step; texts and integers.
    """
    return Seeds(seed, *purpose).of()


class Seeds:
    """Seeds whose first parts are the same, which are read once: Seeds(a, b).of(c) is seed_of(a, b, c).

    Args:
        seed, purpose: See `seed_of`.
    """

    def __init__(self, seed: int, *purpose: Part) -> None:
        self._begun = hashlib.blake2b(digest_size=8, person=b"elman-seed")
        _read(self._begun, (seed, *purpose))

    def of(self, *further: Part) -> int:
        """Return the seed of these parts behind the first ones."""
        digest = self._begun.copy()
        _read(digest, further)
        return int.from_bytes(digest.digest(), "little") >> 1


def _read(digest: hashlib.blake2b, parts: Iterable[Part]) -> None:
    for part in parts:
        text = str(part).encode("utf-8")
        digest.update(f"{'s' if isinstance(part, str) else 'i'}{len(text)}:".encode("ascii") + text)
