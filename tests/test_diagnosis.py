"""Diagnosis against cells whose gradients, gates and spectra are known in closed form, and against torch.nn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import elman
from elman.diagnosis import diagnose, diagnose_cell, find_nonfinite
from elman.diagnosis.diagnose import diagnose_inputs
from elman.errors import UsageError
from tests.cases import STRANGE

LINEAR = elman.Cell("h = W_h h<t-1> + W_x x", name="linear")


def assign(layer, **weights):
    with torch.no_grad():
        for name, value in weights.items():
            layer.weights[name].copy_(torch.as_tensor(value, dtype=layer.weights[name].dtype))
    return layer


def linear(factor: float, size: int = 6):
    """A cell without squashing whose every step scales the gradient by `factor`: a multiple of a random rotation."""
    rotation = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(0)).double()).Q
    return assign(elman.Recurrent(LINEAR, input_size=2, hidden_size=size, seed=0).double(), W_h=factor * rotation)


@pytest.mark.parametrize(("factor", "trend"), [(0.9, "vanishing"), (1.0, "steady"), (1.1, "exploding")])
def test_linear_cell_scales_the_gradient_by_its_factor_at_every_lag(factor, trend):
    layer = diagnose(linear(factor), steps=80).layers[0]
    assert layer.relative == pytest.approx([factor**lag for lag in range(80)], rel=1e-9)
    assert layer.factor == pytest.approx(factor, rel=1e-9)
    assert layer.trend == trend
    assert layer.recurrences[0].radius == pytest.approx(factor, rel=1e-6)


def test_effective_memory_is_the_largest_lag_above_the_fraction():
    assert diagnose(linear(0.9), steps=80).effective_memory == math.floor(math.log(0.01) / math.log(0.9))
    assert diagnose(linear(0.9), steps=80, fraction=0.5).effective_memory == 6  # 0.9^6 = 0.53, 0.9^7 = 0.48
    assert diagnose(linear(1.0), steps=80).effective_memory == 79


def test_gradient_by_lag_agrees_with_autograd_through_torch_lstm():
    layer = elman.Recurrent("lstm", input_size=3, hidden_size=5, seed=1).double()
    cell = torch.nn.LSTMCell(3, 5).double()
    order = {"W_i": 0, "W_f": 1, "W_g": 2, "W_o": 3}
    with torch.no_grad():
        for name, place in order.items():
            rows = slice(5 * place, 5 * place + 5)
            matrix = layer.weights[name]
            cell.weight_hh[rows], cell.weight_ih[rows] = matrix[:, :5], matrix[:, 5:]
            cell.bias_ih[rows], cell.bias_hh[rows] = layer.weights["b" + name[1:]], 0.0
    x = torch.randn(2, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    h = c = torch.zeros(2, 5, dtype=torch.float64)
    states = []
    for x_t in x.unbind(1):
        h, c = cell(x_t, (h, c))
        states.append((h, c))
    h.sum().backward(inputs=[s for pair in states for s in pair])
    norms = torch.stack([(a.grad.square() + b.grad.square()).sum(1).sqrt() for a, b in states[::-1]], dim=1)
    expected = (norms / norms[:, :1]).median(dim=0).values

    options = {"fraction": 0.01, "seed": 0, "title": "", "data": ""}
    found = diagnose_inputs(layer, [x], loss=lambda y: y[:, -1].sum(), **options).layers[0]
    assert found.relative == pytest.approx(expected.tolist(), rel=1e-9)


def test_time_constant_of_an_elementwise_recurrence_follows_its_weight():
    cell = elman.Cell("h = w_h * h<t-1> + W_x x")
    layer = assign(elman.Recurrent(cell, input_size=2, hidden_size=3, seed=0), w_h=[0.5, 0.9, 1.0])
    constants = diagnose(layer, steps=10).layers[0].time_constants[0]
    assert constants.state == "h"
    assert constants.quantiles[0] == pytest.approx(-1 / math.log(0.5), rel=1e-5)
    assert constants.median == pytest.approx(-1 / math.log(0.9), rel=1e-5)
    assert constants.quantiles[4] == math.inf


def test_time_constant_of_a_gru_is_that_of_its_update_gate():
    layer = elman.Recurrent("gru", input_size=2, hidden_size=4, seed=0)
    zeros = {name: torch.zeros_like(weight) for name, weight in layer.weights.items()}
    assign(layer, **{**zeros, "b_u": torch.full((4,), -math.log(99))})  # u = 1/100, f = 99/100 at every step
    found = diagnose(layer, steps=5).layers[0]
    assert found.time_constants[0].median == pytest.approx(-1 / math.log(0.99), rel=1e-5)
    assert found.time_constants[0].factor == pytest.approx(0.99, rel=1e-6)


def test_plain_rnn_has_no_direct_path():
    assert diagnose_cell("rnn", input_size=2, hidden_size=4, steps=5).layers[0].time_constants == ()


def test_saturation_counts_closed_and_open_gates():
    layer = elman.Recurrent("gru", input_size=2, hidden_size=4, seed=0)
    zeros = {name: torch.zeros_like(weight) for name, weight in layer.weights.items()}
    assign(layer, **{**zeros, "b_u": [-9.0, -9.0, 0.0, 9.0]})
    gates = {gate.name: gate for gate in diagnose(layer, steps=5).layers[0].gates}
    assert (gates["u"].low, gates["u"].high) == (0.5, 0.25)
    assert (gates["r"].low, gates["r"].high, gates["r"].mean) == (0.0, 0.0, 0.5)


def test_spectral_radius_is_the_largest_eigenvalue_of_the_columns_that_read_the_state():
    cell = elman.Cell("a = tanh(W_a [a<t-1>, x] + b_a)")
    layer = elman.Recurrent(cell, input_size=3, hidden_size=2, seed=0)
    assign(layer, W_a=[[0.5, 7.0, 1.0, 1.0, 1.0], [0.0, -0.8, 1.0, 1.0, 1.0]])  # triangular: eigenvalues 0.5 and -0.8
    found = diagnose(layer, steps=5).layers[0].recurrences
    assert [item.matrix for item in found] == ["W_a"]
    assert found[0].radius == pytest.approx(0.8, rel=1e-6)


def test_every_layer_of_a_stack_is_diagnosed_and_the_module_is_left_alone():
    net = elman.Stack.of("gru", input_size=3, hidden_size=4, layers=2, seed=0)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    found = diagnose(net, steps=12, batches=1)
    assert [layer.name for layer in found.layers] == ["layer 1", "layer 2"]
    assert all(layer.relative[0] == 1.0 and len(layer.relative) == 12 for layer in found.layers)
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())


def test_both_directions_of_a_bidirectional_layer_are_diagnosed():
    found = diagnose(elman.Bidirectional.of("gru", input_size=3, hidden_size=4, seed=0), steps=12, batches=1)
    assert [layer.name for layer in found.layers] == ["layer 1 forward", "layer 1 backward"]
    assert all(layer.at_lag_zero > 0 for layer in found.layers)


def test_a_state_that_is_another_one_of_the_step_before_counts_by_itself():
    cell = elman.Cell("d = h<t-1>\nh = 0.5 * h<t-1> + 0.25 * d<t-1> + U x")
    by_h, by_d, wanted = 1.0, 0.0, []
    for _ in range(6):
        wanted.append(math.hypot(by_h, by_d))
        by_h, by_d = 0.5 * by_h + by_d, 0.25 * by_h
    found = diagnose(elman.Recurrent(cell, input_size=2, hidden_size=1), steps=6).layers[0]
    assert found.relative == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", STRANGE)
def test_strange_cells_can_be_diagnosed(name):
    found = diagnose(elman.Recurrent(STRANGE[name], input_size=3, hidden_size=4, seed=0), steps=6)
    assert found.table() and len(found.layers[0].relative) == 6


def test_every_cell_of_the_catalogue_can_be_diagnosed():
    for name in elman.cells:
        found = diagnose_cell(name, input_size=8, hidden_size=8, steps=6)
        assert found.layers[0].relative[0] == 1.0, name
        assert name in found.table()


def test_report_is_json_table_picture_and_words(tmp_path: Path):
    layer = elman.Recurrent("gru_no_update", input_size=4, hidden_size=8, seed=0)
    found = diagnose(layer, steps=60, batches=1)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(document["layers"][0]["relative"]) == 60
    assert "vanishes" in found.verdict
    assert "spectral radius" in found.table()
    assert found.plot(tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")


def test_exploding_gradient_is_called_so_with_its_remedy():
    assert "explodes" in diagnose(linear(1.2), steps=60).verdict
    assert "Clip the gradient norm" in diagnose(linear(1.2), steps=60).verdict


def test_same_seed_gives_the_same_report_and_another_seed_another():
    first, again = diagnose_cell("gru", 3, 5, 20, seed=4), diagnose_cell("gru", 3, 5, 20, seed=4)
    assert first == again
    assert first != diagnose_cell("gru", 3, 5, 20, seed=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "diagnosis: steps must be at least 2; got 1"),
        ({"batches": 0}, "diagnosis: batches must be at least 1; got 0"),
        ({"fraction": 1.5}, "diagnosis: fraction must lie between 0 and 1; got 1.5"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(UsageError) as error:
        diagnose(linear(1.0), **options)
    assert str(error.value) == message


def test_another_kind_of_module_is_refused():
    with pytest.raises(UsageError, match="must be a Recurrent, Bidirectional or Stack; got Linear"):
        diagnose(torch.nn.Linear(2, 2))


def test_find_nonfinite_returns_none_for_finite_numbers():
    net = elman.Stack.of("lstm", input_size=3, hidden_size=4, layers=2, seed=0)
    assert find_nonfinite(net, torch.randn(2, 9, 3)) is None


def test_find_nonfinite_names_step_layer_equation_and_magnitude_of_an_overflow():
    layer = assign(elman.Recurrent(LINEAR, 1, 1, seed=0), W_h=[[10.0]], W_x=[[1.0]])
    found = find_nonfinite(layer, torch.ones(1, 60, 1))
    assert found is not None
    assert (found.layer, found.step, found.value, found.sequence) == ("layer 1", 39, "inf", 0)  # 1.1e39: past 3.4e38
    assert found.equation.startswith("h")
    assert 1e37 < found.largest < 3.5e38


def test_find_nonfinite_names_a_bad_input():
    x = torch.zeros(3, 8, 2)
    x[1, 5, 0] = math.nan
    found = find_nonfinite(elman.Recurrent("gru", 2, 4, seed=0), x)
    assert found is not None
    assert (found.step, found.name, found.value, found.sequence) == (5, "x", "nan", 1)
    assert str(found).startswith("layer 1, step 5, sequence 1: input x is nan")


def test_find_nonfinite_names_a_bad_parameter_of_an_upper_layer():
    net = elman.Stack.of("gru", input_size=2, hidden_size=4, layers=2, seed=0)
    upper = [layer for layer in net.modules() if isinstance(layer, elman.Recurrent)][1]
    with torch.no_grad():
        upper.weights["W_u"][1, 2] = math.inf
    found = find_nonfinite(net, torch.zeros(1, 4, 2))
    assert found is not None
    assert (found.layer, found.step, found.name, found.value) == ("layer 2", None, "W_u", "inf")
