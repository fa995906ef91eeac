"""The schedule of a cell as lines with sizes: products with what their sums start from, and pointwise operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from elman.equations import Cell, Operation
from elman.plans.numpy_functions import FUNCTIONS

PRODUCT = "product"
ROW_FUNCTIONS = ("layer_norm", "layer_norm_backward")
"""Operations over whole rows; everything else that is no product acts on each component alone."""

CHEAP = ("add", "sub", "mul", "neg", "copy")
"""Operations that cost less to do again than to keep."""


@dataclass(frozen=True)
class Term:
    """One product of a sum: operand @ columns of a matrix.

    Args:
        operand: Name of what is multiplied.
        depth: Its length.
        matrix: Name of the matrix.
        first_column: Where the columns begin.
        transposed: Multiply with the columns themselves, not with their transpose.
    """

    operand: str
    depth: int
    matrix: str
    first_column: int
    transposed: bool


@dataclass(frozen=True)
class Line:
    """One operation: target = function(arguments), of `width` components.

    Args:
        target: Name of the value; "" for what only moves a value out.
        function: "product", or a name that the engine knows.
        arguments: Names of values; for a product what its sum starts from, if anything.
        width: Components.
        terms: Of a product.
        number: Which state or mask a moving operation means.
        after: Names whose readers must come first: the value overwrites what they read.
    """

    target: str
    function: str
    arguments: tuple[str, ...]
    width: int
    terms: tuple[Term, ...] = ()
    number: int = 0
    after: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """All names that the line reads."""
        return (*self.arguments, *(t.operand for t in self.terms))


@dataclass
class Lines:
    """A cell at sizes.

    Args:
        hoisted: Done for all steps before the loop.
        step: One step.
        back: One step of the way back.
        after: Done for all steps after the way back: what leads to the input.
        widths: Components of every value, leaves included.
        numbers: Values that are numbers.
    """

    hoisted: list[Line]
    step: list[Line]
    back: list[Line]
    after: list[Line]
    widths: dict[str, int]
    numbers: dict[str, float] = field(default_factory=dict)


def carry(state: str) -> str:
    """Name of the derivative of a state that walks back through time."""
    return f"%carry {state}"


def before(state: str) -> str:
    """Name of a state before the step."""
    return f"{state}<t-1>"


def rounded(name: str) -> str:
    """Name of a value rounded to bfloat16, as products of that precision read it."""
    return f"%bf16 {name}"


def in_rows(parameter: str) -> str:
    """Name of a vector parameter copied to every row, for what reads whole rows."""
    return f"%rows {parameter}"


def is_rounded(name: str) -> bool:
    """Say whether a name is of a value rounded to bfloat16."""
    return name.startswith("%bf16 ")


class _Reader:
    """Turns operations of a schedule into lines, with widths from the shapes of the parameters."""

    def __init__(self, cell: Cell, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]) -> None:
        self.cell, self.shapes, self.sizes = cell, shapes, sizes
        self.widths: dict[str, int] = {n: s[0] for n, s in shapes.items() if len(s) == 1}
        self.numbers: dict[str, float] = {}

    def columns(self, op: Operation) -> tuple[int, int]:
        """First column and number of columns of the block that a product uses."""
        if op.block is None:
            raise AssertionError("a product has a block")
        blocks = self.cell.parameter_blocks(op.block.matrix)
        if len(blocks) == 1:
            return 0, self.shapes[op.block.matrix][1]
        widths = [self.sizes[b.size] for b in blocks]
        return sum(widths[: op.block.index]), widths[op.block.index]

    def read(self, operations: Iterable[Operation]) -> list[Line]:
        return [line for op in operations if (line := self.line(op)) is not None]

    def line(self, op: Operation) -> Line | None:
        if op.function == "number":
            self.numbers[op.target] = float(op.value or 0.0)
            return None
        if op.arguments and all(a in self.numbers for a in op.arguments) and not op.is_product:
            value = FUNCTIONS[op.function](*(np.float64(self.numbers[a]) for a in op.arguments))
            self.numbers[op.target] = float(value)
            return None
        if op.block is not None:
            first, count = self.columns(op)
            rows = self.shapes[op.block.matrix][0]
            transposed = op.function == "product_transposed"
            width, depth = (count, rows) if transposed else (rows, count)
            self.widths[op.target] = width
            term = Term(op.arguments[0], depth, op.block.matrix, first, transposed)
            return Line(op.target, PRODUCT, (), width, (term,))
        width = max(self.widths[a] for a in op.arguments if a not in self.numbers)
        self.widths[op.target] = width
        return Line(op.target, op.function, op.arguments, width)


def read(
    cell: Cell, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int], widths: Mapping[str, int], keep: bool
) -> Lines:
    """Return the lines of a cell.

    Args:
        cell: The cell, with its masks.
        shapes: Shapes of the parameters.
        sizes: Value of every size symbol.
        widths: Components of the input, the states and the masks, by name.
        keep: With the way back.
    """
    reader = _Reader(cell, shapes, sizes)
    reader.widths |= {cell.input: widths[cell.input], **{m: widths[m] for m in cell.masks}}
    reader.widths |= {before(s): widths[s] for s in cell.states}
    schedule = cell.schedule
    hoisted = [Line(cell.input, "load_x", (), widths[cell.input])]
    hoisted += [Line(m, "load_mask", (), widths[m], number=n) for n, m in enumerate(cell.masks)]
    hoisted += reader.read(schedule.hoisted)
    step = reader.read(schedule.step)
    step += [Line("", "store_next", (s,), widths[s], number=n) for n, s in enumerate(cell.states)]
    step += [Line("", "store_y", (cell.output,), reader.widths.get(cell.output, 0))]
    lines = Lines(hoisted, step, [], [], reader.widths, reader.numbers)
    if keep:
        _read_back(cell, reader, lines, widths)
    return lines


def _read_back(cell: Cell, reader: _Reader, lines: Lines, widths: Mapping[str, int]) -> None:
    schedule, output = cell.schedule, cell.output
    arriving = []
    for s in cell.states:
        reader.widths[carry(s)] = widths[s]
        if s != output:
            reader.widths[schedule.derivative(s)] = widths[s]
            arriving.append(Line(schedule.derivative(s), "copy", (carry(s),), widths[s]))
    width = reader.widths[output]
    if output in cell.states:
        arriving.append(Line("%dy", "load_dy", (), width))
        arriving.append(Line(schedule.derivative(output), "add", (carry(output), "%dy"), width))
        reader.widths["%dy"] = width
    else:
        arriving.append(Line(schedule.derivative(output), "load_dy", (), width))
    reader.widths[schedule.derivative(output)] = width
    lines.back = arriving + reader.read(schedule.backward_in_loop)
    for s in cell.states:
        found = schedule.results.get(before(s))
        if found is None:
            found = "%zero"
            lines.numbers[found] = 0.0
        lines.back.append(Line(carry(s), "copy", (found,), widths[s], after=(carry(s),)))
    lines.after = reader.read(schedule.backward_after_loop)
    found = schedule.results.get(cell.input)
    if found is not None:
        lines.after.append(Line("", "store_dx", (found,), widths[cell.input]))


def copy_to_rows(lines: Lines, vectors: Sequence[str]) -> None:
    """Copy to rows the vector parameters that products and row operations read: they take whole rows.

    Args:
        lines: Of a cell; changed in place.
        vectors: Names of the vector parameters.
    """
    names = {vector: in_rows(vector) for vector in vectors}
    wanted: set[str] = set()
    for part in (lines.hoisted, lines.step, lines.back, lines.after):
        for n, line in enumerate(part):
            if line.terms or line.function in ROW_FUNCTIONS:
                wanted |= set(line.reads)
                part[n] = renamed(line, names)
    copied = [vector for vector in vectors if vector in wanted]
    lines.widths |= {names[vector]: lines.widths[vector] for vector in copied}
    lines.hoisted[:0] = [Line(names[vector], "copy", (vector,), lines.widths[vector]) for vector in copied]


def uses(*parts: Sequence[Line], also: Iterable[str] = ()) -> Counter[str]:
    """Count the readers of every name."""
    return Counter([name for part in parts for line in part for name in line.reads] + list(also))


def renamed(line: Line, names: Mapping[str, str]) -> Line:
    """Return a line with its names replaced."""
    return replace(
        line,
        target=names.get(line.target, line.target),
        arguments=tuple(names.get(a, a) for a in line.arguments),
        terms=tuple(replace(t, operand=names.get(t.operand, t.operand)) for t in line.terms),
    )
