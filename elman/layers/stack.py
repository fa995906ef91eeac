"""Stack: layers above each other, with dropout and residual connections between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from elman.engines.ragged import without_padding
from elman.equations import Cell
from elman.errors import ShapeError, UsageError
from elman.layers.bidirectional import Bidirectional
from elman.layers.lengths import prepare
from elman.layers.recurrent import Recurrent
from elman.layers.regularisers import check_probability, drop
from elman.layers.state import StackState, states_of


class Stack(nn.Module):
    """Recurrent layers, each reading the outputs of the one below.

    Args:
        layers: Recurrent or Bidirectional layers; the input size of each must be the output size of the one below.
        dropout: Probability of dropping outputs between layers, in training.
        locked_dropout: Use the same dropout mask at all steps (Gal 2016); needs `dropout`.
        residual: Add the input of a layer to its output where the sizes agree; an error when they agree nowhere.

    Raises:
        UsageError, ShapeError: the layers do not fit, or an option has no effect.

    Example:
        >>> import torch
        >>> stack = Stack.of("lstm", 8, 16, layers=2, dropout=0.1)
        >>> y, state = stack(torch.zeros(2, 5, 8))
        >>> y.shape, state[1].c.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 16]))
    """

    def __init__(
        self,
        *layers: Recurrent | Bidirectional,
        dropout: float = 0.0,
        locked_dropout: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if not layers:
            raise UsageError("Stack: must have at least one layer; got none")
        for n, layer in enumerate(layers):
            if not isinstance(layer, Recurrent | Bidirectional):
                raise UsageError(f"Stack: layer {n} must be Recurrent or Bidirectional; got {type(layer).__name__}")
        for n, (below, above) in enumerate(pairwise(layers), 1):
            if above.input_size != below.output_size:
                raise ShapeError(
                    f"Stack: layer {n} must have input_size {below.output_size}, the output size of the layer below; "
                    f"got {above.input_size}"
                )
        self.layers = nn.ModuleList(layers)
        self.dropout = check_probability("Stack: dropout", dropout)
        self.locked_dropout, self.residual = locked_dropout, residual
        self.input_size, self.output_size = layers[0].input_size, layers[-1].output_size
        self._check_effects()

    def _check_effects(self) -> None:
        if self.dropout and len(self.layers) == 1:
            raise UsageError(
                "Stack: dropout acts between layers; with 1 layer it has no effect",
                "use variational_dropout, zoneout or weight_drop of the layer, or a dropout on its output",
            )
        if self.locked_dropout and not self.dropout:
            raise UsageError("Stack: locked_dropout must come with dropout > 0; it has no effect alone")
        if self.residual and not any(map(self._adds, range(len(self.layers)))):
            raise UsageError("Stack: residual must find a layer whose input and output sizes agree; none of them does")

    def _adds(self, n: int) -> bool:
        layer = self._in_order()[n]
        return self.residual and layer.input_size == layer.output_size

    @classmethod
    def of(
        cls,
        cell: Cell | str,
        input_size: int,
        hidden_size: int,
        layers: int = 2,
        *,
        dropout: float = 0.0,
        locked_dropout: bool = False,
        residual: bool = False,
        bidirectional: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> Stack:
        """Build a stack of equal layers; further options go to every Recurrent.

        Args:
            cell: A Cell or a name.
            input_size: I of the first layer.
            hidden_size: H of every layer and direction.
            layers: L, at least 1.
            dropout: See Stack.
            locked_dropout: See Stack.
            residual: See Stack.
            bidirectional: Make every layer bidirectional.
            seed: First values as a function of this number.
            options: Of Recurrent: engine, precision, zoneout, variational_dropout, weight_drop, init, forget_bias ...
        """
        if not isinstance(layers, int) or layers < 1:
            raise UsageError(f"Stack: layers must be at least 1; got {layers!r}")
        built: list[Recurrent | Bidirectional] = []
        size = input_size
        for n in range(layers):
            own = None if seed is None else seed + 7919 * n
            make = Bidirectional.of if bidirectional else Recurrent
            built.append(make(cell, size, hidden_size, seed=own, **options))
            size = built[-1].output_size
        return cls(*built, dropout=dropout, locked_dropout=locked_dropout, residual=residual)

    def _in_order(self) -> list[Recurrent | Bidirectional]:
        return [layer for layer in self.layers if isinstance(layer, Recurrent | Bidirectional)]

    @property
    def engine(self) -> str:
        """Names of the engines of the layers, once each."""
        return ", ".join(dict.fromkeys(layer.engine for layer in self._in_order()))

    def initial_state(self, batch_size: int) -> StackState:
        """Return the state before the first step."""
        return StackState([layer.initial_state(batch_size) for layer in self._in_order()])

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        lengths: Tensor | Sequence[int] | None = None,
        state: StackState | None = None,
    ) -> tuple[Tensor, StackState]:
        """Run all layers; arguments and results as of Recurrent, with one state a layer."""
        x, lengths = prepare("Stack", x, lengths, self.input_size)
        if lengths is not None and self._adds(0):
            # The layers read no padding, but the sum of input and output would.
            x = without_padding(x, lengths)
        states = states_of("Stack", state, len(self.layers))
        after = []
        for n, layer in enumerate(self._in_order()):
            y, new = layer(x, lengths, states[n])
            x = self._between(x, y, n)
            after.append(new)
        return x, StackState(after)

    def step(self, x: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """Run one step of all layers: x (B, I) to y (B, O).

        Raises:
            UsageError: a layer, or dropout that is locked over a sequence, cannot run step by step.
        """
        if self.training and self.locked_dropout:
            raise UsageError(
                "Stack: locked_dropout holds one mask for a whole sequence; single steps in training would each draw "
                "another",
                "call stack.eval() first, or run whole sequences",
            )
        states = states_of("Stack", state, len(self.layers))
        after = []
        for n, layer in enumerate(self._in_order()):
            y, new = layer.step(x, states[n])
            x = self._between(x, y, n)
            after.append(new)
        return x, StackState(after)

    def _between(self, x: Tensor, y: Tensor, n: int) -> Tensor:
        y = x + y if self._adds(n) else y
        last = n == len(self.layers) - 1
        return y if last or not self.training else drop(y, self.dropout, f"between layers {n}", self.locked_dropout)
