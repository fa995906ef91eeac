"""One layer of torch.nn, in one or both directions, forward and back on the engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elman.bridges.gates import Kind, Layer, engine_weights, runner, torch_gradients
from elman.engines.cpu.operators import dense, ready, whole
from elman.engines.cpu.runners import empty, in_line


def layer_of(kind: Kind, weights: Sequence[Tensor]) -> Layer:
    """Return what torch's parameters of a layer describe: weight_ih, weight_hh, biases, projection, by direction."""
    w_ih, w_hh, *others = weights[: len(weights) // kind.directions]
    hidden, output = others[-1].shape[-1] if len(others) % 2 else w_hh.shape[1], w_hh.shape[1]
    return Layer(kind.mode, w_ih.shape[1], hidden, output if output != hidden else 0, len(others) > 1, kind.halves)


class _Call:
    """A layer with what a call gives it, in the form that the engine takes.

    Rows are (B, T, S) for padded sequences, whatever lies first in memory, and (rows, S) for packed ones.
    """

    def __init__(
        self,
        x: Tensor,
        batch_sizes: Tensor | None,
        start: Sequence[Tensor],
        weights: Sequence[Tensor],
        kind: Kind,
        keep: bool,
    ) -> None:
        self.layer, directions = layer_of(kind, weights), kind.directions
        self.runner, self.keep = runner(self.layer, keep), keep
        self.batch_sizes, self.leading = batch_sizes, x.shape[:-1]
        self.sequences = x.shape[1] if batch_sizes is None else int(batch_sizes[0])
        self.count = x.shape[0] * x.shape[1] if batch_sizes is None else x.shape[0]
        self.threads = self.runner.threads(self.count)
        self.x = self.rows(dense(x))
        begin = start or [x.new_zeros(directions, self.sequences, size) for size in self.layer.state_sizes]
        self.start = ready(begin)
        arrays = self.layer.arrays
        self.of_torch = [ready(weights[d * arrays : (d + 1) * arrays]) for d in range(directions)]
        self.weights = [engine_weights(self.layer, part) for part in self.of_torch]

    def rows(self, rows: Tensor, direction: int | None = None) -> Tensor:
        """Rows of torch's as the engine takes them: all columns, or those of a direction."""
        if direction is not None and len(self.weights) > 1:
            rows = rows.narrow(-1, direction * self.layer.output_size, self.layer.output_size)
        return rows.transpose(0, 1) if self.batch_sizes is None else rows

    def workspace(self) -> Tensor:
        """Return room for a direction."""
        native = self.runner.native
        if self.batch_sizes is not None:
            return empty(native.packed_workspace_floats(self.batch_sizes, self.keep))
        return empty(native.workspace_floats(*self.x.shape[:2], None, self.keep))

    def packed(self, direction: int, back: bool) -> Tensor:
        """Return the weights of a direction in the engine's order."""
        return self.runner.packed(self.weights[direction], back, self.count, self.of_torch[direction])

    def forward(self, direction: int, workspace: Tensor, y: Tensor, final: Sequence[Tensor]) -> None:
        """Run a direction: y (B, T, O) or (rows, O), final states (B, S)."""
        start = [state[direction] for state in self.start]
        self.runner.native.forward(
            self.weights[direction], self.packed(direction, False), workspace, self.x, self.batch_sizes, start, [], y,
            final, direction == 1, self.keep, self.threads,
        )  # fmt: skip


def layer_forward(
    x: Tensor,
    batch_sizes: Tensor | None,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    kind: Kind,
    keep: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run a layer.

    Args:
        x: (T, B, I), or the packed rows (rows, I).
        batch_sizes: (T,) of packed rows; None for padded ones.
        start: Initial states (D, B, S), h and c; empty for zeros.
        weights: Torch's parameters, those of the first direction first.
        kind: Of layer, with its D directions.
        keep: Keep what the way back needs.

    Returns:
        y (T, B, D O) or (rows, D O), final states (D, B, S), and a workspace for each direction where they are kept.
    """
    call, directions = _Call(x, batch_sizes, start, weights, kind, keep), kind.directions
    y = empty(*call.leading, directions * call.layer.output_size)
    final = [empty(directions, call.sequences, size) for size in call.layer.state_sizes]
    kept = [call.workspace() for _ in range(directions if keep else 1)]
    for d in range(directions):
        call.forward(d, kept[d if keep else 0], call.rows(y, d), [f[d] for f in final])
    return y, final, kept if keep else []


def layer_backward(
    dy: Tensor | None,
    d_final: Sequence[Tensor | None],
    kept: Sequence[Tensor],
    x: Tensor,
    batch_sizes: Tensor | None,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    kind: Kind,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
    """Run a layer back.

    Args:
        dy: Derivative of y; None for zero.
        d_final: Derivatives of the final states; None for zero.
        kept: Workspaces of the forward run.
        x, batch_sizes, start, weights, kind: As there.
        wanted: Whether the derivative is, of x, of each initial state, of each parameter.

    Returns:
        Derivatives of x, of the initial states, of the parameters; None for those not wanted.
    """
    call = _Call(x, batch_sizes, start, weights, kind, True)
    want_start, want_weights = wanted[1 : 1 + len(start)], wanted[1 + len(start) :]
    kept = [in_line(workspace) for workspace in kept]
    dy = None if dy is None else dense(dy)
    d_final = [None if d is None else whole(d) for d in d_final]
    dx = empty(*x.shape) if wanted[0] else None
    d_start = [empty(*s.shape) if want else None for s, want in zip(start, want_start, strict=True)]
    d_weights: list[Tensor | None] = []
    for d in range(kind.directions):
        if kept[d][0]:  # derivatives have overwritten the values: a second way back needs them again
            _forward_again(call, d, kept[d])
        part = _zeros(call, d, want_weights[d * call.layer.arrays : (d + 1) * call.layer.arrays])
        d_begin = [None if s is None else s[d] for s in d_start or [None] * len(call.start)]
        call.runner.native.backward(
            call.weights[d], call.packed(d, True), kept[d], call.x, batch_sizes, [s[d] for s in call.start], [],
            None if dy is None else call.rows(dy, d), [None if f is None else f[d] for f in d_final],
            None if dx is None else call.rows(dx), part, d_begin, d == 1, call.threads, d == 1,
        )  # fmt: skip
        d_weights += torch_gradients(call.layer, part)
    return dx, d_start, d_weights


def _zeros(call: _Call, direction: int, wanted: Sequence[bool]) -> list[Tensor | None]:
    """What gradients of the engine's parameters are added to; torch's two biases have one between them."""
    if call.layer.bias:
        wanted = [wanted[0], wanted[1], wanted[2] or wanted[3], *wanted[4:]]
    return [torch.zeros_like(w) if want else None for w, want in zip(call.weights[direction], wanted, strict=True)]


def _forward_again(call: _Call, direction: int, workspace: Tensor) -> None:
    y, final = empty(*call.x.shape[:-1], call.layer.output_size), [empty(*s.shape[1:]) for s in call.start]
    call.forward(direction, workspace, y, final)
