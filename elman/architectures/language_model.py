"""Language model: many to many in step, the output at t being the distribution of the token after t."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from elman.architectures.direction import must_not_see_the_future
from elman.architectures.inputs import check_tokens, look_up, unknown_token
from elman.cells import cells
from elman.equations import Cell
from elman.errors import UsageError
from elman.heads.head import outside
from elman.heads.softmax import SoftmaxHead
from elman.layers import Stack, StackState
from elman.layers.initialisers import fill_normal, fill_uniform
from elman.layers.regularisers import check_probability, drop
from elman.randomness import generator


class LanguageModel(nn.Module):
    """Tokens in, the distribution of the next token out: P(y<t> | y<1..t-1>) at every step.

    Args:
        vocabulary_size: V.
        cell: A Cell or the name of one. An output equation in its text names the parameters of the head; it must be
            the softmax of W a + b, or of W a, with a the cell's output.
        layers: L, at least 1.
        hidden_size: H of every layer.
        embedding_size: Length of the token vectors; 0 feeds one-hot vectors.
        sizes: Sizes that the cell declares.
        dropout: Probability of dropping outputs between layers and before the head, in training.
        input_dropout: Probability of dropping components of the token vectors, the same at all steps.
        variational_dropout, zoneout, weight_drop: See Recurrent.
        residual: See Stack.
        tied: Share the embedding with the head; needs embedding_size equal to the output size.
        bidirectional: Refused: the model would see the token that it is to predict.
        init: Initialisers of the cell's parameters, see Recurrent; "*": "uniform:BOUND" also sets embedding and
            head.
        forget_bias: See Recurrent.
        engine: See Recurrent.
        precision: See Recurrent.
        seed: First values as a function of this number.

    Raises:
        UsageError, ShapeError: an option does not fit or has no effect.
    """

    def __init__(
        self,
        vocabulary_size: int,
        cell: Cell | str = "lstm",
        layers: int = 2,
        hidden_size: int = 512,
        embedding_size: int = 128,
        *,
        sizes: Mapping[str, int] | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        zoneout: float = 0.0,
        weight_drop: float = 0.0,
        residual: bool = False,
        tied: bool = False,
        bidirectional: bool = False,
        init: Mapping[str, str | float] | None = None,
        forget_bias: float | None = None,
        engine: str = "auto",
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        super().__init__()
        cell = cells[cell] if isinstance(cell, str) else cell
        _check_bidirectional(bidirectional)
        _check_head(cell)
        self.vocabulary_size, self.embedding_size = vocabulary_size, embedding_size
        self.dropout = check_probability("dropout", dropout)
        self.input_dropout = check_probability("input_dropout", input_dropout)
        self.embedding = _embedding(vocabulary_size, embedding_size) if embedding_size else None
        if self.embedding is None and (tied or input_dropout):
            name = "tied" if tied else "input_dropout"
            raise UsageError(f"{name}: must have an embedding to act on; got embedding_size 0 (one-hot input)")
        self.recurrent = Stack.of(
            cell,
            embedding_size or vocabulary_size,
            hidden_size,
            layers,
            dropout=self.dropout if layers > 1 else 0.0,
            residual=residual,
            seed=seed,
            sizes=sizes,
            engine=engine,
            precision=precision,
            zoneout=zoneout,
            variational_dropout=variational_dropout,
            weight_drop=weight_drop,
            init=init,
            forget_bias=forget_bias,
        )
        width = self.recurrent.output_size
        if tied and embedding_size != width:
            raise UsageError(
                f"tied: embedding_size must equal the output size of the recurrent part, {width}; got {embedding_size}"
            )
        self.head = SoftmaxHead(width, vocabulary_size, equation=cell.head, tied=self._matrix() if tied else None)
        self._first_values((init or {}).get("*"), seed)

    def _first_values(self, chosen: str | float | None, seed: int) -> None:
        """Token vectors normal with variance 1, the head uniform within 1 / sqrt(O), unless `init` says otherwise.

        An orthogonal and Glorot initialisation of the layers expects an input of variance 1. With vectors within
        1 / sqrt(I), validation was 2.16 instead of 1.94 nats after 500 steps (2 x 128 LSTM, tinyshakespeare, one seed).
        A shared matrix is drawn as the head's, whose logits would be too large otherwise.
        """
        source = generator(seed, "initialise", "embedding and head")
        with torch.no_grad():
            if self.embedding is not None and not self.is_tied:
                fill_normal(self.embedding.weight, source)
            fill_uniform(self.head.weight, self.head.weight.shape[1] ** -0.5, source)
            if isinstance(chosen, str) and chosen.startswith("uniform:"):
                for part in (self.embedding, self.head):
                    if part is not None:
                        fill_uniform(part.weight, float(chosen.partition(":")[2]), source)

    def _matrix(self) -> nn.Parameter | None:
        return None if self.embedding is None else cast(nn.Parameter, self.embedding.weight)

    def tie(self) -> None:
        """Make the head use the matrix of the embedding again, after either was replaced."""
        matrix = self._matrix()
        self.head.weight = self.head.weight if matrix is None else matrix

    @property
    def is_tied(self) -> bool:
        """Whether embedding and head share their matrix."""
        return self.embedding is not None and self.embedding.weight is self.head.weight

    @property
    def engine(self) -> str:
        """Names of the engines of the recurrent layers."""
        return self.recurrent.engine

    def initial_state(self, batch_size: int) -> StackState:
        """Return the state before the first token."""
        return self.recurrent.initial_state(batch_size)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return token vectors (..., I) of token numbers (...).

        Raises:
            ShapeError: tokens are no whole numbers, or one is not from 0 to V - 1.
        """
        if self.embedding is not None:
            return look_up("LanguageModel", tokens, self.embedding.weight)
        check_tokens("LanguageModel", tokens)
        if outside(tokens, self.vocabulary_size):
            raise unknown_token("LanguageModel", tokens, self.vocabulary_size)
        return nn.functional.one_hot(tokens.long(), self.vocabulary_size).to(self.head.weight.dtype)

    def outputs(self, tokens: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """Return what the recurrent part says of tokens (B, T): (B, T, O), before dropout, and the state after."""
        x = self.embed(tokens)  # (B, T, I)
        if self.training:
            x = drop(x, self.input_dropout, "input dropout", locked=True)
        y, after = self.recurrent(x, None, state)
        return y, after

    def logits(self, y: Tensor) -> Tensor:
        """Return logits (B, T, V) of outputs (B, T, O)."""
        y = drop(y, self.dropout, "output dropout") if self.training else y
        scores: Tensor = self.head(y)
        return scores

    def forward(self, tokens: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """Return logits (B, T, V) for the token after each of tokens (B, T), and the state after the last."""
        y, after = self.outputs(tokens, state)
        return self.logits(y), after

    def step(self, tokens: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """Return logits (B, V) for the token after tokens (B,), and the state."""
        y, after = self.recurrent.step(self.embed(tokens), state)
        scores: Tensor = self.head(y)
        return scores, after


def _embedding(vocabulary_size: int, size: int) -> nn.Embedding:
    # With a matrix given, torch draws none from its own generator.
    return nn.Embedding(vocabulary_size, size, _weight=torch.zeros(vocabulary_size, size))


def _check_bidirectional(bidirectional: bool) -> None:
    must_not_see_the_future("language model", "the token to predict", bidirectional)


def _check_head(cell: Cell) -> None:
    head = cell.head
    if head is None:
        return
    if head.bidirectional:
        _check_bidirectional(True)
    if head.reads != (cell.output,):
        raise UsageError(
            f"language model: the output equation must read the output of the cell, {cell.output}; "
            f"got one that reads {', '.join(head.reads) or 'nothing'}",
            "name the value that it reads as the cell's output, or leave the output equation out",
        )
