"""The sizes of a run, from the shapes of what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman.equations import Cell


def widths(cell: Cell, weights: Mapping[str, Any], input_size: int, state: Mapping[str, Any]) -> dict[str, int]:
    """Return the value of every size symbol that a product needs.

    Args:
        cell: The cell.
        weights: Arrays or tensors by name.
        input_size: I.
        state: Arrays or tensors (B, S) by name.
    """
    found = {"I": input_size}
    for name, value in state.items():
        found.setdefault(cell.size_symbol(name) or "H", value.shape[1])
    for name, weight in weights.items():
        if len(weight.shape) == 1:  # the operand of a product, whose size no state has
            found.setdefault(cell.size_symbol(name) or "H", weight.shape[0])
    for op in (*cell.schedule.hoisted, *cell.schedule.step):
        if op.block is not None and op.function == "product":
            # A value that is no state may have a size of its own: that of the rows of what makes it.
            found.setdefault(op.size or "H", weights[op.block.matrix].shape[0])
    return found
