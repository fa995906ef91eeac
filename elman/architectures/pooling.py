"""Pooling: the outputs of all steps of a sequence to one vector, for many to one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.engines.ragged import valid_steps, without_padding
from elman.errors import UsageError, nearest
from elman.layers.initialisers import INITIALISERS, fill_uniform

POOLINGS = ("last", "mean", "max", "attention", "centre")


class Pooling(nn.Module):
    """One vector of the outputs y<1> ... y<T> of each sequence, padding never read.

        last       [forward y<T>, backward y<1>]: what each direction says when it has read everything
        mean       sum over t of y<t> / T
        max        the largest y<t> of each component
        attention  sum over t of a<t> y<t>, a = softmax over t of v . tanh(W y<t> + b)
        centre     y<ceil(T / 2)>: for a pattern in the middle, which both directions have read up to

    Args:
        kind: One of these.
        sizes: Output sizes of the direction that reads forwards and, if there is one, of the other.
        generator: Draws the first values of attention.

    Raises:
        UsageError: an unknown kind.

    Source: attention, Yang et al. 2016, "Hierarchical attention networks for document classification",
        equations 5 to 7.
    """

    def __init__(self, kind: str, sizes: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise UsageError(f"pooling: must be one of {', '.join(POOLINGS)}; got {kind!r}{nearest(kind, POOLINGS)}")
        self.kind, self.sizes = kind, sizes
        if kind == "attention":
            width = sum(sizes)
            self.W = nn.Parameter(torch.empty(width, width))
            self.b, self.v = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.empty(width))
            with torch.no_grad():
                INITIALISERS["glorot"](self.W, generator)
                fill_uniform(self.v, width**-0.5, generator)

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """Return one vector (B, O) a sequence of y (B, T, O) with lengths (B,)."""
        real = valid_steps(lengths, y.shape[1], y.device).unsqueeze(2)  # (B, T, 1)
        if self.kind == "max":
            return y.masked_fill(~real, -torch.inf).amax(dim=1)
        if self.kind == "mean":
            return torch.where(real, y, 0.0).sum(dim=1) / real.sum(dim=1)
        if self.kind == "attention":
            return (self.shares(y, lengths).unsqueeze(2) * torch.where(real, y, 0.0)).sum(dim=1)
        lengths = lengths.to(y.device)
        if self.kind == "centre":
            return _at(y, (lengths - 1) // 2)
        parts = torch.split(y, list(self.sizes), dim=2)
        ends = [_at(parts[0], lengths - 1), *(part[:, 0] for part in parts[1:])]
        return torch.cat(ends, dim=1)

    def shares(self, y: Tensor, lengths: Tensor) -> Tensor:
        """Return a (B, T), how much attention pays to each step; each row sums to 1.

        Raises:
            UsageError: the pooling is of another kind.
        """
        if self.kind != "attention":
            raise UsageError(f"shares: must come from pooling 'attention'; got {self.kind!r}")
        scores = torch.tanh(nn.functional.linear(without_padding(y, lengths), self.W, self.b)) @ self.v  # (B, T)
        real = valid_steps(lengths, y.shape[1], y.device)
        return torch.softmax(scores.masked_fill(~real, -torch.inf), dim=1)


def _at(y: Tensor, steps: Tensor) -> Tensor:
    """Return y (B, T, O) at one step (B,) of each sequence: (B, O)."""
    return y.gather(1, steps.view(-1, 1, 1).expand(-1, 1, y.shape[2])).squeeze(1)
