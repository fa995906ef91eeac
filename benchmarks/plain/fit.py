"""Training as most scripts have it: shuffled batches of like lengths, AdamW, a rate that rises and falls, clipping."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

POOL = 50
"""Batches that are sorted by length together."""


def batches(lengths: Sequence[int], size: int, draws: random.Random) -> Iterator[list[int]]:
    """Yield the numbers of the examples of each batch, those of about one length together."""
    order = list(range(len(lengths)))
    draws.shuffle(order)
    found = []
    for start in range(0, len(order), POOL * size):
        pool = sorted(order[start : start + POOL * size], key=lengths.__getitem__)
        found += [pool[n : n + size] for n in range(0, len(pool), size)]
    draws.shuffle(found)
    yield from found


def fit(
    model: nn.Module,
    lengths: Sequence[int],
    loss_of: Callable[[list[int]], Tensor],
    *,
    epochs: int,
    size: int,
    rate: float,
) -> float:
    """Train, return the seconds that it took."""
    draws = random.Random(0)
    steps = epochs * -(-len(lengths) // size) + epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    start = time.perf_counter()
    model.train()
    for _ in range(epochs):
        for numbers in batches(lengths, size, draws):
            loss = loss_of(numbers)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()
    return time.perf_counter() - start


def reached(value: float, seconds: float, *modules: nn.Module) -> dict[str, float]:
    """Return a row: what was reached, the seconds of training, how many numbers were trained."""
    return {"value": value, "seconds": seconds, "parameters": sum(p.numel() for m in modules for p in m.parameters())}
