"""From a cell and its sizes to the plan that the C++ engine executes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elman.equations import Cell
from elman.plans.levels import in_passes
from elman.plans.lines import (
    PRODUCT,
    ROW_FUNCTIONS,
    Line,
    Lines,
    Term,
    before,
    copy_to_rows,
    in_rows,
    is_rounded,
    read,
    rounded,
)
from elman.plans.rounding import round_operands
from elman.plans.simplify import simplify
from elman.plans.storage import assign_slots, assign_tiles, rows_needed

ROWS, TILE, VECTOR, CARRY, ROUNDED = 1, 2, 3, 4, 5
MOST_TARGETS = 4


@dataclass(frozen=True)
class Compiled:
    """A plan with the names that its numbers stand for.

    Args:
        plan: Of the C++ engine.
        parameters: Names in the plan's order.
        shapes: Shape of each.
        gradient_of_x: The input has a derivative.
    """

    plan: Any
    parameters: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    gradient_of_x: bool


class _Places:
    """Turns names into operands of the engine."""

    def __init__(
        self, engine: Any, lines: Lines, slots: Mapping[str, int], states: Sequence[str], vectors: Sequence[str]
    ) -> None:
        self.engine, self.lines, self.slots = engine, lines, slots
        self.states = {f"%carry {s}": n for n, s in enumerate(states)}
        self.parameters = {name: n for n, name in enumerate(vectors)}
        self.vectors: dict[tuple[int, float], int] = {}
        self.sources: list[tuple[int, float, int]] = []
        self.nothing = engine.Operand(0, 0)

    def operand(self, name: str, tiles: Mapping[str, int]) -> Any:
        if name in self.states:
            return self.engine.Operand(CARRY, self.states[name])
        if name in self.slots:
            return self.engine.Operand(ROUNDED if is_rounded(name) else ROWS, self.slots[name])
        if name in tiles:
            return self.engine.Operand(TILE, tiles[name])
        return self.engine.Operand(VECTOR, self._vector(name))

    def stored(self, name: str) -> Any:
        """Where a value lies in rows, if it does."""
        return self.operand(name, {}) if name in self.slots else self.nothing

    def _vector(self, name: str) -> int:
        if name in self.lines.numbers:
            key = (-1, self.lines.numbers[name])
            width = max(self.lines.widths.values())
        else:
            key, width = (self.parameters[name], 0.0), self.lines.widths[name]
        if key not in self.vectors:
            self.vectors[key] = len(self.sources)
            self.sources.append((*key, width))
        return self.vectors[key]


class _Passes:
    """Writes passes for the engine."""

    def __init__(self, places: _Places, parameters: Mapping[str, int]) -> None:
        self.places, self.parameters, self.engine = places, parameters, places.engine

    def passes(self, parts: Sequence[Sequence[Line]], in_rows: Mapping[str, object]) -> list[Any]:
        return [self.one(lines, in_rows) for lines in parts]

    def one(self, lines: Sequence[Line], in_rows: Mapping[str, object]) -> Any:
        over_rows = [line for line in lines if line.function in ROW_FUNCTIONS]
        products = [line for line in lines if line.function == PRODUCT]
        pointwise = [line for line in lines if line not in over_rows and line not in products]
        tiles, count = assign_tiles([*products, *pointwise], in_rows)
        groups = self.groups(products, tiles)
        width = max(line.width for line in lines)
        return self.engine.Pass(
            [self.instruction(replace(line, number=line.width), tiles) for line in over_rows],
            groups,
            [self.instruction(line, tiles) for line in pointwise],
            width,
            count,
            bool(over_rows),
            bool(groups or over_rows),
        )

    def instruction(self, line: Line, tiles: Mapping[str, int]) -> Any:
        operands = [self.places.operand(name, tiles) for name in line.arguments]
        operands += [self.places.nothing] * (3 - len(operands))
        target = self.places.operand(line.target, tiles) if line.target else self.places.nothing
        return self.engine.Instruction(self.engine.CODES[line.function], target, *operands, line.number)

    def groups(self, products: Sequence[Line], tiles: Mapping[str, int]) -> list[Any]:
        """Products with one operand side by side; the terms of a sum one after the other."""
        groups = []
        for n in range(max((len(p.terms) for p in products), default=0)):
            together: dict[tuple[str, int], list[Line]] = {}
            for line in products:
                if n < len(line.terms):
                    together.setdefault((line.terms[n].operand, line.terms[n].depth), []).append(line)
            for (operand, depth), members in together.items():
                for at in range(0, len(members), MOST_TARGETS):
                    groups.append(self.group(operand, depth, members[at : at + MOST_TARGETS], n, tiles))
        return groups

    def group(self, operand: str, depth: int, members: Sequence[Line], n: int, tiles: Mapping[str, int]) -> Any:
        targets = [self.places.operand(m.target, tiles) for m in members]
        starts = [
            targets[i] if n else self.places.operand(m.arguments[0], tiles) if m.arguments else self.places.nothing
            for i, m in enumerate(members)
        ]
        factors = [self.factor(m.terms[n]) for m in members]
        return self.engine.Group(self.places.operand(operand, tiles), depth, targets, starts, factors)

    def factor(self, term: Term) -> Any:
        return self.engine.Factor(self.parameters[term.matrix], term.first_column, term.transposed)


def _by_width(lines: Sequence[Line]) -> list[list[Line]]:
    """Split a pass by the width of its values; they have nothing to say to each other but through rows."""
    widths = dict.fromkeys(line.width for line in lines)
    return [[line for line in lines if line.width == width] for width in widths]


def compile_cell(
    engine: Any,
    cell: Cell,
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int],
    widths: Mapping[str, int],
    keep: bool,
    rounded_floats: Callable[[int], int] | None = None,
) -> Compiled:
    """Compile a cell.

    Args:
        engine: The native module.
        cell: The cell, with its masks.
        shapes: Shapes of the parameters.
        sizes: Value of every size symbol.
        widths: Components of the input, the states and the masks, by name.
        keep: With the way back.
        rounded_floats: Floats that hold so many components of an operand in bfloat16; None for products of float32.
    """
    names = tuple(shapes)
    number = {name: n for n, name in enumerate(names)}
    vectors = [name for name, shape in shapes.items() if len(shape) == 1]
    accumulations = [_of_rows(a, vectors) for a in cell.schedule.accumulations] if keep else []
    factors = {f for a in accumulations if a.operand for f in (a.d_value, a.operand)}
    kept = {a.d_value for a in accumulations} | factors
    lines = read(cell, shapes, sizes, widths, keep)
    copy_to_rows(lines, vectors)
    lines = simplify(lines, kept)
    factor = {name: name for name in kept}
    if rounded_floats:
        lines = round_operands(lines, cell.states, factors)
        factor = {name: rounded(name) if rounded(name) in lines.widths else name for name in kept}
        kept = set(factor.values())
    parts = [in_passes(part, kept) for part in (lines.hoisted, lines.step, lines.back, lines.after)]
    parts = [[w for lines_ in part for w in _by_width(_in_order(lines_))] for part in parts]
    rows = rows_needed(parts, cell.states, sorted(kept))
    slots = assign_slots(rows, lines.widths, rounded_floats)
    places = _Places(engine, lines, slots.slot_of, cell.states, names)
    writer = _Passes(places, number)
    hoisted, step, back, after = (writer.passes(part, rows) for part in parts)

    plan = engine.Plan()
    plan.input_size, plan.output_size = widths[cell.input], lines.widths[cell.output]
    plan.parameter_rows = [shape[0] for shape in shapes.values()]
    plan.parameter_columns = [shape[1] if len(shape) == 2 else 0 for shape in shapes.values()]
    _place_slots(engine, plan, slots.widths)
    plan.states = [
        engine.State(widths[s], *(places.stored(form) for form in (before(s), rounded(before(s))))) for s in cell.states
    ]
    plan.mask_sizes = [widths[m] for m in cell.masks]
    plan.forward = engine.Programme(hoisted, step, [])
    plan.backward = engine.Programme([], back, after)
    plan.accumulations = [
        engine.Accumulation(
            number[a.parameter],
            _first_column(cell, a, sizes),
            places.stored(factor[a.d_value]),
            places.stored(factor[a.operand]) if a.operand else places.nothing,
            lines.widths[a.d_value],
            lines.widths[a.operand] if a.operand else 0,
        )
        for a in accumulations
    ]
    plan.vectors = [engine.VectorSource(*source) for source in places.sources]
    return Compiled(plan, names, tuple(shapes.values()), cell.input in cell.schedule.results)


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """Row operations, then products, operand by operand, then what is pointwise: the order in which a pass runs.

    Places of the workspace are used again by this order, so it must be that of the groups in which products run.
    """
    operands = list(dict.fromkeys(_first_operand(line) for line in lines))

    def place(line: Line) -> tuple[bool, bool, int]:
        return line.function not in ROW_FUNCTIONS, line.function != PRODUCT, operands.index(_first_operand(line))

    return sorted(lines, key=place)


def _first_operand(line: Line) -> tuple[str, int]:
    """What a product multiplies first, by which it shares a group with others; the same for all other lines."""
    return (line.terms[0].operand, line.terms[0].depth) if line.terms else ("", 0)


def _of_rows(accumulation: Any, vectors: Sequence[str]) -> Any:
    """A gradient whose factor, where that is a vector parameter, lies in rows: the left one where W^T multiplies it."""
    left, right = (in_rows(f) if f in vectors else f for f in (accumulation.d_value, accumulation.operand))
    return replace(accumulation, d_value=left, operand=right)


def _first_column(cell: Cell, accumulation: Any, sizes: Mapping[str, int]) -> int:
    if accumulation.block is None:
        return 0
    blocks = cell.parameter_blocks(accumulation.parameter)
    return sum(sizes[b.size] for b in blocks[: accumulation.block.index]) if len(blocks) > 1 else 0


def _place_slots(engine: Any, plan: Any, widths: Sequence[int]) -> None:
    """Slots of one width lie side by side."""
    kinds = list(dict.fromkeys(widths))
    position = dict.fromkeys(kinds, 0)
    slots = []
    for width in widths:
        slots.append(engine.Slot(kinds.index(width), position[width]))
        position[width] += 1
    plan.slots = slots
    plan.slot_groups = [engine.SlotGroup(width, position[width]) for width in kinds]
