"""The reference engine, the oracle: the equations and their derived backward, operation by operation, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.engines.sizes import widths
from elman.equations import Cell, Operation
from elman.plans.numpy_functions import FUNCTIONS, Array

Values = dict[str, Any]


@dataclass
class Gradients:
    """What the derived backward gives.

    Args:
        weights: Parameter name to gradient, same shape.
        x: (B, T, I); zero beyond each length.
        state: State name to gradient of the initial state (B, S).
    """

    weights: dict[str, Array]
    x: Array
    state: dict[str, Array]


Rounding = Callable[[Array], Array]


def to_bf16(x: Array) -> Array:
    """Return the nearest numbers of bfloat16, which have 8 significant bits; ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8))


class _Run:
    """One cell with its weights bound."""

    def __init__(
        self, cell: Cell, weights: Mapping[str, Array], masks: Mapping[str, Array], rounding: Rounding | None
    ) -> None:
        self.cell, self.weights, self.masks = cell, weights, masks
        self.schedule = cell.schedule
        self.columns: dict[tuple[str, int], slice] = {}
        self.rounding = rounding or (lambda x: x)
        # What is a factor of any product is rounded wherever it is summed: a bias is a factor beside ones.
        operations = (*self.schedule.hoisted, *self.schedule.step, *self.schedule.backward)
        self.factors = {op.arguments[0] for op in operations if op.is_product}
        self.factors |= {f for a in self.schedule.accumulations if a.operand for f in (a.d_value, a.operand)}

    def block(self, op: Operation) -> Array:
        """The columns of a matrix that a product uses; the widths follow from the operands that were met."""
        if op.block is None:
            raise AssertionError("a product has a block")
        return self.rounding(self.weights[op.block.matrix][:, self.columns[op.block.matrix, op.block.index]])

    def fill(self, values: Values, operations: Iterable[Operation]) -> Values:
        for op in operations:
            values[op.target] = self.value(op, values)
        return values

    def value(self, op: Operation, values: Values) -> Any:
        if op.function == "number":
            return np.float64(op.value or 0.0)
        arguments = [values[a] if a in values else self.weights[a] for a in op.arguments]
        if op.function == "product":
            return self.block(op) @ self.rounding(arguments[0])
        if op.function == "product_transposed":
            return self.block(op).T @ self.rounding(arguments[0])
        return FUNCTIONS[op.function](*arguments)

    def step(self, row: int, time: int, x: Array, before: Mapping[str, Array]) -> Values:
        values: Values = {self.cell.input: x, **{f"{s}<t-1>": v for s, v in before.items()}}
        for name, mask in self.masks.items():
            values[name] = mask[row, time if mask.shape[1] > 1 else 0]
        return self.fill(values, (*self.schedule.hoisted, *self.schedule.step))


def _columns(
    cell: Cell, input_size: int, weights: Mapping[str, Array], state: Mapping[str, Array]
) -> dict[tuple[str, int], slice]:
    """Column ranges of every block, from the sizes of the input and the states."""
    sizes = widths(cell, weights, input_size, state)
    columns = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            continue
        start, blocks = 0, cell.parameter_blocks(name)
        for block in blocks:
            stop = weight.shape[1] if len(blocks) == 1 else start + sizes[block.size]
            columns[name, block.index] = slice(start, stop)
            start = stop
    return columns


def _arrays(tensors: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}


@dataclass
class Trace:
    """A forward run with every value kept: outputs, final states, and the values of each step of each row."""

    run: _Run
    y: Array
    final: dict[str, Array]
    steps: list[list[Values]]
    order: list[list[int]]


def forward(
    cell: Cell,
    weights: Mapping[str, Any],
    x: Any,
    lengths: Iterable[int] | None,
    state: Mapping[str, Any],
    masks: Mapping[str, Any] | None = None,
    reverse: bool = False,
    rounding: Rounding | None = None,
) -> Trace:
    """Run a cell over sequences, row by row and step by step.

    Args:
        cell: The cell.
        weights: Parameters by name.
        x: (B, T, I).
        lengths: (B,), each from 1 to T; None for T.
        state: Initial states by name, (B, S).
        masks: Masks by name, (B, 1, S) or (B, T, S), in order of processing.
        reverse: Read each sequence from its last step to its first.
        rounding: Of the factors of every product, there and back; None for none.
    """
    table, start, x = _arrays(weights), _arrays(state), np.asarray(x, dtype=np.float64)
    run = _Run(cell, table, _arrays(masks or {}), rounding)
    run.columns = _columns(cell, x.shape[2], table, start)
    rows = x.shape[0]
    counts = [x.shape[1]] * rows if lengths is None else [int(n) for n in lengths]
    steps: list[list[Values]] = []
    order = [list(range(n))[::-1] if reverse else list(range(n)) for n in counts]
    for row in range(rows):
        before = {s: start[s][row] for s in cell.states}
        steps.append([])
        for time, place in enumerate(order[row]):
            values = run.step(row, time, x[row, place], before)
            before = {s: values[s] for s in cell.states}
            steps[row].append(values)
    width = len(steps[0][0][cell.output])
    y = np.zeros((rows, x.shape[1], width))
    for row in range(rows):
        for place, values in zip(order[row], steps[row], strict=True):
            y[row, place] = values[cell.output]
    final = {s: np.stack([steps[row][-1][s] for row in range(rows)]) for s in cell.states}
    return Trace(run, y, final, steps, order)


def backward(trace: Trace, d_y: Array, d_final: Mapping[str, Array], x_shape: tuple[int, ...]) -> Gradients:
    """Run the derived backward over a trace.

    Args:
        trace: What `forward` returned.
        d_y: Derivative of the loss with respect to the outputs, (B, T, O).
        d_final: The same for the final states, (B, S).
        x_shape: (B, T, I).
    """
    run, schedule = trace.run, trace.run.schedule
    d_x = np.zeros(x_shape)
    d_weights = {name: np.zeros_like(weight) for name, weight in run.weights.items()}
    d_state = {s: np.array(d_final[s], dtype=np.float64) for s in schedule.states}
    for row, steps in enumerate(trace.steps):
        d_after = {s: d_state[s][row].copy() for s in schedule.states}
        for place, forward_values in zip(trace.order[row][::-1], steps[::-1], strict=True):
            values = dict(forward_values)
            incoming = {**d_after}
            incoming[schedule.output] = incoming.get(schedule.output, 0.0) + d_y[row, place]
            values.update({schedule.derivative(name): value for name, value in incoming.items()})
            run.fill(values, schedule.backward)
            _accumulate(run, values, d_weights)
            results = schedule.results
            d_x[row, place] = values[results[schedule.input]] if schedule.input in results else 0.0
            for s in schedule.states:
                leaf = f"{s}<t-1>"
                d_after[s] = np.asarray(values[results[leaf]]) if leaf in results else np.zeros_like(d_after[s])
        for s in schedule.states:
            d_state[s][row] = d_after[s]
    return Gradients(d_weights, d_x, d_state)


def _accumulate(run: _Run, values: Values, d_weights: dict[str, Array]) -> None:
    for a in run.schedule.accumulations:
        if a.block is None or a.operand is None:
            d_value = values[a.d_value]
            d_weights[a.parameter] += run.rounding(d_value) if a.d_value in run.factors else d_value
        else:
            operand = values[a.operand] if a.operand in values else run.weights[a.operand]
            d_value = values[a.d_value] if a.d_value in values else run.weights[a.d_value]
            d_weights[a.parameter][:, run.columns[a.parameter, a.block.index]] += np.outer(
                run.rounding(d_value), run.rounding(operand)
            )


class _Function(torch.autograd.Function):
    """The reference engine as one node of torch's graph; its backward is the derived one."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> Any:
        named = dict(zip(call.names, (t.detach().double().cpu().numpy() for t in tensors), strict=True))
        weights = {n[2:]: v for n, v in named.items() if n.startswith("w:")}
        state = {n[2:]: v for n, v in named.items() if n.startswith("s:")}
        trace = forward(call.cell, weights, named["x"], call.lengths, state, call.masks, call.reverse, call.rounding)
        ctx.call, ctx.trace, ctx.like = call, trace, tensors
        x = tensors[0]
        outputs = [trace.y, *(trace.final[s] for s in call.cell.states)]
        return tuple(torch.as_tensor(value).to(x.device, x.dtype) for value in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        call = ctx.call
        d_y, *d_final = (g.detach().double().cpu().numpy() for g in gradients)
        states = dict(zip(call.cell.states, d_final, strict=True))
        found = backward(ctx.trace, d_y, states, tuple(ctx.like[0].shape))
        table = {
            "x": found.x,
            **{f"w:{n}": v for n, v in found.weights.items()},
            **{f"s:{n}": v for n, v in found.state.items()},
        }
        return (
            None,
            *(torch.as_tensor(table[n]).to(t.device, t.dtype) for n, t in zip(call.names, ctx.like, strict=True)),
        )


@dataclass
class _Call:
    cell: Cell
    names: list[str]
    lengths: list[int] | None
    masks: dict[str, Array]
    reverse: bool
    rounding: Rounding | None


class ReferenceEngine:
    """Engine "reference": a plain loop in float64 whatever the type of the tensors; slow, and right by construction.

    Args:
        precision: Of the factors of products: "float32", for what they are, or "bf16", for the nearest numbers of it.
    """

    def __init__(self, precision: str = "float32") -> None:
        self._rounding = to_bf16 if precision == "bf16" else None
        self.name = "reference" if precision == "float32" else f"reference-{precision}"

    def run(
        self,
        cell: Cell,
        weights: Mapping[str, Tensor],
        x: Tensor,
        lengths: Tensor | None,
        state: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        reverse: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a cell; see elman.engines.Engine."""
        names = ["x", *(f"w:{n}" for n in weights), *(f"s:{n}" for n in cell.states)]
        tensors = [x, *weights.values(), *(state[s] for s in cell.states)]
        arrays = {name: mask.detach().double().cpu().numpy() for name, mask in masks.items()}
        counts = None if lengths is None else [int(n) for n in lengths]
        y, *final = _Function.apply(_Call(cell, names, counts, arrays, reverse, self._rounding), *tensors)  # type: ignore[no-untyped-call]
        return y, dict(zip(cell.states, final, strict=True))
