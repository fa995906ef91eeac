"""Softmax over a vocabulary: y^ = softmax(W a + b), with its cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.errors import ShapeError

IGNORED = -100


class SoftmaxHead(nn.Module):
    """Logits W a + b for each of K classes, and the cross-entropy of their softmax.

    Args:
        input_size: Length of a.
        classes: K, or V for a vocabulary.
        bias: Whether b is there.
        tied: Share this matrix (K, input_size), usually the embedding's, as W; None for a matrix of its own.

    Raises:
        ShapeError: the shared matrix has another shape.

    Source: tied weights, Press and Wolf 2017, "Using the output embedding to improve language models".
    """

    def __init__(self, input_size: int, classes: int, *, bias: bool = True, tied: Tensor | None = None) -> None:
        super().__init__()
        if tied is not None and tuple(tied.shape) != (classes, input_size):
            raise ShapeError(
                f"SoftmaxHead: tied weights must have shape ({classes}, {input_size}); got {tuple(tied.shape)}",
                "make the embedding as long as the output of the recurrent part",
            )
        own = nn.Parameter(torch.empty(classes, input_size))
        self.weight = tied if isinstance(tied, nn.Parameter) else own
        self.bias = nn.Parameter(torch.zeros(classes)) if bias else None

    def forward(self, a: Tensor) -> Tensor:
        """Return logits (..., K) of a (..., input_size)."""
        return nn.functional.linear(a, self.weight, self.bias)

    def nats(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -ln P(target) over all targets that are not IGNORED.

        Args:
            logits: (..., K).
            targets: (...) class numbers.
        """
        flat = logits.float().reshape(-1, logits.shape[-1])  # (N, K)
        return nn.functional.cross_entropy(flat, targets.reshape(-1), reduction="sum", ignore_index=IGNORED)
