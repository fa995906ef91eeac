"""Decoder: writes tokens one after the other, from a vector, from a memory that it looks at, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from elman.architectures.direction import must_not_see_the_future
from elman.architectures.inputs import Ragged, TokenVectors, ragged
from elman.decoding import Choice, choose
from elman.engines.ragged import valid_steps
from elman.engines.rows import chosen_rows
from elman.equations import Cell
from elman.errors import ShapeError, UsageError
from elman.heads import Loss, SoftmaxHead
from elman.heads.head import real_rows
from elman.layers import Stack, StackState
from elman.layers.attention import Attention, Memory
from elman.layers.initialisers import INITIALISERS, fill_uniform
from elman.layers.regularisers import check_probability, drop
from elman.randomness import draw_generator, generator

Tokens = Ragged | Tensor | Sequence[Tensor]
"""What is to be written: token numbers (B, T) with lengths, all T without, or a list of (T_b,)."""


@dataclass(frozen=True)
class DecoderState:
    """Where N sequences stand that are being written.

    Args:
        layers: States of the lowest layer and of those above it.
        owner: (N,) which sequence of the memory each row looks at; the rows of one stand together, as many for each.
        memory: What attention looks at; None without attention.
        read: (N, R) the last readout, with input feeding; None without.
        vector: (N, D) what every step reads beside its token; None without.
    """

    layers: StackState
    owner: Tensor
    memory: Memory | None = None
    read: Tensor | None = None
    vector: Tensor | None = None

    def select(self, rows: Tensor) -> DecoderState:
        """Return the given rows, in that order; the memory is copied only where other sequences are looked at."""
        owner, memory = self.owner[rows], self.memory
        kept, places, counts = torch.unique_consecutive(owner, return_inverse=True, return_counts=True)
        if memory is None or not bool((counts == counts[0]).all()):
            kept, places = owner, torch.arange(len(owner), device=owner.device)
        if memory is not None and not torch.equal(kept, torch.arange(len(memory.values), device=kept.device)):
            memory = memory.select(kept)
        read, vector = (None if value is None else chosen_rows(value, rows) for value in (self.read, self.vector))
        return DecoderState(self.layers.select(rows), places, memory, read, vector)


class Decoder(nn.Module):
    """Tokens written one after the other: P(y<t> | y<1..t-1>, vector, memory).

        s<t>    = lowest layer(s<t-1>, [E y<t-1>, r<t-1>, vector])     r with input feeding, vector where one is given
        c<t>    = attention(s<t>, memory)
        u<t>    = layers above(u<t-1>, [s<t>, c<t>])                   u = s where there is one layer
        r<t>    = tanh(W_r [u<t>, c<t>] + b_r)
        P(y<t>) = softmax(W_y r<t> + b_y)

    Without attention there is no c, and r = u. Without input feeding no layer reads a readout, so that in training
    each layer runs over all steps at once, and so does attention.

    Tokens are numbered from 0 to V - 2; V - 1 is the boundary that begins and ends every sequence.

    Args:
        vocabulary_size: V, the boundary counted.
        cell, hidden_size, layers: The recurrent layers; see Encoder.
        embedding_size: Length of the token vectors, and with attention of the readouts.
        attention: "additive" or "multiplicative", see elman.layers.attention; None for none.
        memory_size: M, length of what attention looks at.
        start_size: Length of a vector that all first states are made of, tanh(W_s vector + b_s); 0 for none.
        vector_size: D, length of a vector that every step reads; 0 for none.
        input_feeding: Feed the readout back.
        scheduled_sampling: Probability that training reads a token of the model's own in place of the true one.
        tied: Share the token vectors with the head.
        dropout: Probability of dropping, in training, what layers and readout read of layers and attention, and the
            readout.
        input_dropout: Of dropping components of the token vectors, the same at all steps, in training.
        label_smoothing: See SoftmaxHead.
        residual: Add what a layer reads to what it says, from the third layer on, without attention from the second;
            those below read something else too.
        bidirectional: Refused: the decoder would see what it is to write.
        seed: First values as a function of this number.
        options: Of Stack.of.

    Raises:
        UsageError, ShapeError: an option does not fit or has no effect.

    Source: readout and input feeding, Luong et al. 2015, equation 5 and section 3.3; scheduled sampling, Bengio et al.
        2015, "Scheduled sampling for sequence prediction with recurrent neural networks".
    """

    def __init__(
        self,
        vocabulary_size: int,
        cell: Cell | str = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        embedding_size: int = 128,
        *,
        attention: str | None = None,
        memory_size: int = 0,
        start_size: int = 0,
        vector_size: int = 0,
        input_feeding: bool = False,
        scheduled_sampling: float = 0.0,
        tied: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        residual: bool = False,
        bidirectional: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        must_not_see_the_future("decoder", "the tokens that are to be written", bidirectional)
        _check_attention(attention, memory_size)
        _check_feeding(input_feeding, attention, options)
        first, name = (3, "third") if attention else (2, "second")  # without it the second reads the lowest alone
        if residual and layers < first:
            raise UsageError(f"residual: acts from the {name} layer of a decoder on; it has {layers}")
        draws = generator(seed, "initialise", "decoder")
        self.boundary, self.input_feeding = vocabulary_size - 1, input_feeding
        self.dropout = check_probability("dropout", dropout)
        self.scheduled_sampling = check_probability("scheduled_sampling", scheduled_sampling)
        self.embedding = TokenVectors(vocabulary_size, embedding_size, dropout=input_dropout, seed=seed)
        read = embedding_size + vector_size + (embedding_size if input_feeding else 0)
        self.lowest = Stack.of(cell, read, hidden_size, 1, seed=seed, **options)
        width = self.lowest.output_size
        self.attention = Attention(attention, width, memory_size, draws) if attention else None
        self.above = self._layers_above(
            cell, width + memory_size, hidden_size, layers - 1, seed, {**options, "residual": residual}
        )
        width = self.above.output_size if self.above else width
        self.readout = _Affine(width + memory_size, embedding_size, draws) if attention else None
        self.start = _Affine(start_size, sum(self._state_sizes()), draws) if start_size else None
        self.head = self._head(embedding_size if attention else width, tied, label_smoothing, draws)

    def _layers_above(
        self, cell: Cell | str, size: int, hidden_size: int, layers: int, seed: int, options: Mapping[str, Any]
    ) -> Stack | None:
        if layers < 1:
            return None
        dropout = self.dropout if layers > 1 else 0.0
        return Stack.of(cell, size, hidden_size, layers, dropout=dropout, seed=seed + 1, **options)

    def _head(self, size: int, tied: bool, label_smoothing: float, draws: torch.Generator) -> SoftmaxHead:
        vectors = self.embedding.weight
        if tied and size != vectors.shape[1]:
            raise UsageError(
                f"tied: embedding_size must equal the output size of the layers, {size}; got {vectors.shape[1]}"
            )
        shared = vectors if tied else None
        head = SoftmaxHead(size, self.boundary + 1, tied=shared, label_smoothing=label_smoothing)
        with torch.no_grad():
            fill_uniform(head.weight, size**-0.5, draws)
        return head

    def _first_states(self, rows: int) -> StackState:
        stacks = [self.lowest] if self.above is None else [self.lowest, self.above]
        return StackState([stack.initial_state(rows) for stack in stacks])

    def _state_sizes(self) -> list[int]:
        return [value.shape[1] for value in self._first_states(1).state_dict().values()]

    @property
    def engine(self) -> str:
        """Name of the engine of the layers."""
        return self.lowest.engine

    def begin(
        self, rows: int, *, start: Tensor | None = None, vector: Tensor | None = None, memory: Memory | None = None
    ) -> DecoderState:
        """Return the state before the first token.

        Args:
            rows: N.
            start: (N, start_size), what the first states are made of; needed if start_size is.
            vector: (N, D), what every step reads; needed if vector_size is.
            memory: N sequences for attention; see Attention.memory.
        """
        layers = self._first_states(rows)
        if self.start is not None:
            made = iter(torch.split(torch.tanh(self.start(start)), self._state_sizes(), dim=1))
            layers = layers.map(lambda _: next(made))
        weight = self.head.weight
        read = weight.new_zeros(rows, weight.shape[1]) if self.input_feeding else None
        return DecoderState(layers, torch.arange(rows, device=weight.device), memory, read, vector)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return logits (N, V) of the token after tokens (N,), and the state."""
        vectors = self.embedding(Ragged(tokens.unsqueeze(1), torch.ones(len(tokens)))).values  # (N, 1, E)
        found, _, state = self._advance(vectors, None, state)
        return self._logits(found)[:, 0], state

    def loss(self, state: DecoderState, targets: Tokens) -> Loss:
        """Return the cross-entropy of whole sequences, their boundary included, each token given the true ones before.

        Args:
            state: From `begin`.
            targets: Token numbers (N, T) without boundaries, from 0 to V - 2, and lengths; or a list of (T_n,).

        Raises:
            ShapeError: there are not as many targets as sequences were begun, or a token does not exist or is the
                boundary.
        """
        before, wanted = self._framed(_given(state, targets))
        if self.training and self.scheduled_sampling:
            before = self._mixed(before, state)
        found, _ = self._over(before, state)
        return self.head.loss(self._logits(real_rows(found, before.lengths)), real_rows(wanted, before.lengths))

    def shares(self, state: DecoderState, targets: Tokens) -> Tensor:
        """Return (N, T + 1, S), how much each token and the last boundary look at each step of the memory.

        Raises:
            UsageError: there is no attention.
            ShapeError: as of `loss`.
        """
        if self.attention is None:
            raise UsageError("shares: must come from a decoder with attention; this one has none")
        return self._over(self._framed(_given(state, targets))[0], state)[1]

    def _framed(self, targets: Ragged) -> tuple[Ragged, Tensor]:
        """What steps read, the boundary first, and what they are to say, the boundary last (N, T + 1)."""
        lengths, device = targets.lengths + 1, targets.values.device
        real = valid_steps(targets.lengths, targets.values.shape[1], device)
        inner = real & (targets.values == self.boundary)
        if bool(inner.any()):
            raise ShapeError(
                f"decoder: targets must be tokens from 0 to {self.boundary - 1}; got {self.boundary}, the boundary, at "
                f"targets{inner.nonzero()[0].tolist()}",
                "the decoder puts it around targets itself; vocabulary_size counts it",
            )
        tokens = torch.where(real, targets.values, self.boundary)
        edge = tokens.new_full((len(tokens), 1), self.boundary)
        return Ragged(torch.cat([edge, tokens], dim=1), lengths), torch.cat([tokens, edge], dim=1)

    def _over(self, before: Ragged, state: DecoderState) -> tuple[Tensor, Tensor]:
        """What the readout reads (N, T, W) and the shares (N, T, S) at all steps of tokens before (N, T)."""
        vectors = self.embedding(before).values  # (N, T, E)
        if not self.input_feeding:
            found, shares, _ = self._advance(vectors, before.lengths, state)
            return found, shares
        steps = []
        for t in range(vectors.shape[1]):
            found, shares, state = self._advance(vectors[:, t : t + 1], None, state)
            steps.append((found, shares))
        return torch.cat([found for found, _ in steps], dim=1), torch.cat([shares for _, shares in steps], dim=1)

    def _advance(
        self, vectors: Tensor, lengths: Tensor | None, state: DecoderState
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Run all layers over token vectors (N, T, E): what the readout reads (N, T, W), shares, the state after."""
        rows, steps = vectors.shape[:2]
        given = [
            value.unsqueeze(1).expand(rows, steps, -1) for value in (state.read, state.vector) if value is not None
        ]
        y, lowest = self.lowest(torch.cat([vectors, *given], dim=2), lengths, state.layers[0])
        contexts, shares = self._look(y, state.memory)
        layers = [lowest]
        if self.above is not None:
            y, above = self.above(
                torch.cat([self._drop(y, "decoder layer"), contexts], dim=2), lengths, state.layers[1]
            )
            layers.append(above)
        found = torch.cat([y, contexts], dim=2)
        read = None if state.read is None else self._read(found)[:, 0]
        return found, shares, replace(state, layers=StackState(layers), read=read)

    def _look(self, y: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor]:
        """Contexts (N, T, M) and shares (N, T, S) of queries y (N, T, Q); a memory serves N / its rows rows each."""
        rows, steps, size = y.shape
        if self.attention is None or memory is None:
            return y.new_zeros(rows, steps, 0), y.new_zeros(rows, steps, 0)
        contexts, shares = self.attention(y.reshape(len(memory.values), -1, size), memory)
        contexts = self._drop(contexts, "contexts")
        return contexts.reshape(rows, steps, -1), shares.reshape(rows, steps, -1)

    def _read(self, found: Tensor) -> Tensor:
        """The readouts (..., R)."""
        if self.readout is None:
            return found
        return torch.tanh(self.readout(found))

    def _logits(self, found: Tensor) -> Tensor:
        logits: Tensor = self.head(self._drop(self._read(found), "readout"))
        return logits

    def _drop(self, x: Tensor, purpose: str) -> Tensor:
        return drop(x, self.dropout, purpose) if self.training else x

    @torch.no_grad()
    def _mixed(self, before: Ragged, state: DecoderState) -> Ragged:
        """Some of the tokens before (N, T) replaced by what the model, without dropout, says in their place."""
        draws = torch.rand((2, *before.values.shape), generator=draw_generator("scheduled sampling"))
        own, mixed = draws[0] < self.scheduled_sampling, before.values.clone()
        self.eval()
        for t in range(1, mixed.shape[1]):
            logits, state = self.step(mixed[:, t - 1], state)
            said = choose(logits, draws[1, :, t].to(logits.device), Choice())
            mixed[:, t] = torch.where(own[:, t].to(said.device), said, mixed[:, t])
        self.train()
        return Ragged(mixed, before.lengths)


def _given(state: DecoderState, targets: Tokens) -> Ragged:
    """What is to be written, one sequence for each that was begun."""
    found: Ragged = ragged("decoder: targets", targets, shortest=0)
    if len(found.values) != len(state.owner):
        raise ShapeError(
            f"decoder: source and target must have as many sequences; the source has B = {len(state.owner)}, "
            f"the target B = {len(found.values)}"
        )
    return found


def _check_attention(attention: str | None, memory_size: int) -> None:
    if attention and memory_size < 1:
        raise UsageError(
            f"attention: must have a memory to look at, memory_size at least 1; got {memory_size}",
            "one to many writes from a vector alone; an encoder-decoder has a memory",
        )
    if memory_size and not attention:
        raise UsageError(f"memory_size: has an effect with attention only; got {memory_size}")


def _check_feeding(input_feeding: bool, attention: str | None, options: Mapping[str, Any]) -> None:
    if input_feeding and not attention:
        raise UsageError("input_feeding: must come with attention, whose readout it feeds back; got none")
    for name in ("variational_dropout", "weight_drop"):
        if input_feeding and options.get(name):
            raise UsageError(
                f"{name}: holds one mask for a whole sequence; with input_feeding the decoder runs step by step in "
                "training, and each step would draw another",
                "leave one of the two out",
            )


class _Affine(nn.Module):
    """W x + b, W Glorot and b zero at first."""

    def __init__(self, inputs: int, outputs: int, draws: torch.Generator) -> None:
        super().__init__()
        self.W, self.b = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
        with torch.no_grad():
            INITIALISERS["glorot"](self.W, draws)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs) of x (..., inputs)."""
        return nn.functional.linear(x, self.W, self.b)
