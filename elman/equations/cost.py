"""Counts of floating-point operations and bytes, from the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from elman.equations.program import Operation
from elman.equations.schedule import Schedule
from elman.equations.sizes import Sizes


def _pointwise(operations: Iterable[Operation], table: Mapping[str, int]) -> int:
    return sum(
        table[op.size] for op in operations if op.size is not None and not op.is_product and op.function != "copy"
    )


def flops(forward: Iterable[Operation], schedule: Schedule, table: Mapping[str, int]) -> dict[str, int]:
    """Count the operations of one step of one sequence.

    A product of an (R, C) matrix with a vector counts 2 R C; a pointwise operation counts 1 for each component.

    Returns:
        "hoisted" products (outside the loop over time), "recurrent" products, "pointwise", their sum "forward", and
        "backward": products towards operands, outer products towards parameters, and pointwise operations.
    """
    lines = list(forward)
    recurrent_targets = {op.target for op in schedule.step}
    products = {op.target: _product(op, table, lines) for op in lines if op.is_product}
    recurrent = sum(n for target, n in products.items() if target in recurrent_targets)
    hoisted = sum(products.values()) - recurrent
    pointwise = _pointwise(lines, table)
    back = sum(_product(op, table, [*lines, *schedule.backward]) for op in schedule.backward if op.is_product)
    back += sum(products.values()) + _pointwise(schedule.backward, table)
    return {
        "hoisted": hoisted,
        "recurrent": recurrent,
        "pointwise": pointwise,
        "forward": hoisted + recurrent + pointwise,
        "backward": back,
    }


def _product(op: Operation, table: Mapping[str, int], lines: list[Operation]) -> int:
    if op.block is None or op.size is None:
        return 0
    forward = next(line for line in lines if line.block == op.block)
    rows = forward.size if forward.function == "product" else forward.block.size  # type: ignore[union-attr]
    return 2 * table[rows or "H"] * table[op.block.size]


def bytes_of(
    shapes: Mapping[str, tuple[int, ...]],
    schedule: Schedule,
    table: Mapping[str, int],
    states: Iterable[str],
    sizes: Sizes,
    width: int,
) -> dict[str, int]:
    """Count bytes at `width` bytes a number.

    Returns:
        "parameters", "state" of one sequence, and "saved": values of one step of one sequence that the way back reads.
    """
    count = 0
    for shape in shapes.values():
        size = 1
        for n in shape:
            size *= n
        count += size
    state = sum(table[sizes.of(s) or "H"] for s in states)
    read = {a for op in schedule.backward for a in op.arguments} | {
        a.operand for a in schedule.accumulations if a.operand
    }
    saved = sum(table[op.size] for op in (*schedule.hoisted, *schedule.step) if op.target in read and op.size)
    return {"parameters": count * width, "state": state * width, "saved": saved * width}
