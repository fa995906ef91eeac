"""What stands below the recurrent part: token numbers or numbers to vectors at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from elman.engines.ragged import valid_steps, without_padding
from elman.errors import ShapeError
from elman.heads.head import outside
from elman.layers.initialisers import fill_normal
from elman.layers.lengths import padded, whole_numbers
from elman.layers.regularisers import check_probability, drop
from elman.randomness import draw_generator, generator


@dataclass(frozen=True, init=False)
class Ragged:
    """Sequences of different lengths in one tensor.

    Args:
        values: (B, T) token numbers or (B, T, I) vectors; what stands beyond a length is never read.
        lengths: (B,) from 1 to T, as a tensor or a list.

    Raises:
        ShapeError: a list that holds something else than B whole numbers.
    """

    values: Tensor
    lengths: Tensor

    def __init__(self, values: Tensor, lengths: Tensor | Sequence[int]) -> None:
        counts = lengths if isinstance(lengths, Tensor) else whole_numbers("Ragged", lengths, len(values))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "lengths", counts)

    def to(self, device: torch.device) -> Ragged:
        """Return the same on another device; lengths stay on the CPU, where layers want them."""
        return Ragged(self.values.to(device), self.lengths)


def ragged(where: str, x: Any, lengths: Tensor | Sequence[int] | None = None, shortest: int = 1) -> Any:
    """Bring what layers take to the form that architectures work on.

    Args:
        where: Who takes it, for errors.
        x: A list of (T_b, ...), a tensor (B, T, ...), or a Ragged or another object that holds lengths of its own.
        lengths: (B,) from 1 to T; of a tensor only, None where all are T.
        shortest: Least T_b of a list.

    Returns:
        A Ragged of a list or a tensor; anything else as it is.

    Raises:
        ShapeError: shapes, types or lengths do not fit.
    """
    if isinstance(x, Tensor | list | tuple):
        return Ragged(*padded(where, x, lengths, shortest))
    if lengths is not None:
        raise ShapeError(f"{where}: lengths must be left out for a {type(x).__name__}, which holds its own")
    return x


def look_up(where: str, tokens: Tensor, table: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return rows (..., I) of a table (V, I).

    Args:
        where: Who asks, for errors.
        tokens: (...) numbers of rows, or (B, T) with lengths.
        table: (V, I).
        lengths: (B,); beyond them any number may stand. None where all count.

    Raises:
        ShapeError: tokens are no whole numbers, or one is not from 0 to V - 1. On a GPU, where to ask would mean to
            wait, torch's own assertion tells the latter.
    """
    check_tokens(where, tokens)
    try:
        return nn.functional.embedding(tokens.long(), table)
    except IndexError as error:  # so that looking costs nothing where all is well
        clean = tokens.long()
        if lengths is not None:
            clean = clean.where(valid_steps(lengths, tokens.shape[1], tokens.device), 0)
        if outside(clean, len(table)):
            raise unknown_token(where, clean, len(table)) from error
        return nn.functional.embedding(clean, table)


def check_vectors(where: str, x: Tensor, size: int) -> None:
    """Check that x are vectors (B, size) of floating point.

    Raises:
        ShapeError: they are not.
    """
    if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] != size or not x.is_floating_point():
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        one = isinstance(x, Tensor) and x.dim() == 1
        raise ShapeError(
            f"{where}: x must be floating point of shape (B, I) with I = {size}; got {got}",
            "one vector (I,) becomes a batch by x.unsqueeze(0)" if one else None,
        )


def check_tokens(where: str, tokens: Tensor) -> None:
    """Check that tokens are whole numbers; looks at no value.

    Raises:
        ShapeError: they are not.
    """
    if not isinstance(tokens, Tensor) or tokens.is_floating_point() or tokens.dtype == torch.bool:
        got = tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ShapeError(f"{where}: tokens must be a tensor of whole numbers; got {got}")


def unknown_token(where: str, tokens: Tensor, count: int) -> ShapeError:
    """Return the error that names the first of tokens (...) that is not from 0 to count - 1."""
    place = ((tokens < 0) | (tokens >= count)).nonzero()[0].tolist()
    return ShapeError(
        f"{where}: tokens must be from 0 to {count - 1}; got {int(tokens[tuple(place)])} at tokens{place}",
        f"there are vectors for {count} tokens",
    )


class Inputs(Protocol):
    """A module that makes vectors of what a task's batches hold; a list or a tensor comes to it as a Ragged."""

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

    def forward(self, x: Ragged | Tensor | Sequence[Tensor]) -> Ragged:
        """Return vectors (B, T, size) of token numbers (B, T), or of a list of (T_b,).

        Raises:
            ShapeError: tokens are no whole numbers, or one within lengths is not from 0 to V - 1.
        """
        read: Ragged = ragged("TokenVectors", x)
        tokens = read.values
        if self.training and self.forgetting is not None:
            draw = torch.rand(tokens.shape, generator=draw_generator("forgetting")).to(tokens.device)
            forgetting = look_up("TokenVectors", tokens, self.forgetting.unsqueeze(1), read.lengths).squeeze(
                2
            )  # (B, T)
            tokens = torch.where(draw < forgetting, 0, tokens)
        vectors = look_up("TokenVectors", tokens, self.weight, read.lengths)  # (B, T, size)
        if self.training:
            vectors = drop(vectors, self.dropout, "input dropout", locked=True)
        return Ragged(vectors, read.lengths)


class Numbers(nn.Module):
    """Vectors that are there already: frames of sound, columns of a table, one-hot letters.

    Args:
        size: Length of the vectors.
        dropout: As of TokenVectors.
    """

    def __init__(self, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_size, self.dropout = size, check_probability("input_dropout", dropout)

    def forward(self, x: Ragged | Tensor | Sequence[Tensor]) -> Ragged:
        """Return the vectors (B, T, size), or those of a list of (T_b, size), in training with dropout."""
        read: Ragged = ragged("Numbers", x)
        if not self.training:
            return read
        return Ragged(drop(read.values, self.dropout, "input dropout", locked=True), read.lengths)


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
