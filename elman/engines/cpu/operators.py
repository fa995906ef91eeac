"""The engine as operators of torch: they differentiate, and torch.compile keeps them whole.

In eager mode an autograd function calls the engine directly; compilers, transforms, modes and tracers see the
registered operators `elman::forward` and `elman::backward`. The dispatcher costs more than a small call of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elman.engines.cpu.moment import untraced, unwatched
from elman.engines.cpu.runners import Choice, Program, Runner, empty, in_line, runner_of
from elman.equations import Cell
from elman.errors import UsageError


def run_cell(
    cell: Cell,
    sizes: Mapping[str, int],
    weights: Mapping[str, Tensor],
    x: Tensor,
    lengths: Tensor | None,
    state: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    reverse: bool,
    choice: Choice,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a cell; see elman.engines.Engine."""
    shapes = {name: tuple(w.shape) for name, w in weights.items()}
    widths = {cell.input: x.shape[2], **{s: state[s].shape[1] for s in cell.states}}
    widths |= {m: masks[m].shape[2] for m in cell.masks}
    program = Program(cell, shapes, sizes, widths, choice)
    start, held = [state[s] for s in cell.states], [masks[m] for m in cell.masks]
    y, final = run_program(program, x, lengths, list(weights.values()), start, held, reverse)
    return y, dict(zip(cell.states, final, strict=True))


def run_program(
    program: Program,
    x: Tensor,
    lengths: Tensor | None,
    weights: list[Tensor],
    start: list[Tensor],
    masks: list[Tensor],
    reverse: bool,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a programme, differentiable.

    Args:
        program: What runs.
        x: (B, T, I).
        lengths: (B,) integers from 1 to T; None when all are T.
        weights: Parameters in the programme's order.
        start: Initial states (B, S).
        masks: (B, 1, S) or (B, T, S).
        reverse: Read each sequence from its last step to its first.

    Returns:
        y (B, T, O) and final states (B, S).
    """
    leaves = [x, *weights, *start]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in leaves)
    if not unwatched([*leaves, *masks]):
        return run_registered(program.text(), x, lengths, weights, start, masks, reverse)
    runner = program.runner(keep)
    if not keep:
        y, final, _ = _forward(runner, x, lengths, weights, start, masks, reverse)
        return y, final
    counts = len(weights), len(start)
    y, *final = _Eager.apply(x, lengths, runner, reverse, counts, *weights, *start, *masks)  # type: ignore[no-untyped-call]
    return y, final


def run_registered(
    program: str,
    x: Tensor,
    lengths: Tensor | None,
    weights: list[Tensor],
    start: list[Tensor],
    masks: list[Tensor],
    reverse: bool,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a programme, given as text, through the registered operators; otherwise as `run_program`."""
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *start))
    y, final, _ = torch.ops.elman.forward(x, lengths, weights, start, masks, program, reverse, keep)
    return y, final


# ---- what runs


def dense(rows: Tensor) -> Tensor:
    """Return rows (..., S) whose components follow one another; sequences and steps may be any distance apart."""
    return rows.resolve_neg() if rows.stride(-1) == 1 else whole(rows)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor as the engine reads it: without gaps, and without a sign that torch keeps beside the numbers."""
    return tensor.resolve_neg().contiguous()


def _rows(x: Tensor, lengths: Tensor | None) -> int:
    return x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())


def ready(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors as the engine reads them; see `whole`."""
    return [whole(t) for t in tensors]


class _Call:
    """A runner with what a call gives it, in the form that the engine takes."""

    def __init__(
        self,
        runner: Runner,
        x: Tensor,
        lengths: Tensor | None,
        weights: Sequence[Tensor],
        start: Sequence[Tensor],
        masks: Sequence[Tensor],
        reverse: bool,
    ) -> None:
        self.runner, self.reverse = runner, reverse
        self.x, self.lengths = dense(x), None if lengths is None else lengths.cpu().contiguous()
        self.weights, self.start, self.masks = ready(weights), ready(start), ready(masks)
        self.rows = _rows(x, lengths)
        self.threads = runner.threads(self.rows)

    def workspace(self) -> Tensor:
        """Return room for the run."""
        batch, steps, _ = self.x.shape
        return empty(self.runner.native.workspace_floats(batch, steps, self.lengths, self.runner.differentiates))

    def forward(self, workspace: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return y and final states."""
        run, batch = self.runner, self.x.shape[0]
        y = empty(batch, self.x.shape[1], run.output_size)
        final = [empty(batch, width) for width in run.states]
        run.native.forward(
            self.weights, run.packed(self.weights, False, self.rows), workspace, self.x, self.lengths, self.start,
            self.masks, y, final, self.reverse, run.differentiates, self.threads,
        )  # fmt: skip
        return y, final


@untraced
def _forward(
    runner: Runner,
    x: Tensor,
    lengths: Tensor | None,
    weights: Sequence[Tensor],
    start: Sequence[Tensor],
    masks: Sequence[Tensor],
    reverse: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Run forward: y, final states, and the workspace, which the way back reads."""
    call = _Call(runner, x, lengths, weights, start, masks, reverse)
    workspace = call.workspace()
    return *call.forward(workspace), workspace


Gradients = tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]
"""Of x, of the parameters, of the initial states; None for those not wanted."""


@untraced
def _backward(
    runner: Runner,
    dy: Tensor | None,
    d_final: Sequence[Tensor | None],
    workspace: Tensor,
    x: Tensor,
    lengths: Tensor | None,
    weights: Sequence[Tensor],
    start: Sequence[Tensor],
    masks: Sequence[Tensor],
    reverse: bool,
    wanted: Sequence[bool],
) -> Gradients:
    """Run back. `wanted` says for x, each parameter and each initial state in turn whether its derivative is."""
    call = _Call(runner, x, lengths, weights, start, masks, reverse)
    x, workspace, has_dx = call.x, in_line(workspace), runner.compiled.gradient_of_x
    want_x, want_weights, want_start = wanted[0], wanted[1 : 1 + len(weights)], wanted[1 + len(weights) :]
    dx = (empty(*x.shape) if has_dx else empty(*x.shape).zero_()) if want_x else None
    d_weights = [empty(*w.shape).zero_() if want else None for w, want in zip(weights, want_weights, strict=True)]
    d_start = [empty(*s.shape) if want else None for s, want in zip(start, want_start, strict=True)]
    if workspace[0]:  # derivatives have overwritten the values: a second way back needs them again
        call.forward(workspace)
    arriving = [None if d is None else whole(d) for d in d_final]
    runner.native.backward(
        call.weights, runner.packed(call.weights, True, call.rows), workspace, x, call.lengths, call.start, call.masks,
        None if dy is None else dense(dy), arriving, dx if has_dx else None, d_weights, d_start, reverse, call.threads,
    )  # fmt: skip
    return dx, d_weights, d_start


def come_one_at_a_time(*gradients: Tensor | None) -> bool:
    """Say whether gradients lie in memory: torch gives those of many runs of the way back at once behind tensors that
    do not (is_grads_batched=True)."""
    return all(d is None or torch._C._has_storage(d) for d in gradients)


def _require_single(*gradients: Tensor | None) -> None:
    if not come_one_at_a_time(*gradients):
        raise UsageError(
            "engine 'cpu': gradients must come one at a time; got many at once (is_grads_batched=True, vectorize=True)",
            "leave that out, or use torch.func.jacrev, or engine='torch-schedule'",
        )


class _Eager(torch.autograd.Function):
    """The operators without the dispatcher between."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        lengths: Tensor | None,
        runner: Runner,
        reverse: bool,
        counts: tuple[int, int],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        n, s = counts
        y, final, workspace = _forward(runner, x, lengths, tensors[:n], tensors[n : n + s], tensors[n + s :], reverse)
        ctx.set_materialize_grads(False)
        ctx.lengths, ctx.runner, ctx.reverse, ctx.counts = lengths, runner, reverse, counts
        ctx.save_for_backward(workspace, x, *tensors)
        return y, *final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, *d_final: Tensor | None) -> tuple[Any, ...]:
        _require_single(dy, *d_final)
        workspace, x, *tensors = ctx.saved_tensors
        n, s = ctx.counts
        weights, start, masks = tensors[:n], tensors[n : n + s], tensors[n + s :]
        wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[5 : 5 + n + s]]
        dx, d_weights, d_start = _backward(
            ctx.runner, dy, d_final, workspace, x, ctx.lengths, weights, start, masks, ctx.reverse, wanted
        )
        return dx, None, None, None, None, *d_weights, *d_start, *(None for _ in masks)


# ---- the registered operators


def _counts(lengths: Tensor | None, x: Tensor) -> Tensor | None:
    """Lengths as eager calls give them: None where all are T."""
    return None if lengths is None or bool((lengths == x.shape[1]).all()) else lengths


@torch.library.custom_op("elman::forward", mutates_args=())
def forward(
    x: Tensor,
    lengths: Tensor | None,
    weights: list[Tensor],
    start: list[Tensor],
    masks: list[Tensor],
    program: str,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Run a programme forward: y (B, T, O), final states (B, S), and the workspace that the way back reads."""
    y, final, workspace = _forward(runner_of(program, keep), x, _counts(lengths, x), weights, start, masks, reverse)
    return y, final, workspace if keep else empty(0)


@forward.register_fake
def _(x, lengths, weights, start, masks, program, reverse, keep):  # type: ignore[no-untyped-def]
    run = runner_of(program, keep)
    y = x.new_empty(x.shape[0], x.shape[1], run.output_size)
    final = [x.new_empty(x.shape[0], width) for width in run.states]
    size = torch.library.get_ctx().new_dynamic_size() if keep else 0
    return y, final, x.new_empty(size)


@torch.library.custom_op("elman::backward", mutates_args=())
def backward(
    dy: Tensor | None,
    d_final: list[Tensor | None],
    workspace: Tensor,
    x: Tensor,
    lengths: Tensor | None,
    weights: list[Tensor],
    start: list[Tensor],
    masks: list[Tensor],
    program: str,
    reverse: bool,
    wanted: list[bool],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run a programme back; derivatives that are not wanted are empty tensors, as operators cannot return None."""
    runner, lengths = runner_of(program, True), _counts(lengths, x)
    dx, d_weights, d_start = _backward(
        runner, dy, d_final, workspace, x, lengths, weights, start, masks, reverse, wanted
    )
    return _or_empty(dx), [_or_empty(d) for d in d_weights], [_or_empty(d) for d in d_start]


def _or_empty(tensor: Tensor | None) -> Tensor:
    return empty(0) if tensor is None else tensor


@backward.register_fake
def _(dy, d_final, workspace, x, lengths, weights, start, masks, program, reverse, wanted):  # type: ignore[no-untyped-def]
    n = len(weights)
    some = [t.new_empty(t.shape if want else 0) for t, want in zip([x, *weights, *start], wanted, strict=True)]
    return some[0], some[1 : 1 + n], some[1 + n :]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    x, lengths, weights, start, masks, ctx.program, ctx.reverse, keep = inputs
    if not keep:
        raise AssertionError("a run that is differentiated keeps its workspace")
    # Or the workspace would get a derivative: zeros as large as itself.
    ctx.set_materialize_grads(False)
    ctx.counts = len(weights), len(start)
    ctx.wanted = [t.requires_grad for t in (x, *weights, *start)]
    ctx.has_lengths = lengths is not None
    ctx.save_for_backward(output[2], x, *([lengths] if ctx.has_lengths else []), *weights, *start, *masks)


def _back(ctx: Any, dy: Tensor | None, d_final: list[Tensor | None], _: None) -> tuple[Any, ...]:
    workspace, x, *rest = ctx.saved_tensors
    lengths = rest.pop(0) if ctx.has_lengths else None
    n, s = ctx.counts
    weights, start, masks = rest[:n], rest[n : n + s], rest[n + s :]
    call = x, lengths, weights, start, masks, ctx.program, ctx.reverse
    dx, d_weights, d_start = torch.ops.elman.backward(dy, d_final, workspace, *call, ctx.wanted)
    found = [d if want else None for d, want in zip((dx, *d_weights, *d_start), ctx.wanted, strict=True)]
    return found[0], None, found[1 : 1 + n], found[1 + n :], [None] * len(masks), None, None, None


forward.register_autograd(_back, setup_context=_remember)
