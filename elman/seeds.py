"""Seeds as a function of what they are for."""

from __future__ import annotations

import hashlib

Part = str | int


def seed_of(seed: int, *purpose: Part) -> int:
    """Return the 63-bit seed that belongs to `seed` and the parts of a purpose.

    blake2b over the parts, each written with its type and length, so that ("a", "bc") and ("ab", "c"), or 1 and "1",
    never meet. The same on every machine and in every version.

    Args:
        seed: The run's seed, any integer.
        purpose: What the draw is for, e.g. "dropout", epoch, step; texts and integers.
    """
    digest = hashlib.blake2b(digest_size=8, person=b"elman-seed")
    for part in (seed, *purpose):
        text = str(part).encode("utf-8")
        digest.update(f"{'s' if isinstance(part, str) else 'i'}{len(text)}:".encode("ascii") + text)
    return int.from_bytes(digest.digest(), "little") >> 1
