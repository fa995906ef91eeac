"""Masks of dropout, which the C++ engine draws several times as fast as torch, and the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elman.engines.cpu.moment import unwatched
from elman.plans.native import available, engine, target
from elman.randomness import bernoulli_mask, draw_generator


def mask_of_ones(shape: Sequence[int], share: float, purpose: str, like: Tensor) -> Tensor:
    """Draw a mask of zeros and ones as `bernoulli_mask` does.

    Args:
        shape: Shape of the mask.
        share: Probability of a one, in [0, 1].
        purpose: What the mask is for; see `draw_generator`.
        like: Whose device and type the mask is to have.
    """
    if _is_for_torch(like):
        return bernoulli_mask(shape, share, purpose, like.device, like.dtype)
    return _drawn(shape, share, 1.0, purpose).to(like.device)


def scaled_mask(shape: Sequence[int], keep: float, purpose: str, like: Tensor) -> Tensor:
    """Draw a mask of zeros and 1 / keep, each entry with probability `keep` the latter: `bernoulli_mask` over `keep`.

    Args:
        shape, purpose, like: As of `mask_of_ones`.
        keep: Probability, in (0, 1].
    """
    if _is_for_torch(like):
        return bernoulli_mask(shape, keep, purpose, like.device, like.dtype) / keep
    return _drawn(shape, keep, float(torch.ones((), dtype=torch.float32) / keep), purpose).to(like.device)


def _is_for_torch(like: Tensor) -> bool:
    return like.dtype != torch.float32 or not unwatched((like,)) or not available()


def _drawn(shape: Sequence[int], share: float, value: float, purpose: str) -> Tensor:
    mask = torch.empty(tuple(shape), dtype=torch.float32, device="cpu")
    engine.mask(target(), draw_generator(purpose).initial_seed(), share, value, mask)
    return mask
