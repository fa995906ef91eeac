"""Language models step by step inside the C++ engine: tokens in, tokens or their probabilities out; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DivergedError, ShapeError, UsageError, nearest
from elman.plans import native
from elman.runtime.layer import Floats, Layer, checked_lengths
from elman.sampling import Choice
from elman.seeds import seed_of

State = list[dict[str, Floats]]
"""Of each layer the states by name, (B, S)."""

PRECISIONS = ("float32", "bf16", "int8")
MOST_TERMS = 65_536
TABLE_BYTES = 512 << 20
"""Most bytes of the table that keeps what the first layer makes of each token."""

_WORTH_A_THREAD = 1 << 17
"""Multiply-adds of a step that a thread must have to do: threads meet several times a step."""
_BLOCK, _PIECE = 256, 4096
"""Steps written and read at a time: between them a stop is seen, and a key pressed."""
_TOGETHER = 32
"""Sequences that `following` reads side by side."""


class Stepper:
    """An embedding, a stack of any cells and a softmax head, with weights packed once for single steps.

    Many streams step side by side and share every read of a weight. A stream gets the same numbers alone and in any
    company. What the first layer makes of a token before its loop is computed in float32 when the token first appears,
    and kept. In bf16 weights are rounded to bfloat16; in int8 each output of a matrix has a scale of its own, and the
    other factor is a number of 16 bits. Sums and states are float32.

    Args:
        layers: From bottom to top; each reads what the one below gives.
        head: W_y (V, O).
        bias: b_y (V,), or None.
        embedding: Token vectors (V, I), or None for one-hot input.
        precision: "float32", "bf16" or "int8".
        target: Instruction set; None for the best one of this processor, or ELMAN_TARGET.
        threads: Of every call; None for ELMAN_THREADS or torch's number, fewer where a step is not worth waking them.

    Raises:
        UsageError: the engine was not built, an unknown precision, or layers that it cannot step.
        DivergedError: a weight is not a finite number.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        head: Floats,
        bias: Floats | None,
        embedding: Floats | None,
        *,
        precision: str = "float32",
        target: str | None = None,
        threads: int | None = None,
    ) -> None:
        native.require_built()
        if precision not in PRECISIONS:
            raise UsageError(
                f"precision: must be one of {', '.join(PRECISIONS)}; got {precision!r}{nearest(precision, PRECISIONS)}"
            )
        self.layers, self.precision, self.vocabulary_size = list(layers), precision, head.shape[0]
        self._threads = threads
        if any(layer.reverse for layer in layers):
            raise UsageError("stepper: layers must read forwards; one reads from the end")
        _check_weights(layers, {"head": head, "bias": bias, "embedding": embedding})
        compiled = [layer.compiled for layer in layers]
        self._native = native.engine.Stepper(
            target or native.target(),
            PRECISIONS.index(precision),
            self.vocabulary_size,
            None if embedding is None else _array(embedding),
            [c.plan for c in compiled],
            [[_array(layer.weights[name]) for name in c.parameters] for layer, c in zip(layers, compiled, strict=True)],
            [layer.residual for layer in layers],
            _array(head),
            None if bias is None else _array(bias),
            TABLE_BYTES,
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights."""
        return int(self._native.weight_bytes)

    def initial_state(self, streams: int) -> State:
        """Return the state before the first token, as the equations state it or zero.

        Args:
            streams: B.
        """
        return [layer.initial_state(streams) for layer in self.layers]

    def read(
        self, tokens: npt.ArrayLike, state: State | None = None, lengths: Sequence[int] | None = None
    ) -> tuple[Floats, State]:
        """Read tokens of every stream.

        Args:
            tokens: (B, T) numbers from 0 to V - 1; what stands beyond a length is not read.
            state: State to start from; None for `initial_state`.
            lengths: (B,) from 1 to T; None when all are T.

        Returns:
            Logits (B, V) of the token after each stream's last, and the state after it.

        Raises:
            ShapeError: tokens, state or lengths do not fit.
        """
        logits, after, _ = self._read(tokens, state, lengths, None)
        return logits, after

    def log_probabilities(
        self,
        tokens: npt.ArrayLike,
        wanted: npt.ArrayLike,
        state: State | None = None,
        lengths: Sequence[int] | None = None,
    ) -> tuple[npt.NDArray[np.float64], State]:
        """Read tokens of every stream and tell how probable others were after them.

        Args:
            tokens: (B, T) tokens to read.
            wanted: (B, T) the token that was to come after each, -1 where none is asked for.
            state: State to start from; None for `initial_state`.
            lengths: (B,) from 1 to T; None when all are T.

        Returns:
            ln P(wanted) (B, T), 0 where none was asked for, and the state after each stream's last token.

        Raises:
            ShapeError: an argument does not fit.
            DivergedError: a logit is not a number.
        """
        _, after, found = self._read(tokens, state, lengths, wanted)
        return found, after

    def _read(
        self, tokens: npt.ArrayLike, state: State | None, lengths: Sequence[int] | None, wanted: npt.ArrayLike | None
    ) -> tuple[Floats, State, Any]:
        ids = self._tokens("tokens", tokens)
        count = ids.shape[0]
        own = checked_lengths(lengths, *ids.shape)
        logits, after = np.zeros((count, self.vocabulary_size), np.float32), self._start(state, count)
        targets = None if wanted is None else self._tokens("wanted", wanted, least=-1)
        if targets is not None and targets.shape != ids.shape:
            raise ShapeError(f"wanted: must have the shape of tokens, {ids.shape}; got {targets.shape}")
        found = None if targets is None else np.zeros(ids.shape, np.float64)
        threads = self._threads_for(count)
        _check_diverged(self._native.read(ids, own, _lists(after), logits, targets, found, threads))
        return logits, after, found

    def write(
        self,
        logits: Floats,
        state: State,
        length: int,
        draws: Any,
        choice: Choice | None = None,
        never: int | None = None,
    ) -> tuple[npt.NDArray[np.int64], Floats, State]:
        """Write tokens; each chosen token is the next input.

        Args:
            logits: (B, V) of the first token, as `read` gives them.
            state: State after what was read.
            length: Tokens to write, n.
            draws: Of as many streams; see `draws_of`.
            choice: How tokens are chosen; None for plain draws.
            never: A token that is not written; its probability is shared out among the others.

        Returns:
            Tokens (B, n), and logits and state to go on from.

        Raises:
            ShapeError: an argument does not fit.
            DivergedError: a logit is not a number.
        """
        logits, choice, size = np.array(logits, np.float32), choice or Choice(), self.vocabulary_size
        if logits.ndim != 2 or logits.shape[1] != size:
            raise ShapeError(f"logits: must have shape (B, V) with V = {size}; got {logits.shape}")
        if draws.streams != len(logits):
            raise ShapeError(f"draws: must be {len(logits)} streams; got {draws.streams}")
        if length < 1:
            raise ShapeError(f"length: must be at least 1; got {length}")
        if never is not None and not 0 <= never < size:
            raise ShapeError(f"never: must be a token from 0 to {size - 1}; got {never}")
        after = self._start(state, len(logits))
        written = np.zeros((len(logits), length), np.int64)
        diverged = self._native.write(
            written, _lists(after), logits, draws, choice.temperature, min(choice.top_k or 0, size),
            choice.top_p or 0.0, choice.greedy, -1 if never is None else never, self._threads_for(len(logits)),
        )  # fmt: skip
        _check_diverged(diverged)
        return written, logits, after

    def generate(
        self,
        prompt: Sequence[int],
        length: int,
        *,
        samples: int = 1,
        seed: int = 0,
        choice: Choice | None = None,
        finished: Callable[[list[int]], bool] | None = None,
        never: int | None = None,
    ) -> list[list[int]]:
        """Write tokens after a prompt: what elman.decoding.generate writes, step by step inside the engine.

        Args:
            prompt: Tokens to read first, at least 1.
            length: Most tokens to write, at least 1.
            samples: B; sample i depends on `seed` and i only.
            seed: Seed of the draws.
            choice: How tokens are chosen.
            finished: Says of the tokens so far that a sample is done.
            never: A token that is not written.

        Returns:
            The tokens of each sample, without the prompt.
        """
        if not prompt:
            raise UsageError("generate: the prompt must have at least one token; got none")
        if length < 1 or samples < 1:
            raise UsageError(f"generate: length and samples must be at least 1; got {length} and {samples}")
        logits, state = self.read([list(prompt)])
        logits = np.repeat(logits, samples, axis=0)  # (B, V)
        state = [{name: np.repeat(value, samples, axis=0) for name, value in layer.items()} for layer in state]
        draws = draws_of(seed, samples)
        texts = [_Sample(finished) for _ in range(samples)]
        while length > 0 and not all(text.done for text in texts):
            count = min(length, _BLOCK)
            tokens, logits, state = self.write(logits, state, count, draws, choice, never)
            for text, row in zip(texts, tokens.tolist(), strict=True):
                text.extend(row)
            length -= count
        return [text.tokens for text in texts]

    def following(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return for each sequence ln P of every token but its first after those before it.

        Sequences of like length are read side by side.

        Args:
            sequences: Tokens, each at least 1.
        """
        found: list[list[float]] = [[] for _ in sequences]
        order = sorted((n for n, tokens in enumerate(sequences) if len(tokens) > 1), key=lambda n: len(sequences[n]))
        for at in range(0, len(order), _TOGETHER):
            group = order[at : at + _TOGETHER]
            for n, logs in zip(group, self._following([sequences[n] for n in group]), strict=True):
                found[n] = logs
        return found

    def _following(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """The same for a few sequences by rising length, in pieces; those that have ended stay out of the next."""
        lengths = [len(tokens) - 1 for tokens in sequences]
        tokens = np.zeros((len(sequences), max(lengths) + 1), np.int64)  # (B, T + 1)
        for row, sequence in zip(tokens, sequences, strict=True):
            row[: len(sequence)] = sequence
        found: list[list[float]] = [[] for _ in sequences]
        state, ended = self.initial_state(len(sequences)), 0
        for at in range(0, max(lengths), _PIECE):
            before, ended = ended, sum(length <= at for length in lengths)
            state = [{name: value[ended - before :] for name, value in layer.items()} for layer in state]
            here = [min(length - at, _PIECE) for length in lengths[ended:]]
            piece = tokens[ended:, at : at + max(here) + 1]
            logs, state = self.log_probabilities(piece[:, :-1], piece[:, 1:], state, here)
            for own, row, length in zip(found[ended:], logs, here, strict=True):
                own += row[:length].tolist()
        return found

    def _start(self, state: State | None, streams: int) -> State:
        """A copy of a state, which the engine may overwrite."""
        if state is not None and len(state) != len(self.layers):
            raise ShapeError(f"state: must be that of {len(self.layers)} layers; got {len(state)}")
        own = [layer.checked(None if state is None else state[n], streams) for n, layer in enumerate(self.layers)]
        return own if state is None else [{name: value.copy() for name, value in layer.items()} for layer in own]

    def _tokens(self, name: str, tokens: npt.ArrayLike, least: int = 0) -> npt.NDArray[np.int64]:
        ids = np.ascontiguousarray(tokens)
        if ids.ndim != 2 or 0 in ids.shape or ids.dtype.kind not in "iu":
            raise ShapeError(f"{name}: must be whole numbers of shape (B, T); got {ids.dtype} of shape {ids.shape}")
        if ids.min() < least or ids.max() >= self.vocabulary_size:
            raise ShapeError(
                f"{name}: must be from {least} to {self.vocabulary_size - 1}; got {ids.min()} to {ids.max()}"
            )
        return ids.astype(np.int64)

    def _threads_for(self, streams: int) -> int:
        work = int(self._native.work) * streams
        return self._threads or max(1, min(native.most_threads(), work // _WORTH_A_THREAD))


class _Sample:
    """A text in the making."""

    def __init__(self, finished: Callable[[list[int]], bool] | None) -> None:
        self.tokens: list[int] = []
        self.done, self._finished = False, finished

    def extend(self, tokens: Sequence[int]) -> None:
        """Take tokens up to where the text is finished."""
        if self._finished is None:
            self.tokens += tokens
            return
        for token in tokens:
            if self.done:
                return
            self.tokens.append(token)
            self.done = self._finished(self.tokens)


def draws_of(seed: int, streams: int) -> Any:
    """Return the uniform numbers that elman.decoding.generate draws for `streams` samples of a seed."""
    native.require_built()
    return native.engine.Draws([seed_of(seed, "sample", i) for i in range(streams)])


def _check_weights(layers: Sequence[Layer], others: Mapping[str, Floats | None]) -> None:
    named = {f"layer {n}: {name}": w for n, layer in enumerate(layers) for name, w in layer.weights.items()}
    for name, weight in {**named, **others}.items():
        if weight is None:
            continue
        if not np.isfinite(weight).all():
            bad = float(weight[~np.isfinite(weight)][0])
            raise DivergedError(
                f"{name}: must be finite numbers; got {bad}", "the model has diverged; train it again with a lower rate"
            )
        if weight.ndim == 2 and name != "embedding" and weight.shape[1] > MOST_TERMS and not name.startswith("layer 0"):
            raise UsageError(f"{name}: must have at most {MOST_TERMS:,} columns; got {weight.shape[1]:,}")


def _array(weight: Floats) -> Floats:
    return np.ascontiguousarray(weight, np.float32)


def _lists(state: State) -> list[list[Floats]]:
    return [list(layer.values()) for layer in state]


def _check_diverged(stream: int) -> None:
    if stream >= 0:
        raise DivergedError(
            f"stepper: logits must be numbers; got NaN or infinity in stream {stream}",
            "the model has diverged; train it again with a lower learning rate",
        )
