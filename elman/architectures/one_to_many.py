"""One to many: a fixed vector starts a sequence that is written token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from elman.architectures.decoder import Decoder, DecoderState, Tokens
from elman.architectures.dense import Dense
from elman.architectures.inputs import check_vectors
from elman.equations import Cell
from elman.errors import UsageError
from elman.heads import Loss
from elman.randomness import generator


class Vectors(Protocol):
    """A module that makes one vector of each thing that a task's batches hold, an image say."""

    output_size: int

    def __call__(self, x: Any) -> Tensor:
        """Return vectors (B, output_size)."""


class OneToMany(nn.Module):
    """One vector in, a sequence of tokens out: of a class in one-hot form, a name; of an image, a caption.

    Args:
        vectors: Length of vectors that are there already, or what makes them.
        vocabulary_size: V, the boundary counted; see Decoder.
        cell, hidden_size, layers, embedding_size: Of the decoder.
        to_start: Make the first states of the vector, tanh(W_s vector + b_s).
        to_steps: Let every step read it beside its token.
        dense: Sizes of plain layers between vector and decoder.
        dropout: As of Decoder and Dense.
        bidirectional: Refused: the decoder would see what it is to write.
        seed: First values as a function of this number.
        options: Of Decoder: scheduled_sampling, tied, input_dropout, label_smoothing; of Stack.of.

    Raises:
        UsageError, ShapeError: an option does not fit or has no effect; the vector goes nowhere.

    Example:
        >>> import torch
        >>> from elman.decoding import generate
        >>> network = OneToMany(3, vocabulary_size=9, hidden_size=8).eval()
        >>> state = network.begin(torch.eye(3)[:2])
        >>> [len(row) for row in generate(network.step, state, [network.boundary], length=5, samples=2)]
        [5, 5]

    Source: Vinyals et al. 2015, "Show and tell: a neural image caption generator".
    """

    def __init__(
        self,
        vectors: int | Vectors,
        vocabulary_size: int,
        *,
        cell: Cell | str = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        embedding_size: int = 128,
        to_start: bool = True,
        to_steps: bool = True,
        dense: Sequence[int] = (),
        dropout: float = 0.0,
        bidirectional: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if not (to_start or to_steps):
            raise UsageError("one to many: the vector must go to_start, to_steps or both; got neither")
        self.vectors = None if isinstance(vectors, int) else vectors
        size = vectors if isinstance(vectors, int) else vectors.output_size
        self.size = size
        self.top = Dense(size, dense, dropout, generator(seed, "initialise", "top"))
        self.to_steps = to_steps
        self.decoder = Decoder(
            vocabulary_size,
            cell,
            hidden_size,
            layers,
            embedding_size,
            start_size=self.top.output_size if to_start else 0,
            vector_size=self.top.output_size if to_steps else 0,
            dropout=dropout,
            bidirectional=bidirectional,
            seed=seed,
            **options,
        )

    @property
    def boundary(self) -> int:
        """Number of the token that begins and ends every sequence."""
        return self.decoder.boundary

    def begin(self, x: Any) -> DecoderState:
        """Return the state before the first token, of vectors x (B, I) or of what `vectors` takes.

        Raises:
            ShapeError: x are no vectors of that length.
        """
        if self.vectors is None:
            check_vectors("OneToMany", x, self.size)
        vector = self.top(x if self.vectors is None else self.vectors(x))  # (B, D)
        return self.decoder.begin(len(vector), start=vector, vector=vector if self.to_steps else None)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return logits (B, V) of the token after tokens (B,), and the state."""
        return self.decoder.step(tokens, state)

    def loss(self, x: Any, targets: Tokens) -> Loss:
        """Return the cross-entropy of targets, token numbers (B, T) without boundaries; see Decoder.loss."""
        return self.decoder.loss(self.begin(x), targets)
