"""Shapes of networks that say one thing of a sequence, or one at each step; and the one without a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elman.architectures.convolution import Places, StepPatterns
from elman.architectures.dense import Dense
from elman.architectures.direction import must_not_see_the_future
from elman.architectures.encoder import Encoder
from elman.architectures.inputs import Inputs, check_vectors
from elman.architectures.pooling import Pooling
from elman.equations import Cell
from elman.errors import UsageError
from elman.heads import Head, Loss
from elman.layers.initialisers import fill_uniform
from elman.randomness import generator

MakeHead = Callable[[int], Head]
"""Makes a head for vectors of a given length: functools.partial(SoftmaxHead, classes=5)."""


def _topped(
    width: int, dense: Sequence[int], dropout: float, head: MakeHead, draws: torch.Generator
) -> tuple[Dense, Head]:
    """The plain network above vectors of a length, and the head above it, its matrix uniform within 1 / sqrt(O)."""
    if isinstance(head, nn.Module):
        raise UsageError(
            f"head: must make a head for vectors of a given length; got a {type(head).__name__} made already",
            "write functools.partial(SoftmaxHead, classes=3)",
        )
    top = Dense(width, dense, dropout, draws)
    made = head(top.output_size)
    with torch.no_grad():
        fill_uniform(made.weight, top.output_size**-0.5, draws)
    return top, made


def _check_inputs_are_causal(inputs: Inputs) -> None:
    """Refuse inputs that look ahead: no layer above could take that back."""
    part: Any = inputs
    while part is not None:
        ahead = (
            (isinstance(part, StepPatterns) and part.weight.shape[2] > 1)
            or (isinstance(part, Places) and part.octaves > 0)  # they tell how long the sequence will be
            or (isinstance(part, Encoder) and len(part.directions) > 1)
        )
        if ahead:
            raise UsageError(
                f"many to many in step, causal: inputs must not know what comes after t; {type(part).__name__} does",
                "leave it out, or causal",
            )
        part = getattr(part, "inputs", None)


class OneToOne(nn.Module):
    """One vector in, one answer out: the plain network that the recurrent shapes grow from.

    Args:
        input_size: I.
        head: What stands on top.
        dense: Sizes of the layers below it.
        dropout: See Dense.
        seed: First values as a function of this number.
    """

    def __init__(
        self, input_size: int, head: MakeHead, *, dense: Sequence[int] = (), dropout: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.top, self.head = _topped(input_size, dense, dropout, head, generator(seed, "initialise", "top"))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of vectors x (B, I).

        Raises:
            ShapeError: x is something else.
        """
        check_vectors("OneToOne", x, self.input_size)
        scores: Tensor = self.head(self.top(x))
        return scores

    def loss(self, x: Tensor, targets: Any) -> Loss:
        """Return the loss of vectors x (B, I); see Head.loss."""
        return self.head.loss(self(x), targets)


class ManyToOne(nn.Module):
    """A sequence in, one answer out: inputs, recurrent layers, pooling, plain layers, head.

    Args:
        inputs: What makes vectors of the steps: TokenVectors of (B, T) numbers, Numbers of (B, T, I).
        head: What stands on top.
        cell, hidden_size, layers, bidirectional: See Encoder.
        pooling: See Pooling; "last" takes what each direction says when it has read everything.
        dense: Sizes of the plain layers.
        dropout: Between recurrent layers, of the pooled vector and between plain layers.
        seed: First values as a function of this number.
        options: Of Encoder.

    Raises:
        UsageError, ShapeError: an option does not fit or has no effect.

    Example:
        >>> from functools import partial
        >>> from elman.architectures import Ragged, TokenVectors
        >>> from elman.heads import SoftmaxHead
        >>> network = ManyToOne(TokenVectors(9, 4), partial(SoftmaxHead, classes=3), bidirectional=True)
        >>> network(Ragged(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        inputs: Inputs,
        head: MakeHead,
        *,
        cell: Cell | str = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        pooling: str = "last",
        dense: Sequence[int] = (),
        dropout: float = 0.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        draws = generator(seed, "initialise", "top")
        self.encoder = Encoder(
            inputs, cell, hidden_size, layers, bidirectional=bidirectional, dropout=dropout, seed=seed, **options
        )
        self.pooling = Pooling(pooling, self.encoder.directions, draws)
        self.top, self.head = _topped(self.encoder.output_size, dense, dropout, head, draws)

    def forward(self, x: Any, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return one row of scores (B, ...) a sequence; x and lengths as of Encoder.forward."""
        read = self.encoder(x, lengths)
        scores: Tensor = self.head(self.top(self.pooling(read.values, read.lengths)))
        return scores

    def loss(self, x: Any, targets: Any, lengths: Tensor | Sequence[int] | None = None) -> Loss:
        """Return the loss; x and lengths as of Encoder.forward, targets as of Head.loss."""
        return self.head.loss(self(x, lengths), targets)


class ManyToManyInStep(nn.Module):
    """A sequence in, an answer at each step: inputs, recurrent layers, plain layers, head.

    With a CtcHead it is many to many out of step without a decoder: the labels have no times.

    Args:
        inputs, head, cell, hidden_size, layers, bidirectional, dense, dropout, seed, options: As of ManyToOne.
        causal: The answer at t may read x<1> ... x<t> only.

    Raises:
        UsageError: causal, and bidirectional or with inputs that look ahead; or an option does not fit or has no
            effect.
        ShapeError: sizes do not fit.
    """

    def __init__(
        self,
        inputs: Inputs,
        head: MakeHead,
        *,
        cell: Cell | str = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        causal: bool = False,
        dense: Sequence[int] = (),
        dropout: float = 0.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        must_not_see_the_future(
            "many to many in step, causal",
            "what comes after t, which the answer at t must not know",
            bidirectional and causal,
        )
        if causal:
            _check_inputs_are_causal(inputs)
        self.encoder = Encoder(
            inputs, cell, hidden_size, layers, bidirectional=bidirectional, dropout=dropout, seed=seed, **options
        )
        self.top, self.head = _topped(
            self.encoder.output_size, dense, dropout, head, generator(seed, "initialise", "top")
        )

    def forward(self, x: Any, lengths: Tensor | Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Return scores (B, T, ...) and lengths (B,); x and lengths as of Encoder.forward."""
        read = self.encoder(x, lengths)
        return self.head(self.top(read.values)), read.lengths

    def loss(self, x: Any, targets: Any, lengths: Tensor | Sequence[int] | None = None) -> Loss:
        """Return the loss; x and lengths as of Encoder.forward, targets as of Head.loss."""
        scores, counts = self(x, lengths)
        return self.head.loss(scores, targets, counts)
