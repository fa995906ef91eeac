"""DNA to numbers: a base is one of four axes, an ambiguous letter the mean of those it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.readers.nucleotides import BASES, MEANINGS, check_nucleotides

_ROWS = np.zeros((128, 4), dtype=np.float32)
for _letter, _bases in MEANINGS.items():
    _ROWS[ord(_letter), [BASES.index(base) for base in _bases]] = 1 / len(_bases)

# A letter's complement stands for the complements of its bases.
_COMPLEMENTS = {letter: {BASES[3 - BASES.index(base)] for base in bases} for letter, bases in MEANINGS.items()}
_LETTER_OF = {frozenset(bases): letter for letter, bases in MEANINGS.items() if letter != "U"}
_OTHERS = {letter: _LETTER_OF[frozenset(bases)] for letter, bases in _COMPLEMENTS.items()}
_TRANSLATION = str.maketrans(_OTHERS | {letter.lower(): other.lower() for letter, other in _OTHERS.items()})


class Nucleotides:
    """Sequences of letters, large or small, to P(base) at each step, axes in the order A, C, G, T.

    The complement of a base is the axis counted from the other end, so that flipping steps and axes gives the
    other strand.

    Example:
        >>> Nucleotides().encode("AN").tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """

    kind, size = "nucleotides", 4

    def encode(self, letters: str, where: str = "DNA") -> Tensor:
        """Return (T, 4), each row a distribution over the bases.

        Args:
            letters: The sequence.
            where: Where it stands, for errors.

        Raises:
            DataError: a letter stands for no base.
        """
        check_nucleotides(where, letters)
        return torch.from_numpy(_ROWS[np.frombuffer(letters.upper().encode("ascii"), dtype=np.uint8)])

    def to_json(self) -> dict[str, Any]:
        """Return nothing: there is one such code."""
        return {}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Nucleotides:
        """Return the code."""
        return cls()


def reverse_complement(letters: str) -> str:
    """Return the other strand, read in its own direction: complements, last letter first; U becomes A.

    Example:
        >>> reverse_complement("AACGR")
        'YCGTT'
    """
    return letters.translate(_TRANSLATION)[::-1]
