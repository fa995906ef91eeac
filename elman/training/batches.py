"""Batches of examples of similar length, in another order every epoch, as a function of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from elman.errors import DataError
from elman.seeds import seed_of

POOL = 50
"""Batches of a pool: within one, examples are sorted by length."""


class Batches:
    """Which examples stand together.

    An epoch shuffles all examples, sorts pools of 50 batches by length, cuts them into batches and shuffles these:
    batches have little padding, and no two epochs have the same ones.

    Args:
        lengths: Of each example.
        size: B, examples of a batch; the last of an epoch may have fewer.
        seed: Seed of the orders.

    Raises:
        DataError: there is no example.
    """

    def __init__(self, lengths: Sequence[int], size: int, seed: int) -> None:
        if not lengths:
            raise DataError("batches: there must be at least one example; got none")
        self.lengths, self.size, self.seed = np.asarray(lengths), size, seed
        self._epoch = lru_cache(maxsize=2)(self._order)

    @property
    def count(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.lengths) // self.size)

    def rows(self, epoch: int, index: int) -> list[int]:
        """Return the numbers of the examples of a batch."""
        return [int(row) for row in self._epoch(epoch)[index]]

    def _order(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        draws = np.random.Generator(np.random.PCG64(seed_of(self.seed, "batches", epoch)))
        order, pool = draws.permutation(len(self.lengths)), POOL * self.size
        pools = [order[at : at + pool] for at in range(0, len(order), pool)]
        order = np.concatenate([rows[np.argsort(self.lengths[rows], kind="stable")] for rows in pools])
        batches = [order[at : at + self.size] for at in range(0, len(order), self.size)]
        return [batches[number] for number in draws.permutation(len(batches))]

    def in_order(self) -> list[list[int]]:
        """Return batches of all examples, the longest first: those who would run out of memory do so at once."""
        order = np.argsort(-self.lengths, kind="stable").tolist()
        return [order[at : at + self.size] for at in range(0, len(order), self.size)]
