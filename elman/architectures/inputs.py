"""What stands below the recurrent part: token numbers or numbers to vectors at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from elman.engines.ragged import without_padding
from elman.errors import ShapeError
from elman.layers.initialisers import fill_normal
from elman.layers.regularisers import check_probability, drop
from elman.randomness import draw_generator, generator


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths in one tensor.

    Args:
        values: (B, T) token numbers or (B, T, I) vectors; what stands beyond a length is never read.
        lengths: (B,) from 1 to T.
    """

    values: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Ragged:
        """Return the same on another device; lengths stay on the CPU, where layers want them."""
        return Ragged(self.values.to(device), self.lengths)


class Inputs(Protocol):
    """A module that makes vectors of what a task's batches hold."""

    output_size: int

    def __call__(self, x: Any) -> Ragged:
        """Return vectors (B, T, output_size) and their lengths."""


class TokenVectors(nn.Module):
    """A vector for each token: row n of a matrix for token n; token 0 stands for what is unknown.

    Args:
        vocabulary_size: V.
        size: Length of the vectors.
        dropout: Probability of dropping components of a sequence's vectors, the same at all steps, in training.
        forgetting: (V,) probability that training takes a token for the unknown one, so that the unknown has a vector
            of its own; None for 0. It belongs to training and is not saved.
        first: First values (V, size); None draws normal ones.
        deviation: Their standard deviation. Small vectors are what training makes of them, which generalises where
            examples are few; vectors of 1 tell tokens apart from the first step on.
        seed: First values as a function of this number.
    """

    forgetting: Tensor | None

    def __init__(
        self,
        vocabulary_size: int,
        size: int,
        *,
        dropout: float = 0.0,
        forgetting: Tensor | None = None,
        first: Tensor | None = None,
        deviation: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.output_size, self.dropout = size, check_probability("input_dropout", dropout)
        self.weight = nn.Parameter(torch.empty(vocabulary_size, size))
        self.register_buffer("forgetting", forgetting, persistent=False)
        with torch.no_grad():
            fill_normal(self.weight, generator(seed, "initialise", "token vectors"))
            self.weight.mul_(deviation)
            if first is not None:
                if first.shape != self.weight.shape:
                    raise ShapeError(
                        f"token vectors: must have shape {tuple(self.weight.shape)}; got {tuple(first.shape)}"
                    )
                self.weight.copy_(first)

    def forward(self, x: Ragged) -> Ragged:
        """Return vectors (B, T, size) of token numbers (B, T)."""
        tokens = x.values
        if self.training and self.forgetting is not None:
            draw = torch.rand(tokens.shape, generator=draw_generator("forgetting")).to(tokens.device)
            tokens = torch.where(draw < self.forgetting[tokens], 0, tokens)
        vectors = nn.functional.embedding(tokens, self.weight)  # (B, T, size)
        if self.training:
            vectors = drop(vectors, self.dropout, "input dropout", locked=True)
        return Ragged(vectors, x.lengths)


class Numbers(nn.Module):
    """Vectors that are there already: frames of sound, columns of a table, one-hot letters.

    Args:
        size: Length of the vectors.
        dropout: As of TokenVectors.
    """

    def __init__(self, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_size, self.dropout = size, check_probability("input_dropout", dropout)

    def forward(self, x: Ragged) -> Ragged:
        """Return the vectors (B, T, size), in training with dropout."""
        if not self.training:
            return x
        return Ragged(drop(x.values, self.dropout, "input dropout", locked=True), x.lengths)


class StackedFrames(nn.Module):
    """Several steps as one: x'<t> = [x<k t>, ..., x<k t + k - 1>], so that layers take T / k steps.

    Zeros fill up the last step of a sequence: there are ceil(T / k).

    Args:
        inputs: What makes x<t>.
        factor: k, steps that become one; 1 changes nothing.

    Source: Sak et al. 2015, "Fast and accurate recurrent neural network acoustic models for speech recognition",
        section 3.
    """

    def __init__(self, inputs: Inputs, factor: int) -> None:
        super().__init__()
        self.inputs, self.factor, self.output_size = inputs, factor, inputs.output_size * factor

    def forward(self, x: Any) -> Ragged:
        """Return vectors (B, ceil(T / k), k I)."""
        vectors = self.inputs(x)
        values = without_padding(vectors.values, vectors.lengths)  # (B, T, I)
        filled = nn.functional.pad(values, (0, 0, 0, -values.shape[1] % self.factor))
        values = filled.reshape(len(values), -1, self.output_size)  # (B, ceil(T / k), k I)
        return Ragged(values, (vectors.lengths + self.factor - 1) // self.factor)
