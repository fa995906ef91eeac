"""Layers above each other over arrays, each in one direction or in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elman.errors import ShapeError
from elman.runtime.layer import Floats, Layer, checked_lengths

State = list[list[dict[str, Floats]]]
"""Of each layer, of each of its directions, the states by name, (B, S)."""


class Stack:
    """Recurrent layers, each reading the outputs of the one below.

    Args:
        layers: From bottom to top, each as the one direction, or the two, that it reads in.
    """

    def __init__(self, layers: Sequence[Sequence[Layer]]) -> None:
        self.layers = [list(directions) for directions in layers]
        self.input_size = self.layers[0][0].input_size
        self.output_size = sum(layer.output_size for layer in self.layers[-1])

    def run(self, x: Floats, lengths: Sequence[int] | None = None, state: State | None = None) -> tuple[Floats, State]:
        """Run all layers over sequences.

        Args:
            x: (B, T, I); what stands beyond a length is never read.
            lengths: (B,) from 1 to T; None when all are T.
            state: State to start from; None for the initial one.

        Returns:
            y (B, T, O), zero beyond each length; the state after the last step that each direction reads.

        Raises:
            ShapeError: shapes do not fit.
        """
        y = np.ascontiguousarray(x, np.float32)
        if y.ndim != 3:
            raise ShapeError(f"stack: x must have shape (B, T, I) with I = {self.input_size}; got {y.shape}")
        own = checked_lengths(lengths, *y.shape[:2])
        if own is not None:
            real = np.arange(y.shape[1]) < own[:, None]  # (B, T)
            y = np.where(real[:, :, None], y, np.float32(0.0))
        if state is not None and [len(s) for s in state] != [len(d) for d in self.layers]:
            raise ShapeError(f"stack: state must be that of {len(self.layers)} layers; got {len(state)}")
        after: State = []
        for n, directions in enumerate(self.layers):
            runs = [layer.run(y, own, None if state is None else state[n][d]) for d, layer in enumerate(directions)]
            above = np.concatenate([out for out, _ in runs], axis=2)  # (B, T, O)
            y = y + above if directions[0].residual else above
            after.append([final for _, final in runs])
        return y, after

    def step(self, x: Floats, state: State | None = None) -> tuple[Floats, State]:
        """Run one step of all layers: x (B, I) to y (B, O).

        Raises:
            ShapeError: shapes do not fit, or a layer reads from the end, which a stream does not have.
        """
        if any(layer.reverse for directions in self.layers for layer in directions):
            raise ShapeError("stack: a step must come from layers that read forwards; one reads from the end")
        y, after = self.run(np.asarray(x)[:, None], None, state)
        return y[:, 0], after
