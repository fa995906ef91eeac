"""Scores of additive attention by the engine: the sums of all pairs of a query and a key are never stored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elman.engines.cpu.moment import untraced, unwatched
from elman.engines.cpu.runners import WORTH_A_THREAD, empty
from elman.plans.native import available, engine, most_threads, target

_TANH = 16
"""Multiply-adds that a tanh is worth."""


def compares(*tensors: Tensor) -> bool:
    """Say whether the engine may compare tensors: it is here, they are float32 on the processor, and nobody watches."""
    return (
        available()
        and unwatched(tensors)
        and all(t.dtype == torch.float32 and t.device.type == "cpu" and t.numel() > 0 for t in tensors)
    )


def additive_scores(queries: Tensor, keys: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """Return v . tanh(q<t> + k<s>) for each query and key of a sequence, differentiable once.

    Args:
        queries: (B, T, A).
        keys: (B, S, A).
        v: (A,).
        counts: (B,) int64, how many keys of a sequence are compared, the first ones; the others may hold anything.

    Returns:
        (B, T, S), zero where nothing is compared.
    """
    scores: Tensor = _Scores.apply(queries, keys, v, counts)  # type: ignore[no-untyped-call]
    return scores


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, v: Tensor, counts: Tensor) -> Tensor:
        compared = [t.contiguous() for t in (queries, keys, v, counts)]
        ctx.save_for_backward(*compared)
        scores = empty(queries.shape[0], queries.shape[1], keys.shape[1])
        engine.compare(target(), *compared, scores, _threads(queries, keys))
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_scores: Tensor) -> tuple[Tensor | None, ...]:
        return *_backward(ctx.saved_tensors, d_scores.contiguous()), None


@untraced
def _backward(compared: tuple[Tensor, ...], d_scores: Tensor) -> list[Tensor]:
    gradients = [empty(*t.shape) for t in compared[:3]]
    engine.compare_back(target(), *compared, d_scores, *gradients, _threads(*compared[:2]))
    return gradients


def _threads(queries: Tensor, keys: Tensor) -> int:
    work = _TANH * queries.numel() * keys.shape[1] // WORTH_A_THREAD
    return max(1, min(most_threads(), queries.shape[0], work))
