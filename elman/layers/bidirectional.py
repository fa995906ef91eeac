"""Bidirectional: one layer reading forwards beside one reading from the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elman.equations import Cell
from elman.errors import ShapeError, UsageError
from elman.layers.lengths import prepare
from elman.layers.recurrent import Recurrent
from elman.layers.state import StackState, states_of


class Bidirectional(nn.Module):
    """Two directions over the same sequences: y_t = [forward_t, backward_t].

    Args:
        forward_layer: A layer that reads forwards.
        backward_layer: A layer that reads from the end (reverse=True), of the same input size.

    Raises:
        UsageError, ShapeError: the two do not fit.

    Example:
        >>> both = Bidirectional.of("gru", 8, 16)
        >>> y, state = both(torch.zeros(2, 5, 8), lengths=[5, 3])
        >>> y.shape
        torch.Size([2, 5, 32])

    Source: Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".
    """

    def __init__(self, forward_layer: Recurrent, backward_layer: Recurrent) -> None:
        super().__init__()
        if forward_layer.reverse or not backward_layer.reverse:
            raise UsageError(
                "Bidirectional: the first layer must read forwards and the second from the end (reverse=True)"
            )
        if forward_layer.input_size != backward_layer.input_size:
            raise ShapeError(
                "Bidirectional: both layers must have the same input_size; "
                f"got {forward_layer.input_size} and {backward_layer.input_size}"
            )
        self.forward_layer, self.backward_layer = forward_layer, backward_layer
        self.input_size = forward_layer.input_size
        self.output_size = forward_layer.output_size + backward_layer.output_size

    @classmethod
    def of(
        cls, cell: Cell | str, input_size: int, hidden_size: int, *, seed: int | None = None, **options: Any
    ) -> Bidirectional:
        """Build both directions of a cell; options go to both layers.

        Args:
            cell: A Cell or a name.
            input_size: I.
            hidden_size: H of each direction.
            seed: First values as a function of this number; the directions differ.
            options: Of Recurrent.
        """
        other = None if seed is None else seed + 104729
        return cls(
            Recurrent(cell, input_size, hidden_size, seed=seed, **options),
            Recurrent(cell, input_size, hidden_size, seed=other, reverse=True, **options),
        )

    @property
    def engine(self) -> str:
        """Names of the engines of the two layers, once each."""
        return ", ".join(dict.fromkeys((self.forward_layer.engine, self.backward_layer.engine)))

    def initial_state(self, batch_size: int) -> StackState:
        """Return the states before the first step of each direction."""
        return StackState([self.forward_layer.initial_state(batch_size), self.backward_layer.initial_state(batch_size)])

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        lengths: Tensor | Sequence[int] | None = None,
        state: StackState | None = None,
    ) -> tuple[Tensor, StackState]:
        """Run both directions; arguments as of Recurrent.

        Returns:
            y (B, T, O_forward + O_backward); the state after the last step of the first direction, and the state after
            the first step of the second.
        """
        x, lengths = prepare("Bidirectional", x, lengths, self.input_size)
        ahead, behind = states_of("Bidirectional", state, 2)
        y_ahead, after = self.forward_layer(x, lengths, ahead)
        y_behind, before = self.backward_layer(x, lengths, behind)
        return torch.cat([y_ahead, y_behind], dim=2), StackState([after, before])

    def step(self, x: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """Refuse: the second direction needs the whole sequence.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "Bidirectional: cannot run step by step: its output at t reads what comes after t",
            "use Recurrent or Stack without bidirectional for streams, generation and language models",
        )
