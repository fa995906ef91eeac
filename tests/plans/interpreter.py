"""Plans of the C++ engine carried out slowly, in float64, with no number in any place before one is written there.

All that is known here of plans is csrc/plan.h. What threads do at once is not imitated, but looked for: see `meetings`.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from elman.equations import Cell
from elman.plans.compile import CARRY, ROUNDED, ROWS, TILE, Compiled, compile_cell
from elman.plans.numpy_functions import FUNCTIONS, Array

NOWHERE = 0
FIELDS = {
    "Operand": "place index",
    "Instruction": "code target a b c number",
    "Factor": "parameter first_column transposed",
    "Group": "operand depth targets starts factors",
    "Pass": "row_operations groups instructions width tiles wait_rows wait",
    "Programme": "before step after",
    "Accumulation": "parameter first_column left right left_width right_width",
    "SlotGroup": "width slots",
    "Slot": "group position",
    "State": "width before rounded",
    "VectorSource": "parameter number width",
}
JOINED: dict[str, Callable[..., Array]] = {
    "mul_add": lambda a, b, c: a * b + c,
    "sub_from": lambda a, b, c: c - a * b,
    "sigmoid_back": lambda d, y: d * y * (1 - y),
    "tanh_back": lambda d, y: d * (1 - y * y),
    "mix": lambda u, a, b: u * a + (1 - u) * b,
}
"""Operations that only plans have."""


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name


RECORDER = SimpleNamespace(**{n: namedtuple(n, f) for n, f in FIELDS.items()}, Plan=SimpleNamespace, CODES=_Names())
"""Takes the place of the native module: what it is asked to make holds what it was given."""


def by_step(values: Array) -> Array:
    """Rows of values (B, T, S), step by step."""
    return values.swapaxes(0, 1).reshape(-1, values.shape[2])


class Interpreter:
    """A cell's plan with its weights.

    Args:
        cell: The cell.
        sizes: I, H and the sizes that the cell declares.
        weights: Parameters by name.
        rounding: Of the factors of products, as of the reference; None for float32.
        keep: With the way back.
    """

    def __init__(
        self,
        cell: Cell,
        sizes: tuple[int, int, Mapping[str, int]],
        weights: Mapping[str, Array],
        rounding: Callable[[Array], Array] | None,
        keep: bool,
    ) -> None:
        widths = {cell.input: sizes[0], **cell.state_sizes(*sizes), **cell.mask_sizes(*sizes)}
        halves = None if rounding is None else lambda width: width
        self.compiled: Compiled = compile_cell(
            RECORDER, cell, cell.parameters(*sizes), cell.check_sizes(*sizes), widths, keep, halves
        )
        self.cell, self.plan, self.rounding = cell, self.compiled.plan, rounding or (lambda values: values)
        self.weights = [weights[name] for name in self.compiled.parameters]

    def forward(
        self, x: Array, start: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """Return y (B, T, O) and final states of x (B, T, I), start (B, S) and masks (B, T, S)."""
        self.batch, self.steps, _ = x.shape
        rows, plan = self.batch * self.steps, self.plan
        widths = [plan.slot_groups[slot.group].width for slot in plan.slots]
        self.slots = [
            np.full((rows + self.batch, width), np.nan) for width in widths
        ]  # one step more, for final states
        self.loaded = {"load_x": [by_step(x)], "load_mask": [by_step(masks[name]) for name in self.cell.masks]}
        self.stored = {"store_y": np.full((rows, plan.output_size), np.nan), "store_dx": np.zeros((rows, x.shape[2]))}
        self.final = {name: np.full_like(start[name], np.nan) for name in self.cell.states}
        for number, name in enumerate(self.cell.states):
            self._enter(number, np.arange(self.batch), start[name])
        self._passes(plan.forward.before, np.arange(rows))
        for step in range(self.steps):
            self._passes(plan.forward.step, self._rows(step))
        return self._by_sequence(self.stored["store_y"]), self.final

    def backward(self, dy: Array, d_final: Mapping[str, Array]) -> tuple[dict[str, Array], Array, dict[str, Array]]:
        """Return the derivatives of parameters, x and start, after `forward`."""
        self.loaded["load_dy"] = [by_step(dy)]
        self.carry = [d_final[name].copy() for name in self.cell.states]
        for step in reversed(range(self.steps)):
            self._passes(self.plan.backward.step, self._rows(step))
        self._passes(self.plan.backward.after, np.arange(self.batch * self.steps))
        found = [np.zeros_like(weight) for weight in self.weights]
        for accumulation in self.plan.accumulations:
            self._accumulate(accumulation, found[accumulation.parameter])
        named = dict(zip(self.compiled.parameters, found, strict=True))
        dx = self._by_sequence(self.stored["store_dx"])
        return named, dx, dict(zip(self.cell.states, self.carry, strict=True))

    def _rows(self, step: int) -> Array:
        return np.arange(step * self.batch, (step + 1) * self.batch)

    def _by_sequence(self, rows: Array) -> Array:
        return rows.reshape(self.steps, self.batch, -1).swapaxes(0, 1)

    def _enter(self, number: int, rows: Array, values: Array) -> None:
        """Put a state where the steps of some rows read it."""
        state = self.plan.states[number]
        for operand, form in ((state.before, values), (state.rounded, self.rounding(values))):
            if operand.place != NOWHERE:
                self.slots[operand.index][rows] = form

    def _accumulate(self, accumulation: Any, to: Array) -> None:
        rows = self.batch * self.steps
        assert accumulation.left.place in (ROWS, ROUNDED), "a factor of a gradient lies in rows"
        left = self.slots[accumulation.left.index][:rows]
        if to.ndim == 1:
            to += left.sum(axis=0)
            return
        assert accumulation.right.place in (ROWS, ROUNDED), "a factor of a gradient lies in rows"
        right, first = self.slots[accumulation.right.index][:rows], accumulation.first_column
        to[:, first : first + accumulation.right_width] += left.T @ right

    def _passes(self, passes: Iterable[Any], rows: Array) -> None:
        for one in passes:
            self.tiles: list[Array | None] = [None] * one.tiles
            for instruction in one.row_operations:
                arguments = [self._read(o, rows, instruction.number) for o in self._arguments(instruction)]
                values = [FUNCTIONS[instruction.code](*row) for row in zip(*arguments, strict=True)]
                self._write(instruction.target, rows, np.stack(values))
            for group in one.groups:
                self._products(group, rows, one.width)
            for instruction in one.instructions:
                self._instruction(instruction, rows, one.width)

    def _products(self, group: Any, rows: Array, width: int) -> None:
        operand = self._read(group.operand, rows, group.depth)
        for target, start, factor in zip(group.targets, group.starts, group.factors, strict=True):
            matrix, first = self.rounding(self.weights[factor.parameter]), factor.first_column
            turned = matrix[:, first : first + width] if factor.transposed else matrix[:, first : first + group.depth].T
            begin = 0.0 if start.place == NOWHERE else self._read(start, rows, width)
            self._write(target, rows, operand @ turned + begin)

    def _instruction(self, instruction: Any, rows: Array, width: int) -> None:
        code, number = instruction.code, instruction.number
        arguments = [self._read(o, rows, width) for o in self._arguments(instruction)]
        if code in self.loaded:
            self._write(instruction.target, rows, self.loaded[code][number][rows])
        elif code in self.stored:
            self.stored[code][rows] = arguments[0]
        elif code == "store_next":
            self._enter(number, rows + self.batch, arguments[0])
            self.final[self.cell.states[number]] = arguments[0].copy()
        elif code == "round":
            self._write(instruction.target, rows, self.rounding(arguments[0]))
        else:
            function = JOINED[code] if code in JOINED else FUNCTIONS[code]
            self._write(instruction.target, rows, np.asarray(function(*arguments)))

    def _arguments(self, instruction: Any) -> list[Any]:
        return [o for o in (instruction.a, instruction.b, instruction.c) if o.place != NOWHERE]

    def _read(self, operand: Any, rows: Array, width: int) -> Array:
        if operand.place in (ROWS, ROUNDED):
            found = self.slots[operand.index][rows]
        elif operand.place == TILE:
            held = self.tiles[operand.index]
            assert held is not None, "a register is written before it is read"
            found = held
        elif operand.place == CARRY:
            found = self.carry[operand.index]
        else:
            source = self.plan.vectors[operand.index]
            vector = np.full(width, source.number) if source.parameter < 0 else self.weights[source.parameter]
            found = np.broadcast_to(vector, (len(rows), width))
        assert found.shape == (len(rows), width), f"{operand} has width {found.shape[1]} in a pass of {width}"
        return found

    def _write(self, operand: Any, rows: Array, values: Array) -> None:
        if operand.place in (ROWS, ROUNDED):
            self.slots[operand.index][rows] = values
        elif operand.place == TILE:
            self.tiles[operand.index] = values
        else:
            assert operand.place == CARRY, f"nothing can be written to {operand}"
            self.carry[operand.index] = values


def meetings(passes: Iterable[Any]) -> list[str]:
    """Return what threads that divide the columns of a step would do to each other, for want of a barrier.

    Products and row operations read whole rows, of which other threads write their columns; row operations write whole
    rows of some sequences. Two such touches of one slot, one of them a writing, need a barrier in between.
    """
    found: list[str] = []
    columns: set[int] = set()
    rows: dict[int, str] = {}
    for one in passes:
        if one.row_operations and one.wait_rows:
            columns, rows = set(), {}
        for instruction in one.row_operations:
            read = {o.index for o in (instruction.a, instruction.b) if o.place in (ROWS, ROUNDED)}
            found += [f"{instruction.code} reads slot {n} while it is written" for n in read & columns]
            rows |= {**dict.fromkeys(read, "read"), instruction.target.index: "written"}
        if one.wait:
            columns, rows = set(), {}
        read = {group.operand.index for group in one.groups}
        found += [f"a product reads slot {n} while it is written" for n in read if n in columns or n in rows]
        rows |= dict.fromkeys(read, "read")
        targets = [t for group in one.groups for t in group.targets] + [i.target for i in one.instructions]
        written = {t.index for t in targets if t.place in (ROWS, ROUNDED)}
        found += [f"slot {n} is written while it is {rows[n]} as a whole" for n in written if n in rows]
        columns |= written
    return found
