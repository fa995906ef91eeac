"""Encoder: inputs and the recurrent layers above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from elman.architectures.inputs import Inputs, Ragged, ragged
from elman.equations import Cell
from elman.errors import UsageError
from elman.layers import Stack


class Encoder(nn.Module):
    """Reads sequences: vectors of their steps, then recurrent layers of any cell, in one direction or both.

    Args:
        inputs: What makes vectors; see elman.architectures.inputs.
        cell: A Cell or the name of one.
        hidden_size: H of every layer and direction.
        layers: L, at least 1.
        bidirectional: Read from both ends.
        dropout: Probability of dropping outputs between layers, in training; of no effect on a single layer.
        seed: First values as a function of this number.
        options: Of Stack.of: residual, sizes, engine, precision, zoneout, variational_dropout, weight_drop, init,
            forget_bias.

    Raises:
        UsageError, ShapeError: an option does not fit or has no effect.
    """

    def __init__(
        self,
        inputs: Inputs,
        cell: Cell | str = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(inputs, nn.Module):
            raise UsageError(
                f"inputs: must make a vector of each step; got {type(inputs).__name__}",
                "Numbers(I) for vectors of length I, TokenVectors(V, size) for token numbers",
            )
        self.inputs = inputs
        self.recurrent = Stack.of(
            cell,
            inputs.output_size,
            hidden_size,
            layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
            seed=seed,
            **options,
        )
        self.output_size = self.recurrent.output_size
        self.directions = (self.output_size // 2,) * 2 if bidirectional else (self.output_size,)

    @property
    def engine(self) -> str:
        """Names of the engines of the layers."""
        return self.recurrent.engine

    def forward(self, x: Any, lengths: Tensor | Sequence[int] | None = None) -> Ragged:
        """Run inputs and layers.

        Args:
            x: A Ragged, a list of sequences (T_b, ...), or a tensor (B, T, ...); or what `inputs` takes.
            lengths: (B,) from 1 to T, of a tensor only; None where all are T.

        Returns:
            The outputs (B, T, O) of the highest layer, zero beyond each length.

        Raises:
            ShapeError: shapes, types or lengths do not fit.
        """
        vectors = self.inputs(ragged("Encoder", x, lengths))
        y, _ = self.recurrent(vectors.values, vectors.lengths)
        return Ragged(y, vectors.lengths)
