"""Parallel streams for truncated back-propagation: a text cut into B parts that are read side by side."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from elman.errors import DataError
from elman.seeds import seed_of


class Streams:
    """Batches of consecutive segments; the state after one batch is the state before the next.

    Token n of a stream is predicted from those before it; within an epoch each token is a target at most once.

    Args:
        tokens: Token numbers, memory-mapped or not.
        streams: B, how many parts are read side by side, at least 1.
        length: T, steps of a segment; the mean when lengths are random.
        random_length: Draw the length of every segment around T, now and then around T / 2, as Merity et al. 2018,
            section 5.1.
        seed: Seed of those draws.
        where: Name of the data, for errors.
    """

    def __init__(
        self,
        tokens: npt.NDArray[Any],
        streams: int,
        length: int,
        *,
        random_length: bool = False,
        seed: int = 0,
        where: str = "data",
    ) -> None:
        self.count = len(tokens) // streams
        if self.count < 2:
            raise DataError(
                f"{where}: must have at least 2 tokens for each of {streams} streams; got {len(tokens):,} in all",
                "use fewer streams, or more text",
            )
        self.rows = tokens[: self.count * streams].reshape(streams, self.count)  # (B, N)
        self.streams, self.length, self.random_length, self.seed = streams, length, random_length, seed
        self._bounds = lru_cache(maxsize=2)(self._find_bounds)

    def _find_bounds(self, epoch: int) -> npt.NDArray[np.int64]:
        """Where the segments of an epoch begin, and where the last one ends."""
        if not self.random_length:
            starts = np.arange(0, self.count - 1, self.length, dtype=np.int64)
            return np.append(starts, self.count - 1)
        draws = np.random.Generator(np.random.PCG64(seed_of(self.seed, "segment lengths", epoch)))
        ends = [0]
        while ends[-1] < self.count - 1:
            base = self.length if draws.random() < 0.95 else self.length / 2
            steps = max(1, min(int(draws.normal(base, max(1.0, self.length / 14))), 2 * self.length))
            ends.append(min(ends[-1] + steps, self.count - 1))
        return np.array(ends, dtype=np.int64)

    def batches_per_epoch(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return len(self._bounds(epoch)) - 1

    def batch(self, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets (B, T) of a batch: a function of the data, the seed, `epoch` and `index`."""
        bounds = self._bounds(epoch)
        start, stop = int(bounds[index]), int(bounds[index + 1])
        piece = torch.from_numpy(self.rows[:, start : stop + 1].astype(np.int64))  # (B, T + 1)
        return piece[:, :-1], piece[:, 1:]
