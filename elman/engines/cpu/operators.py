"""The engine as operators of torch: they differentiate, and torch.compile keeps them whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.utils.dlpack
from torch import Tensor

from elman.engines.cpu.packed_weights import PackedWeights
from elman.equations import Cell
from elman.plans.compile import Compiled, compile_cell
from elman.plans.native import engine, most_threads, target

SMALL = 16
"""Rows of a differentiated call up to which packed weights are kept between calls."""

WORTH_A_THREAD = 1 << 19
"""Multiply-adds a thread must have to do before it is woken."""


@dataclass
class Runner:
    """A compiled cell on a target.

    Args:
        compiled: Plan and names.
        native: The engine's object.
        states: Width of each state.
        output_size: O.
        work: Multiply-adds of one row.
        differentiates: The runner keeps values for the way back. Its weights usually change before the next call.
        fixed_threads: Threads of every call; None for as many as the work is worth.
    """

    compiled: Compiled
    native: Any
    states: tuple[int, ...]
    output_size: int
    work: int
    differentiates: bool
    fixed_threads: int | None = None
    kept: PackedWeights = field(default_factory=PackedWeights)

    def threads(self, rows: int) -> int:
        """Threads for a call of so many rows."""
        return self.fixed_threads or max(1, min(most_threads(), rows * self.work // WORTH_A_THREAD))

    def packed(self, weights: Sequence[Tensor], back: bool, rows: int, of: Sequence[Tensor] | None = None) -> Tensor:
        """Return the weights in the engine's order.

        Args:
            weights: Parameters of the plan.
            back: For the way back.
            rows: Of the call.
            of: Parameters that the weights are made of; None for the weights themselves.
        """

        def pack() -> Tensor:
            packed = empty(self.native.packed_floats(back) + 16)
            self.native.pack(weights, packed, back, self.threads(rows))
            return packed

        return pack() if self.differentiates and rows > SMALL else self.kept.get(of or weights, back, pack)


RUNNERS: list[Runner] = []
"""All runners of this process; operators name them by position."""

_NUMBER: dict[object, int] = {}


@dataclass(frozen=True)
class Choice:
    """Where a runner runs.

    Args:
        target: Of the engine; None for the best one, or ELMAN_TARGET.
        threads: None for as many as the work is worth.
        precision: Of products: "float32" or "bf16".
    """

    target: str | None = None
    threads: int | None = None
    precision: str = "float32"


def runner_for(
    cell: Cell,
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int],
    widths: Mapping[str, int],
    keep: bool,
    choice: Choice,
) -> int:
    """Return the position of the runner for a cell at sizes, compiling it at first."""
    key = (cell, tuple(shapes.items()), tuple(sizes.items()), tuple(widths.items()), keep, choice)
    if key not in _NUMBER:
        place = choice.target or target()
        halves = partial(engine.rounded_floats, place) if choice.precision == "bf16" else None
        compiled = compile_cell(engine, cell, shapes, sizes, widths, keep, halves)
        native = engine.Engine(compiled.plan, place, choice.precision)
        work = sum(shape[0] * shape[1] for shape in shapes.values() if len(shape) == 2) + 8 * max(widths.values())
        states = tuple(widths[s] for s in cell.states)
        RUNNERS.append(Runner(compiled, native, states, compiled.plan.output_size, work, keep, choice.threads))
        _NUMBER[key] = len(RUNNERS) - 1
    return _NUMBER[key]


def empty(*shape: int) -> Tensor:
    """Return a tensor of arbitrary contents in the engine's memory."""
    return torch.utils.dlpack.from_dlpack(engine.floats(shape))


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
    leaves = [*weights.values(), *(state[s] for s in cell.states), x]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in leaves)
    number = runner_for(cell, shapes, sizes, widths, keep, choice)
    y, final, _ = forward(
        x,
        lengths,
        list(weights.values()),
        [state[s] for s in cell.states],
        [masks[m] for m in cell.masks],
        number,
        reverse,
        keep,
    )
    return y, dict(zip(cell.states, final, strict=True))


def _rows(x: Tensor, lengths: Tensor | None) -> int:
    return x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())


def dense(rows: Tensor) -> Tensor:
    """Return rows (..., S) whose components follow one another; sequences and steps may be any distance apart."""
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _ready(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.contiguous() for t in tensors]


@torch.library.custom_op("elman::forward", mutates_args=())
def forward(
    x: Tensor,
    lengths: Tensor | None,
    weights: list[Tensor],
    start: list[Tensor],
    masks: list[Tensor],
    runner: int,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Run a cell forward: y (B, T, O), final states (B, S), and the workspace that the way back reads."""
    run = RUNNERS[runner]
    rows = _rows(x, lengths)
    x, lengths = dense(x), None if lengths is None else lengths.cpu().contiguous()
    weights, start, masks = _ready(weights), _ready(start), _ready(masks)
    y = empty(x.shape[0], x.shape[1], run.output_size)
    final = [empty(x.shape[0], width) for width in run.states]
    workspace = empty(run.native.workspace_floats(x.shape[0], x.shape[1], lengths, keep))
    packed = run.packed(weights, False, rows)
    run.native.forward(weights, packed, workspace, x, lengths, start, masks, y, final, reverse, keep, run.threads(rows))
    return y, final, workspace if keep else empty(0)


@forward.register_fake
def _(x, lengths, weights, start, masks, runner, reverse, keep):  # type: ignore[no-untyped-def]
    run = RUNNERS[runner]
    y = x.new_empty(x.shape[0], x.shape[1], run.output_size)
    final = [x.new_empty(x.shape[0], width) for width in run.states]
    size = torch.library.get_ctx().new_dynamic_size() if keep else 0
    return y, final, x.new_empty(size)


@torch.library.custom_op("elman::backward", mutates_args=())
def backward(
    dy: Tensor,
    d_final: list[Tensor],
    workspace: Tensor,
    x: Tensor,
    lengths: Tensor | None,
    weights: list[Tensor],
    start: list[Tensor],
    masks: list[Tensor],
    runner: int,
    reverse: bool,
    wanted: list[bool],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run a cell back: derivatives of x, of the parameters, of the initial states; those not wanted are empty.

    `wanted` says for x, each parameter and each initial state in turn whether its derivative is.
    """
    run = RUNNERS[runner]
    rows = _rows(x, lengths)
    x, lengths = dense(x), None if lengths is None else lengths.cpu().contiguous()
    weights, start, masks = _ready(weights), _ready(start), _ready(masks)
    want_x, want_weights, want_start = wanted[0], wanted[1 : 1 + len(weights)], wanted[1 + len(weights) :]
    dx = empty(*x.shape) if want_x else None
    if dx is not None and not run.compiled.gradient_of_x:
        dx.zero_()
    d_weights = [empty(*w.shape).zero_() if want else None for w, want in zip(weights, want_weights, strict=True)]
    d_start = [empty(*s.shape) if want else None for s, want in zip(start, want_start, strict=True)]
    if workspace[0]:  # derivatives have overwritten the values: a second way back needs them again
        _forward_again(run, workspace, x, lengths, weights, start, masks, reverse, rows)
    packed = run.packed(weights, True, rows)
    run.native.backward(
        weights, packed, workspace, x, lengths, start, masks, dense(dy), _ready(d_final),
        dx if run.compiled.gradient_of_x else None, d_weights, d_start, reverse, run.threads(rows),
    )  # fmt: skip
    nothing = x.new_empty(0)
    return nothing if dx is None else dx, _or(d_weights, nothing), _or(d_start, nothing)


def _forward_again(
    run: Runner,
    workspace: Tensor,
    x: Tensor,
    lengths: Tensor | None,
    weights: Sequence[Tensor],
    start: Sequence[Tensor],
    masks: Sequence[Tensor],
    reverse: bool,
    rows: int,
) -> None:
    y = empty(x.shape[0], x.shape[1], run.output_size)
    final = [empty(x.shape[0], width) for width in run.states]
    packed = run.packed(weights, False, rows)
    run.native.forward(weights, packed, workspace, x, lengths, start, masks, y, final, reverse, True, run.threads(rows))


def _or(tensors: Sequence[Tensor | None], nothing: Tensor) -> list[Tensor]:
    return [nothing.clone() if t is None else t for t in tensors]


@backward.register_fake
def _(dy, d_final, workspace, x, lengths, weights, start, masks, runner, reverse, wanted):  # type: ignore[no-untyped-def]
    n = len(weights)
    some = [t.new_empty(t.shape if want else 0) for t, want in zip([x, *weights, *start], wanted, strict=True)]
    return some[0], some[1 : 1 + n], some[1 + n :]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    x, lengths, weights, start, masks, ctx.runner, ctx.reverse, keep = inputs
    if not keep:
        raise AssertionError("a run that is differentiated keeps its workspace")
    # Or the workspace would get a derivative: zeros as large as itself.
    ctx.set_materialize_grads(False)
    ctx.output_sizes = tuple(output[0].shape), [tuple(final.shape) for final in output[1]]
    ctx.counts = len(weights), len(start)
    ctx.wanted = [t.requires_grad for t in (x, *weights, *start)]
    ctx.has_lengths = lengths is not None
    ctx.save_for_backward(output[2], x, *([lengths] if ctx.has_lengths else []), *weights, *start, *masks)


def _back(ctx: Any, dy: Tensor | None, d_final: list[Tensor | None], _: None) -> tuple[Any, ...]:
    workspace, x, *rest = ctx.saved_tensors
    size, final_sizes = ctx.output_sizes
    dy = x.new_zeros(size) if dy is None else dy
    arriving = [x.new_zeros(s) if d is None else d for d, s in zip(d_final, final_sizes, strict=True)]
    lengths = rest.pop(0) if ctx.has_lengths else None
    n, s = ctx.counts
    weights, start, masks = rest[:n], rest[n : n + s], rest[n + s :]
    dx, d_weights, d_start = backward(
        dy, arriving, workspace, x, lengths, weights, start, masks, ctx.runner, ctx.reverse, ctx.wanted
    )
    wanted = ctx.wanted
    return (
        dx if wanted[0] else None,
        None,
        [d if want else None for d, want in zip(d_weights, wanted[1 : 1 + n], strict=True)],
        [d if want else None for d, want in zip(d_start, wanted[1 + n :], strict=True)],
        [None] * len(masks),
        None,
        None,
        None,
    )


forward.register_autograd(_back, setup_context=_remember)
