"""The plain network on the output of the recurrent part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from elman.errors import UsageError
from elman.layers.initialisers import INITIALISERS
from elman.layers.regularisers import check_probability, drop


class Dense(nn.Module):
    """Layers a = relu(W x + b), each after dropout of its input; with no sizes, dropout alone.

    Args:
        input_size: Length of the vectors.
        sizes: Output size of every layer, lowest first.
        dropout: Probability of dropping components of every layer's input and of the output, in training.
        generator: Draws the first values (Glorot).

    Raises:
        UsageError: a size is below 1, or dropout no probability.

    The output has length `output_size`.
    """

    def __init__(self, input_size: int, sizes: Sequence[int], dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        if not isinstance(sizes, Sequence) or any(size < 1 for size in sizes):
            raise UsageError(f"dense: must be sizes of layers, each at least 1; got {sizes!r}")
        self.dropout = check_probability("dropout", dropout)
        widths = [input_size, *sizes]
        self.weights = nn.ParameterList(torch.empty(rows, columns) for columns, rows in pairwise(widths))
        self.biases = nn.ParameterList(torch.zeros(rows) for rows in widths[1:])
        self.output_size = widths[-1]
        with torch.no_grad():
            for weight in self.weights:
                INITIALISERS["glorot"](weight, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., O) of x (..., I)."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.relu(nn.functional.linear(self._drop(x, number), weight, bias))
        return self._drop(x, len(self.weights))

    def _drop(self, x: Tensor, number: int) -> Tensor:
        return drop(x, self.dropout, f"dense {number}") if self.training else x
