"""Sequences of different lengths in one padded tensor: which steps are real, and reversal within each length."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_steps(lengths: Tensor, steps: int, device: torch.device) -> Tensor:
    """Return (B, T), True where a step belongs to its sequence."""
    return torch.arange(steps, device=device).unsqueeze(0) < lengths.to(device).unsqueeze(1)


def without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Return x (B, T, S) with zeros beyond each length; what stood there, NaN too, reaches no value and no gradient."""
    return torch.where(valid_steps(lengths, x.shape[1], x.device).unsqueeze(2), x, x.new_zeros(()))


def reverse_within(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence of x (B, T, S) within its own length; padding stays where it is."""
    if lengths is None:
        return x.flip(1)
    time = torch.arange(x.shape[1], device=x.device).unsqueeze(0)  # (1, T)
    last = lengths.to(x.device).unsqueeze(1) - 1  # (B, 1)
    index = torch.where(time <= last, last - time, time)  # (B, T)
    return x.gather(1, index.unsqueeze(2).expand_as(x))
