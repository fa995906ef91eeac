"""What the compiler of plans sees in the equations by itself: loops without products, products that are shared."""

from __future__ import annotations

import pytest

from elman.cells import cells
from elman.equations import Cell
from elman.plans.levels import in_passes
from elman.plans.lines import PRODUCT, ROW_FUNCTIONS, Lines, read
from elman.plans.simplify import simplify


def lines_of(cell: Cell) -> tuple[Lines, set[str]]:
    """The lines of a cell at width 4, way back included, and the factors of its gradients."""
    sizes = cell.check_sizes(4, 4, {})
    kept = {a.d_value for a in cell.schedule.accumulations}
    kept |= {a.operand for a in cell.schedule.accumulations if a.operand}
    widths = {cell.input: 4, **cell.state_sizes(4, 4, {})}
    shapes = {name: tuple(shape) for name, shape in cell.parameters(4, 4, {}).items()}
    return simplify(read(cell, shapes, sizes, widths, True), kept), kept


@pytest.mark.parametrize("name", ["min_gru", "min_lstm", "sru", "indrnn"])
def test_a_loop_without_products_is_one_pass_in_which_nobody_waits(name: str) -> None:
    """A pass waits for products and row operations only, so threads divide its columns and never meet in a step."""
    lines, kept = lines_of(cells[name])
    for part in (lines.step, lines.back):
        assert not [line for line in part if line.function == PRODUCT or line.function in ROW_FUNCTIONS]
        assert len(in_passes(part, kept)) == 1


def test_a_recurrent_product_makes_a_second_pass_on_the_way_back() -> None:
    lines, kept = lines_of(cells["rnn"])
    assert [line.function for line in lines.step].count(PRODUCT) == 1
    assert len(in_passes(lines.back, kept)) == 2


def test_gates_that_share_a_product_of_the_input_share_its_value() -> None:
    cell = Cell("""
    u    = sigmoid(W x + w_u * h<t-1> + b_u)
    r    = tanh(W x + w_r * h<t-1> + b_r)
    h<t> = u * r + (1 - u) * h<t-1>
    """)
    lines, _ = lines_of(cell)
    assert [line.function for line in lines.hoisted].count(PRODUCT) == 1
    assert [line.function for line in lines.step].count(PRODUCT) == 0
