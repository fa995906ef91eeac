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


@pytest.mark.parametrize(
    ("state", "copied"),
    [
        ("s = tanh(W x) + w * s<t-1>", []),  # pointwise operations of the step read it where it arrives
        ("s = layer_norm(W x + V s<t-1>)", ["d_s"]),  # a norm reads rows
        ("s = W x + w * s<t-1>", ["d_s"]),  # so does a product, after the loop
        ("s = V s<t-1> + tanh(x)", ["d_s"]),  # or in it
        ("s = tanh(x) + w * s<t-1>", ["d_s"]),  # the derivative of the input reads it when the loop is through
        ("s = b + w * s<t-1>", ["d_s"]),  # as the gradient of a bias does
        ("s = z<t-1>\nz = s<t-1> + tanh(W x)", ["d_s"]),  # the other state takes it when the state has its next one
    ],
)
def test_the_derivative_of_a_state_is_copied_where_it_must_outlive_the_step(state: str, copied: list[str]) -> None:
    assert copies_of(f"{state}\nh = tanh(W_2 x + R h<t-1> + U s<t-1>)") == copied


def test_the_derivative_of_a_state_that_is_only_held_stays_where_it_is() -> None:
    assert copies_of("s = s<t-1>\nh = tanh(W x + R h<t-1>)") == []


def copies_of(equations: str) -> list[str]:
    """What the way back copies, apart from the derivatives that it hands to the step before."""
    lines, _ = lines_of(Cell(equations))
    return [line.target for line in lines.back if line.function == "copy" and not line.after]
