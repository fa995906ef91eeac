"""Penalties on activations, added to the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elman.engines.ragged import valid_steps
from elman.errors import UsageError


def activation_penalty(
    y: Tensor, lengths: Tensor | Sequence[int] | None = None, alpha: float = 0.0, beta: float = 0.0
) -> Tensor:
    """Penalise large activations and large steps between them.

        alpha * mean(y_t^2) + beta * mean((y_{t+1} - y_t)^2)

    Args:
        y: Outputs (B, T, O).
        lengths: (B,); steps beyond a length do not count. None when all are T.
        alpha: Weight of the activations (AR), 0 or more.
        beta: Weight of their changes (TAR), 0 or more.

    Returns:
        A scalar.

    Raises:
        UsageError: a weight is negative or not finite.

    Source: Merity et al. 2018, "Regularizing and optimizing LSTM language models", section 4.6.
    """
    for name, weight in (("alpha", alpha), ("beta", beta)):
        if not 0 <= weight < math.inf:
            raise UsageError(f"activation_penalty: {name} must be a number of at least 0; got {weight!r}")
    counts = torch.full((y.shape[0],), y.shape[1]) if lengths is None else torch.as_tensor(lengths)
    valid = valid_steps(counts, y.shape[1], y.device)  # (B, T)
    total = y.new_zeros(())
    if alpha:
        total = total + alpha * y[valid].square().mean()
    if beta:
        change = (y[:, 1:] - y[:, :-1])[valid[:, 1:]]
        total = total + (beta * change.square().mean() if change.numel() else 0.0)
    return total
