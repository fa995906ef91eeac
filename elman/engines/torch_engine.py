"""The torch engine: the schedule of any cell in torch with autograd, on any device and in any floating type.

Products with the input leave the loop as one matrix product over all steps of all sequences; inside the loop, products
that share an operand are one product with their weights joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.engines.ragged import reverse_within, valid_steps, without_padding
from elman.engines.sizes import widths
from elman.equations import Cell, Operation, Schedule
from elman.equations.functions import LAYER_NORM_EPSILON


def _layer_norm(x: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPSILON)


def _layer_norm_backward(x: Tensor, d: Tensor) -> Tensor:
    y = _layer_norm(x)
    spread = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + LAYER_NORM_EPSILON)
    return (d - d.mean(-1, keepdim=True) - y * (d * y).mean(-1, keepdim=True)) / spread


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "copy": lambda x: x,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "min": lambda a, b: torch.where((a < b) | a.isnan(), a, b),  # torch.minimum halves the derivative at a tie
    "max": lambda a, b: torch.where((a > b) | a.isnan(), a, b),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sin": torch.sin,
    "cos": torch.cos,
    "elu": torch.nn.functional.elu,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    # torch.clamp has a derivative where it begins to act, and torch's hardsigmoid a sixth of float32 in float64.
    "hard_sigmoid": lambda x: torch.nn.functional.hardtanh(x / 6 + 0.5, 0.0, 1.0),
    "hard_tanh": torch.nn.functional.hardtanh,
    "layer_norm": _layer_norm,
    "erf": torch.erf,
    "step": lambda x: (x > 0).to(x.dtype),
    "sign": torch.sign,
    "greater": lambda a, b: (a > b).to(a.dtype),
    "layer_norm_backward": _layer_norm_backward,
}
"""Every function of the table on tensors whose last dimension is the vector."""


@dataclass(frozen=True)
class JoinedProduct:
    """Products that share an operand, as one: operand @ weight, split into the targets.

    Args:
        operand: Name of what is multiplied.
        targets: Names of the results, in order.
        weight: (S_in, sum of S_out), already transposed.
        sizes: Width of each result.
    """

    operand: str
    targets: tuple[str, ...]
    weight: Tensor
    sizes: tuple[int, ...]

    def into(self, values: dict[str, Tensor]) -> None:
        """Compute the products and put them into `values`."""
        result = values[self.operand] @ self.weight  # (..., sum of S_out)
        parts = torch.split(result, list(self.sizes), dim=-1) if len(self.sizes) > 1 else (result,)
        values.update(zip(self.targets, parts, strict=True))


class BoundCell:
    """A cell with the weights of the products of its schedule.

    Args:
        cell: The cell.
        weights: Parameters by name.
        sizes: Value of every size symbol.
        like: A tensor of the device and type of the run; a cell may have no parameters.
        join: Multiply with a copy of all weights that share an operand, valid while they do not change; with the
            parameters themselves otherwise, whose changes are seen.
    """

    def __init__(
        self, cell: Cell, weights: Mapping[str, Tensor], sizes: Mapping[str, int], like: Tensor, join: bool = True
    ) -> None:
        self.cell, self.weights, self.sizes, self.join = cell, weights, sizes, join
        schedule: Schedule = cell.schedule
        self.schedule = schedule
        self.numbers = {
            op.target: like.new_tensor(op.value)
            for op in (*schedule.hoisted, *schedule.step)
            if op.function == "number"
        }
        self.vectors = {name: weight for name, weight in weights.items() if weight.dim() == 1}
        self.hoisted = self._phases(schedule.hoisted)
        self.step = self._phases(schedule.step)
        leaving = {*schedule.states, schedule.output}
        self._widths = {op.target: sizes[op.size] for op in schedule.step if op.target in leaving and op.size}

    def _phases(self, operations: Iterable[Operation]) -> list[JoinedProduct | Operation]:
        """Operations in order, with each run of products joined by operand."""
        phases: list[JoinedProduct | Operation] = []
        waiting: list[Operation] = []
        for op in _products_early(tuple(operations)):
            if op.is_product:
                waiting.append(op)
            else:
                phases += self._join(waiting)
                waiting = []
                if op.function != "number":
                    phases.append(op)
        return [*phases, *self._join(waiting)]

    def _join(self, products: Sequence[Operation]) -> list[JoinedProduct | Operation]:
        by_operand: dict[str, list[Operation]] = {}
        for op in products:
            by_operand.setdefault(op.arguments[0] if self.join else op.target, []).append(op)
        joined: list[JoinedProduct | Operation] = []
        for group in by_operand.values():
            parts = [self.matrix(op) for op in group]
            weight = torch.cat(parts) if len(parts) > 1 else parts[0]  # (sum of S_out, S_in)
            targets = tuple(op.target for op in group)
            joined.append(JoinedProduct(group[0].arguments[0], targets, weight.T, tuple(p.shape[0] for p in parts)))
        return joined

    def matrix(self, op: Operation) -> Tensor:
        """The matrix (S_out, S_in) that a product applies."""
        if op.block is None:
            raise AssertionError("a product has a block")
        whole, blocks = self.weights[op.block.matrix], self.cell.parameter_blocks(op.block.matrix)
        if len(blocks) > 1:
            whole = torch.split(whole, [self.sizes[b.size] for b in blocks], dim=1)[op.block.index]
        return whole.T if op.function == "product_transposed" else whole

    def run_step(self, values: dict[str, Tensor], batch: int) -> None:
        """Run the step on `values`: states and output are then rows (B, S), also those made of parameters alone."""
        self.fill(values, self.step)
        for name, width in self._widths.items():
            if values[name].dim() < 2:
                values[name] = values[name].expand(batch, width)  # (B, S)

    def fill(self, values: dict[str, Tensor], phases: Iterable[JoinedProduct | Operation]) -> None:
        """Run a list of phases on `values`."""
        for phase in phases:
            if isinstance(phase, JoinedProduct):
                phase.into(values)
            else:
                values[phase.target] = FUNCTIONS[phase.function](*(values[a] for a in phase.arguments))


def _products_early(operations: tuple[Operation, ...]) -> list[Operation]:
    """Reorder so that products stand together as early as their operands allow."""
    targets = {op.target for op in operations}
    done: set[str] = set()
    waiting, ordered = list(operations), []
    while waiting:
        ready = [op for op in waiting if not (set(op.arguments) & targets) - done]
        take = [op for op in ready if op.is_product] or ready
        ordered += take
        done |= {op.target for op in take}
        waiting = [op for op in waiting if op.target not in done]
    return ordered


class TorchScheduleEngine:
    """Engine "torch-schedule": the schedule of any cell, step by step, differentiated by torch."""

    name = "torch-schedule"

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
        bound = bind(cell, weights, x, state)
        valid = None if lengths is None else valid_steps(lengths, x.shape[1], x.device)  # (B, T)
        if lengths is not None:
            x = without_padding(x, lengths)
        if reverse:
            x = reverse_within(x, lengths)
        y, final = _loop(bound, x, valid, state, masks)
        return (reverse_within(y, lengths) if reverse else y), final


def bind(
    cell: Cell, weights: Mapping[str, Tensor], x: Tensor, state: Mapping[str, Tensor], join: bool = True
) -> BoundCell:
    """Bind the weights of a cell for its schedule; the sizes are those of x (..., I) and of the states (B, S)."""
    return BoundCell(cell, weights, widths(cell, weights, x.shape[-1], state), next(iter(weights.values()), x), join)


def _loop(
    bound: BoundCell,
    x: Tensor,
    valid: Tensor | None,
    state: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    cell, steps = bound.cell, x.shape[1]
    steady: dict[str, Tensor] = {cell.input: x.transpose(0, 1)}  # (T, B, I)
    steady.update({name: mask.transpose(0, 1) for name, mask in masks.items()})  # (1 or T, B, S)
    steady.update(bound.vectors | bound.numbers)
    bound.fill(steady, bound.hoisted)
    read = {a for op in bound.schedule.step for a in op.arguments} | {cell.output}
    timed = {n: v for n, v in steady.items() if v.dim() == 3 and n in read}
    fixed = {n: v[0] if v.dim() == 3 else v for n, v in steady.items() if n in read and (v.dim() < 3 or len(v) == 1)}
    per_step = {n: v.unbind(0) for n, v in timed.items() if n not in fixed or (steps == 1 and len(v) == 1)}
    now = dict(state)
    outputs = []
    for t in range(steps):
        values = {**fixed, **{n: v[t] for n, v in per_step.items()}, **{f"{s}<t-1>": v for s, v in now.items()}}
        bound.run_step(values, x.shape[0])
        outputs.append(values[cell.output])
        now = {s: _kept(values[s], now[s], valid, t) for s in cell.states}
    y = torch.stack(outputs, dim=1)  # (B, T, O)
    return (y if valid is None else torch.where(valid.unsqueeze(2), y, y.new_zeros(()))), now


def _kept(new: Tensor, old: Tensor, valid: Tensor | None, t: int) -> Tensor:
    """The state after step t: a sequence that has ended keeps its last one."""
    return new if valid is None else torch.where(valid[:, t : t + 1], new, old)
