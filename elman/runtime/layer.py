"""One layer of any cell over arrays, in either direction, by the C++ engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.equations import Cell
from elman.errors import ShapeError
from elman.plans import native
from elman.plans.compile import Compiled, compile_cell

Floats = npt.NDArray[np.float32]
Lengths = npt.NDArray[np.int64]

_WORTH_A_THREAD = 1 << 19
"""Multiply-adds of a call that a thread must have to do before it is woken."""


@dataclass(frozen=True)
class Layer:
    """A cell with its parameters.

    Args:
        cell: The cell.
        input_size: I.
        hidden_size: H.
        weights: Parameters by name, float32.
        sizes: Sizes that the cell declares.
        residual: In a stack, whether the input is added to the output.
        reverse: Read each sequence from its end.
    """

    cell: Cell
    input_size: int
    hidden_size: int
    weights: Mapping[str, Floats]
    sizes: Mapping[str, int] = field(default_factory=dict)
    residual: bool = False
    reverse: bool = False

    @property
    def state_sizes(self) -> dict[str, int]:
        """S of each state."""
        return dict(self.cell.state_sizes(self.input_size, self.hidden_size, self.sizes))

    @property
    def output_size(self) -> int:
        """O."""
        return self.cell.output_size(self.input_size, self.hidden_size, self.sizes)

    def initial_state(self, sequences: int) -> dict[str, Floats]:
        """Return the state before the first step, (B, S) by name: as the equations state it, or zero."""
        return {
            name: np.full((sequences, size), self.cell.starts.get(name, 0.0), np.float32)
            for name, size in self.state_sizes.items()
        }

    @cached_property
    def compiled(self) -> Compiled:
        """The plan of the way forward, and what its parameters are called."""
        native.require_built()
        shapes = self.cell.parameters(self.input_size, self.hidden_size, self.sizes)
        sizes = self.cell.check_sizes(self.input_size, self.hidden_size, self.sizes)
        widths = {self.cell.input: self.input_size, **self.state_sizes}
        return compile_cell(native.engine, self.cell, shapes, sizes, widths, keep=False)

    @cached_property
    def _packed(self) -> tuple[Any, list[Floats], Floats]:
        """The engine's object, the parameters in its order, and the same packed."""
        runner = native.engine.Engine(self.compiled.plan, native.target(), "float32")
        parameters = [np.ascontiguousarray(self.weights[name], np.float32) for name in self.compiled.parameters]
        packed = _aligned(runner.packed_floats(False) + 16)
        runner.pack(parameters, packed, False, 1)
        return runner, parameters, packed

    def run(
        self, x: Floats, lengths: Lengths | None = None, state: Mapping[str, Floats] | None = None
    ) -> tuple[Floats, dict[str, Floats]]:
        """Run the layer over sequences.

        Args:
            x: (B, T, I); what stands beyond a length is never read.
            lengths: (B,) from 1 to T; None when all are T.
            state: State to start from; None for `initial_state`.

        Returns:
            y (B, T, O), zero beyond each length; the state after each sequence's last step.

        Raises:
            ShapeError: shapes do not fit.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 3 or x.shape[2] != self.input_size or 0 in x.shape:
            raise ShapeError(f"{self.cell.name}: x must have shape (B, T, I) with I = {self.input_size}; got {x.shape}")
        start = self.checked(state, len(x))
        runner, parameters, packed = self._packed
        y = np.empty((*x.shape[:2], self.output_size), np.float32)
        final = {name: np.empty_like(value) for name, value in start.items()}
        workspace = _aligned(runner.workspace_floats(*x.shape[:2], lengths, False))
        steps = x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())
        work = steps * sum(weight.size for weight in parameters if weight.ndim == 2)
        threads = max(1, min(native.most_threads(), work // _WORTH_A_THREAD))
        runner.forward(
            parameters, packed, workspace, x, lengths, list(start.values()), [], y, list(final.values()),
            self.reverse, False, threads,
        )  # fmt: skip
        return y, final

    def checked(self, state: Mapping[str, Floats] | None, sequences: int) -> dict[str, Floats]:
        """Return a state in the cell's order.

        Raises:
            ShapeError: it is another cell's, or of other sequences.
        """
        if state is None:
            return self.initial_state(sequences)
        wanted = {name: (sequences, size) for name, size in self.state_sizes.items()}
        got = {name: np.shape(value) for name, value in state.items()}
        if got != wanted:
            raise ShapeError(f"{self.cell.name}: state must have shapes {wanted}; got {got}")
        return {name: np.ascontiguousarray(state[name], np.float32) for name in wanted}


def _aligned(floats: int) -> Floats:
    """An array of arbitrary contents that begins with a line of the cache."""
    block = np.empty(floats + 16, np.float32)
    first = -block.ctypes.data // 4 % 16
    return block[first : first + floats]


def checked_lengths(lengths: Sequence[int] | Lengths | None, sequences: int, steps: int) -> Lengths | None:
    """Return lengths as the engine takes them.

    Raises:
        ShapeError: they are not (B,) whole numbers from 1 to T.
    """
    if lengths is None:
        return None
    own = np.ascontiguousarray(lengths)
    if own.shape != (sequences,) or own.dtype.kind not in "iu" or own.min() < 1 or own.max() > steps:
        raise ShapeError(
            f"lengths: must be {sequences} whole numbers from 1 to {steps}; got {np.shape(lengths)}: {own}"
        )
    return own.astype(np.int64)
