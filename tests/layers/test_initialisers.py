"""First values against their definitions, block by block, and the bias of forget gates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import elman
from elman.equations import Cell
from elman.errors import UsageError
from elman.layers.forget_gates import forget_biases
from elman.layers.initialisers import INITIALISERS

RNN = Cell("h = tanh(W [h<t-1>, x] + b)")
IDENTITY = torch.eye


def weights(
    cell: Cell | str = "rnn", input_size: int = 6, hidden_size: int = 8, **options: object
) -> dict[str, Tensor]:
    layer = elman.Recurrent(cell, input_size, hidden_size, seed=0, **options)
    return {name: value.detach() for name, value in layer.weights.items()}


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (8, 3), (3, 8)])
def test_orthogonal_columns_or_rows(rows: int, columns: int) -> None:
    q = weights("rnn", columns, rows, init={"W_x": "orthogonal"})["W_x"]
    gram = q.T @ q if rows >= columns else q @ q.T
    torch.testing.assert_close(gram, IDENTITY(min(rows, columns)), atol=1e-6, rtol=0)


def test_orthogonal_is_uniform_over_rotations_and_reflections() -> None:
    """A QR without the sign of R's diagonal would fix the sign of entries: their mean over seeds must vanish."""
    found = torch.stack([elman.Recurrent("rnn", 2, 3, seed=n).weights["W_h"].detach() for n in range(300)])
    assert found.mean(0).abs().max() < 5 * math.sqrt(1 / 3 / 300)
    torch.testing.assert_close(found.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.1, rtol=0)


def test_identity_glorot_uniform_and_constants() -> None:
    init = {"W_h": "identity", "W_x": "glorot", "b": -0.5}
    found = weights("rnn", 60, 80, init=init)
    assert torch.equal(found["W_h"], IDENTITY(80)) and torch.equal(found["b"], torch.full((80,), -0.5))
    bound = math.sqrt(6 / 140)
    assert 0.98 * bound < found["W_x"].abs().max() <= bound
    torch.testing.assert_close(found["W_x"].var().item(), bound**2 / 3, rtol=0.05, atol=0)
    found = weights("rnn", 60, 80, init={"W_h": "uniform", "W_x": "uniform:0.02", "b": "ones"})
    assert 0.98 / math.sqrt(80) < found["W_h"].abs().max() <= 1 / math.sqrt(80)
    assert 0.0196 < found["W_x"].abs().max() <= 0.02 and found["W_x"].min() < 0
    assert torch.equal(found["b"], torch.ones(80))
    assert not weights("rnn", init={"W_h": "zeros"})["W_h"].any()


def test_usual_values_block_by_block() -> None:
    """Columns over a state are orthogonal, columns over the input Glorot with their own sizes, biases zero."""
    found = weights(RNN, input_size=50, hidden_size=40)
    state, x = found["W"].split([40, 50], dim=1)
    torch.testing.assert_close(state @ state.T, IDENTITY(40), atol=1e-5, rtol=0)
    bound = math.sqrt(6 / 90)
    assert 0.98 * bound < x.abs().max() <= bound
    assert not found["b"].any()


def test_identity_fills_each_block() -> None:
    found = weights(RNN, input_size=8, hidden_size=8, init={"W": "identity"})["W"]
    assert torch.equal(found, torch.cat([IDENTITY(8), IDENTITY(8)], 1))


def test_irnn_by_its_cell() -> None:
    assert torch.equal(weights("rnn_relu")["W_h"], IDENTITY(8))
    assert not torch.equal(weights("rnn_relu", init={"W_h": "glorot"})["W_h"], IDENTITY(8)), "the layer's choice counts"


def test_star_is_for_what_is_not_named() -> None:
    found = weights("lstm", init={"*": "uniform:0.1", "b_o": 2.0})
    assert found["b_o"].eq(2).all()
    assert all(0 < v.abs().max() <= 0.1 for n, v in found.items() if n != "b_o")
    found = weights("lstm", init={"*": "orthogonal"})
    assert found["b_f"].eq(1).all() and not found["b_i"].any(), "vectors keep the cell's own values"
    x = found["W_i"][:, 8:]
    torch.testing.assert_close(x.T @ x, IDENTITY(6), atol=1e-6, rtol=0)


def test_values_are_a_function_of_the_seed() -> None:
    same = [elman.Recurrent("gru", 3, 4, seed=5) for _ in range(2)]
    torch.manual_seed(1)
    other, free = elman.Recurrent("gru", 3, 4, seed=6), elman.Recurrent("gru", 3, 4)
    torch.manual_seed(1)
    again = elman.Recurrent("gru", 3, 4)
    assert torch.equal(same[0].weights["W_r"], same[1].weights["W_r"])
    assert not torch.equal(same[0].weights["W_r"], other.weights["W_r"])
    assert torch.equal(free.weights["W_r"], again.weights["W_r"]), "without a seed torch.manual_seed counts"
    layers = elman.Stack.of("gru", 4, 4, layers=2, bidirectional=False, seed=5).layers
    assert not torch.equal(layers[0].weights["W_r"], layers[1].weights["W_r"])
    both = elman.Bidirectional.of("gru", 4, 4, seed=5)
    assert not torch.equal(both.forward_layer.weights["W_r"], both.backward_layer.weights["W_r"])


def test_seeded_values_leave_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    elman.Recurrent("gru", 3, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"W_q": "zeros"}, "init: must name parameters of 'gru': W_u, b_u, W_r, b_r, W_c, b_c; got 'W_q'"),
        ({"W_r": "orthogonl"}, "init['W_r']: must be a finite number, 'uniform:BOUND' or one of orthogonal, glorot, "
         "uniform, identity, zeros, ones; got 'orthogonl'; did you mean 'orthogonal'?"),
        ({"W_r": "uniform:wide"}, "init['W_r']: must be a finite number, 'uniform:BOUND' or one of"),
        ({"W_r": math.nan}, "one of orthogonal, glorot, uniform, identity, zeros, ones; got nan"),
        ({"W_r": 1e300}, "got 1e+300\n\nhint: numbers must be such that float32 holds them"),
        ({"W_r": 10**400}, "init['W_r']: must be a finite number"),
        ({"*": "uniform:-1"}, "init['*']: must be a finite number, 'uniform:BOUND'"),
        ({"*": "uniform:1e39"}, "hint: numbers must be such that float32 holds them, a bound at least 0"),
        ({"*": "orthogonall"}, "init['*']: must be a finite number"),
        ({"b_r": "orthogonal"}, "init['b_r']: 'orthogonal' is for matrices; this parameter is a vector"),
        ({"b_r": "identity"}, "init['b_r']: 'identity' is for matrices; this parameter is a vector"),
    ],
)  # fmt: skip
def test_errors(init: dict[str, str | float], message: str) -> None:
    with pytest.raises(UsageError) as error:
        weights("gru", init=init)
    assert message in str(error.value)


def test_initialisers_of_a_cell_are_checked_too() -> None:
    with pytest.raises(UsageError, match=r"bad: init\['W_h'\]: must be a finite number"):
        weights(Cell("h = tanh(W_h h<t-1> + W_x x)", name="bad", init={"W_h": "orthogonaly"}))


def test_every_initialiser_fills_everything() -> None:
    for name in INITIALISERS:
        init = {"*": name}
        assert all(torch.isfinite(v).all() for v in weights("gru", init=init).values())


@pytest.mark.parametrize(
    ("name", "signs"),
    [
        ("lstm", {"b_f": 1.0}),
        ("lstm_notes", {"b_f": 1.0}),
        ("mgu", {"b_f": -1.0}),
        ("gru", {"b_u": -1.0}),
        ("gru_reset_after", {"b_z": 1.0}),
        ("janet", {"b_f": 1.0}),
        ("rnn", {}),
        ("gru_no_update", {}),
    ],
)
def test_forget_gates_are_found_by_what_they_do(name: str, signs: dict[str, float]) -> None:
    assert forget_biases(elman.cells[name]) == signs


@pytest.mark.parametrize(
    ("update", "signs"),
    [
        ("h<t-1> * u + c", {"b": 1.0}),
        ("c + (1 - u) * h<t-1>", {"b": -1.0}),
        ("h<t-1> * (1 - u) + c", {"b": -1.0}),
        ("(1 + u) * h<t-1> + c", {}),
        ("(2 - u) * h<t-1> + c", {}),
        ("u * c", {}),
    ],
)
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid", "tanh"])
def test_a_gate_is_one_in_any_order_of_its_factors(update: str, gate: str, signs: dict[str, float]) -> None:
    cell = Cell(f"u = {gate}(W [h<t-1>, x] + b)\nc = tanh(V x + b_c)\nh = {update}")
    assert forget_biases(cell) == ({} if gate == "tanh" else signs)


@pytest.mark.parametrize("name", ["lstm", "mgu", "gru", "gru_reset_after", "min_gru", "sru", "ugrnn"])
def test_a_greater_forget_bias_is_a_longer_memory(name: str) -> None:
    """The state that is left of a large one after 20 steps without input grows with the bias, in every cell."""
    left = []
    for bias in (-2.0, 0.0, 2.0, 4.0):
        layer = elman.Recurrent(name, 3, 4, forget_bias=bias, init={"*": 0.0}, seed=0)
        state = layer.initial_state(1).map(lambda value: value + 1)
        _, after = layer(torch.zeros(1, 20, 3), state=state)
        left.append(after[layer.cell.states[0]].abs().mean().item())
    assert left == sorted(left) and left[-1] > 0.5 > 1e-2 > left[0]


def test_forget_bias_errors() -> None:
    with pytest.raises(UsageError) as error:
        elman.Recurrent("rnn", 3, 4, forget_bias=1.0)
    assert str(error.value) == (
        "forget_bias: must have a gate with a bias that multiplies a state; the cell 'rnn' has none, only W_h, W_x, b"
        "\n\n"
        "hint: set the parameter you mean by init={'b_...': 1.0}"
    )
    for bias in (1e300, math.nan):
        with pytest.raises(UsageError, match="forget_bias: must be a finite number, as float32 holds it; got"):
            elman.Recurrent("lstm", 3, 4, forget_bias=bias)
    with pytest.raises(UsageError, match="forget_bias: must be left out where init sets b_f; it has no effect"):
        elman.Recurrent("lstm", 3, 4, forget_bias=1.0, init={"b_f": 2.0})
