"""A network that says one thing of a sequence, or one at each step: vectors, recurrent layers, pooling, head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import ModelFileError, ShapeError, UsageError
from elman.runtime.arrays import WITH_TORCH, Arrays
from elman.runtime.layer import Floats, Lengths
from elman.runtime.parts import cell_of, stack_of
from elman.runtime.stack import Stack

CLASSES = ("labels", "step_labels", "symbols")
"""Names of the codecs of what a softmax is over."""
POOLINGS = ("last", "mean", "max", "centre")


@dataclass(frozen=True)
class Network:
    """A trained network of a task by examples.

    Args:
        task: Name of its task.
        embedding: Token vectors (V, I); None where steps are vectors already.
        stack: The recurrent layers.
        pooling: How the outputs of all steps become one vector, see elman.architectures.Pooling; None for an answer at
            each step.
        dense: W and b of each layer relu(W x + b) above, lowest first.
        head: W_y (K, O) and b_y (K,).
        codecs: What turns raw data into numbers and back, as the folder holds it.
    """

    task: str
    embedding: Floats | None
    stack: Stack
    pooling: str | None
    dense: tuple[tuple[Floats, Floats], ...]
    head: tuple[Floats, Floats]
    codecs: Mapping[str, Any]

    def scores(self, sequences: Sequence[npt.ArrayLike]) -> list[Floats]:
        """Return W_y a + b_y: logits of classes or of keys, or what a regression predicts, standardised.

        Of a regression by quantiles K counts three numbers a target, of a normal its mean and the logarithm of its
        variance.

        Args:
            sequences: Of each sequence its token numbers (T,), or its vectors (T, I) where there is no embedding; each
                of at least 1 step.

        Returns:
            For each sequence (K,), or (T, K) for an answer at each step.

        Raises:
            ShapeError: a sequence is empty, or not what the network reads.
        """
        vectors = [self._vectors(n, sequence) for n, sequence in enumerate(sequences)]
        lengths = np.array([len(v) for v in vectors], np.int64)
        x = np.zeros((len(vectors), lengths.max(initial=1), self.stack.input_size), np.float32)  # (B, T, I)
        for row, own in zip(x, vectors, strict=True):
            row[: len(own)] = own
        if not vectors:
            return []
        y, _ = self.stack.run(x, lengths.tolist())
        if self.pooling is None:
            return [self._top(row[:length]) for row, length in zip(y, lengths, strict=True)]
        return list(self._top(self._pooled(y, lengths)))

    def probabilities(self, sequences: Sequence[npt.ArrayLike]) -> list[Floats]:
        """Return the softmax of `scores`, for a head of K classes.

        Raises:
            ShapeError: as of `scores`.
            UsageError: the scores are no logits of classes: numbers, or keys of which any may sound.
        """
        if not any(name in self.codecs for name in CLASSES):
            raise UsageError(f"probabilities: must be of a network of classes; got one of {self.task}", "use scores")
        return [softmax(scores) for scores in self.scores(sequences)]

    def _vectors(self, n: int, sequence: npt.ArrayLike) -> Floats:
        values = np.asarray(sequence)
        if self.embedding is None:
            if values.ndim != 2 or not len(values) or values.shape[1] != self.stack.input_size:
                raise ShapeError(f"sequence {n}: must have shape (T, {self.stack.input_size}); got {values.shape}")
            return values.astype(np.float32)
        size = len(self.embedding)
        if (
            values.ndim != 1
            or not len(values)
            or values.dtype.kind not in "iu"
            or not 0 <= values.min() <= values.max() < size
        ):
            raise ShapeError(f"sequence {n}: must be token numbers (T,) from 0 to {size - 1}; got {values!r:.80}")
        found: Floats = self.embedding[values]
        return found

    def _pooled(self, y: Floats, lengths: Lengths) -> Floats:
        rows = np.arange(len(y))
        found: Floats
        if self.pooling == "centre":
            found = y[rows, (lengths - 1) // 2]
        elif self.pooling == "mean":
            found = (y.sum(axis=1) / lengths[:, None]).astype(np.float32)
        elif self.pooling == "max":
            real = np.arange(y.shape[1]) < lengths[:, None]  # (B, T)
            found = np.where(real[:, :, None], y, np.float32(-np.inf)).max(axis=1)
        else:
            ahead = self.stack.layers[-1][0].output_size
            found = np.concatenate([y[rows, lengths - 1, :ahead], y[:, 0, ahead:]], axis=1)
        return found

    def _top(self, a: Floats) -> Floats:
        for weight, bias in self.dense:
            a = np.maximum(a @ weight.T + bias, 0.0)
        weight, bias = self.head
        found: Floats = a @ weight.T + bias
        return found


def softmax(scores: Floats) -> Floats:
    """Return exp(s_k) / sum over j of exp(s_j) along the last axis."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return found


def network_of(config: Mapping[str, Any], arrays: Arrays, codecs: Mapping[str, Any], where: str) -> Network:
    """Return the network that a model folder holds.

    Raises:
        ModelFileError: a part of it is none of those above; elman.tasks.load, with torch, may know it.
    """
    options = config.get("model")
    if not isinstance(options, dict):
        raise ModelFileError(f"{where}: must describe a model")
    cell, table = cell_of(config, where), "encoder.inputs.weight"
    embedding = arrays.take(table, arrays.shape(table, 2)) if table in arrays else None
    stack = stack_of(
        arrays, "encoder.recurrent", cell, options, None if embedding is None else embedding.shape[1], where
    )
    if options.get("strands", "one") != "one":  # of DNA: one run says what is said of one strand
        raise ModelFileError(
            f"{where}: strands must be one; got {str(options['strands'])[:40]!r}, the mean of two answers",
            WITH_TORCH,
        )
    # A model that labels steps pools nothing, whatever the default is that its options hold.
    pooling = None if "step_labels" in codecs else options.get("pooling")
    if pooling is not None and pooling not in POOLINGS:
        raise ModelFileError(
            f"{where}: pooling must be one of {', '.join(POOLINGS)}; got {str(pooling)[:40]!r}", WITH_TORCH
        )
    width = stack.output_size
    dense: list[tuple[Floats, Floats]] = []
    while f"top.weights.{len(dense)}" in arrays:
        n = len(dense)
        rows = arrays.shape(f"top.weights.{n}", 2)[0]
        dense.append((arrays.take(f"top.weights.{n}", (rows, width)), arrays.take(f"top.biases.{n}", (rows,))))
        width = rows
    outputs = arrays.shape("head.weight", 2)[0]
    head = arrays.take("head.weight", (outputs, width)), arrays.take("head.bias", (outputs,))
    arrays.finish()
    return Network(str(config.get("task")), embedding, stack, pooling, tuple(dense), head, codecs)
