"""What leaves the loop over time, how many products stay in it, and what is counted."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from elman.equations import Cell
from elman.equations.rewrite import variational, zoneout
from elman.errors import EquationError, ShapeError

GRU = "c~ = tanh(W_c [r * c<t-1>, x] + b_c)\nu = sigmoid(W_u [c<t-1>, x] + b_u)\nr = sigmoid(W_r [c<t-1>, x] + b_r)\nc = u * c~ + (1 - u) * c<t-1>"
LSTM = "i = sigmoid(W_i [h<t-1>, x] + b_i)\nf = sigmoid(W_f [h<t-1>, x] + b_f)\ng = tanh(W_g [h<t-1>, x] + b_g)\no = sigmoid(W_o [h<t-1>, x] + b_o)\nc = f * c<t-1> + i * g\nh = o * tanh(c)"
MIN_GRU = "z = sigmoid(W_z x + b_z)\nh~ = W_h x + b_h\nh = (1 - z) * h<t-1> + z * h~"


@pytest.mark.parametrize(("text", "rounds"), [(GRU, [2, 1]), (LSTM, [4]), (MIN_GRU, [0])])
def test_recurrent_products_are_grouped_in_rounds(text: str, rounds: list[int]) -> None:
    schedule = Cell(text).schedule
    assert [len(turn.products) for turn in schedule.rounds] == rounds
    assert schedule.recurrent_products == sum(rounds)


def test_products_of_the_input_and_their_biases_leave_the_loop() -> None:
    schedule = Cell(LSTM).schedule
    assert sum(op.is_product for op in schedule.hoisted) == 4
    assert {"b_i", "b_f", "b_g", "b_o"} <= {a for op in schedule.hoisted for a in op.arguments}
    assert not any(a.startswith("b_") for op in schedule.step for a in op.arguments)


def test_gates_without_a_state_leave_the_loop() -> None:
    schedule = Cell(MIN_GRU).schedule
    assert {"z", "h~"} <= {op.target for op in schedule.hoisted}
    assert all(op.function in ("mul", "add", "sub", "number") for op in schedule.step)


def test_gradients_of_the_input_wait_until_the_loop_is_over() -> None:
    schedule = Cell(GRU).schedule
    late = {op.target for op in schedule.backward_after_loop}
    assert schedule.results["x"] in late
    assert schedule.results["c<t-1>"] not in late
    assert set(schedule.backward) == {*schedule.backward_in_loop, *schedule.backward_after_loop}


def test_operations_are_counted_from_the_equations() -> None:
    counts = Cell("h = tanh(W h<t-1> + U x + b)").flops(3, 4)
    # W h: 2*4*4; U x: 2*4*3; two sums and a tanh on 4 components.
    assert counts["recurrent"] == 32
    assert counts["hoisted"] == 24
    assert counts["pointwise"] == 12
    assert counts["forward"] == 68
    # Two products towards operands, two outer products, and 1 - h*h, d*slope: three operations on 4 components.
    assert counts["backward"] == 2 * (32 + 24) + 12
    assert Cell("h = tanh(W h<t-1> + U x + b)").bytes(3, 4)["parameters"] == 4 * (16 + 12 + 4)


def test_sizes_are_checked_with_names_and_numbers() -> None:
    highway = Cell("h = r * h<t-1> + (1 - r) * x\nr = sigmoid(W x)")
    with pytest.raises(ShapeError, match="input_size must equal hidden_size; got 3 and 4"):
        highway.parameters(3, 4)
    with pytest.raises(ShapeError, match="hidden_size must be a whole number of at least 1; got 0"):
        Cell(LSTM).parameters(3, 0)
    projected = Cell("size: h = P\nc = tanh(W [h<t-1>, x])\nh = V c", output="h")
    with pytest.raises(ShapeError, match="the equations declare the size P"):
        projected.parameters(3, 4)
    with pytest.raises(ShapeError, match="sizes names 'Q', which the equations do not declare"):
        projected.parameters(3, 4, {"P": 2, "Q": 1})


def test_an_input_that_meets_a_declared_size_has_that_size() -> None:
    cell = Cell("size: a = P\na = tanh(x + W h<t-1>)\nh = tanh(U a<t-1> + b)")
    assert cell.parameters(3, 4, {"P": 3}) == {"W": (3, 4), "U": (4, 3), "b": (4,)}
    with pytest.raises(
        ShapeError, match="with a vector of size P elementwise, so input_size must equal P; got 4 and 3"
    ):
        cell.parameters(4, 4, {"P": 3})


def test_zoneout_keeps_the_old_state_by_a_mask() -> None:
    cell = zoneout(Cell(LSTM))
    assert cell.masks == ("zoneout_c", "zoneout_h")
    assert "c<t>  = zoneout_c * c<t-1> + (1 - zoneout_c) * c_new" in cell.plain()
    assert "h_new = o * tanh(c_new)" in cell.plain()
    assert list(cell.parameters(2, 3)) == list(Cell(LSTM).parameters(2, 3))


def test_a_number_made_of_numbers_joins_no_sizes() -> None:
    cell = Cell("size: s = P\ng = 0.5\nk = 2 * g\ns = k * tanh(W x) + s<t-1>\nh = tanh(U s + k * h<t-1>)")
    assert cell.state_sizes(2, 3, {"P": 5}) == {"s": 5, "h": 3}
    assert {cell.size_symbol(name) for name in ("g", "k")} == {None}


@pytest.mark.parametrize("text", ["h = h<t-1> / 0 + W x", "g = 1 - 1\nh = 2 / g * h<t-1> + W x"])
def test_a_divisor_that_is_zero_is_refused(text: str) -> None:
    with pytest.raises(EquationError, match="h: what stands behind / must not be the number 0"):
        Cell(text).parameter_blocks("W")


@pytest.mark.parametrize("probability", [0.3, 1e-07])
def test_zoneout_of_evaluation_has_numbers_for_masks(probability: float) -> None:
    cell = zoneout(Cell(LSTM), probability)
    assert cell.masks == ()
    assert f"c<t>  = {probability} * c<t-1> + (1 - {probability}) * c_new" in cell.plain()


def test_variational_dropout_masks_what_matrices_multiply() -> None:
    cell = variational(Cell(LSTM))
    assert set(cell.masks) == {"drop_h", "drop_input"}
    assert "W_i [drop_h * h<t-1>, drop_input * x]" in cell.plain()
    assert "c<t> = f * c<t-1>" in cell.plain()
    assert cell.mask_sizes(2, 3) == {"drop_h": 3, "drop_input": 2}


def test_cells_compare_by_their_equations_and_survive_pickling() -> None:
    cell = zoneout(Cell(GRU, name="gru", init={"b_u": 1.0}))
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert Cell(GRU) != Cell(LSTM)
    assert len({Cell(GRU), Cell(GRU)}) == 1


def test_init_names_parameters_of_the_cell() -> None:
    with pytest.raises(EquationError, match="init names the parameter 'b_z', which the equations do not have"):
        Cell(GRU, init={"b_z": 1.0})


def test_the_equations_need_no_torch() -> None:
    script = "import sys, elman.equations; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
