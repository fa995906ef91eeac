"""Layers above and beside each other equal what their parts compute; penalties equal their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from elman import Bidirectional, Recurrent, Stack
from elman.errors import UsageError
from elman.layers import activation_penalty
from elman.layers.regularisers import drop
from elman.randomness import drawing

LENGTHS = [3, 6, 1]


def inputs(size: int = 4) -> torch.Tensor:
    return torch.randn(3, 6, size, dtype=torch.float64)


def reversed_within(x: torch.Tensor) -> torch.Tensor:
    """The data turned round by hand, sequence by sequence."""
    turned = torch.zeros_like(x)
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            turned[row, t] = x[row, length - 1 - t]
    return turned


@pytest.mark.parametrize("engine", ["torch", "reference", "torch-schedule"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_bidirectional_equals_two_layers_on_turned_data(name: str, engine: str) -> None:
    both = Bidirectional.of(name, 4, 5, engine=engine, seed=0).double()
    behind = Recurrent(name, 4, 5, engine=engine).double()
    for key, value in both.backward_layer.weights.items():
        behind.weights[key] = value.detach()
    x = inputs()
    y, (after, before) = both(x, LENGTHS)
    ahead_y, ahead = both.forward_layer(x, LENGTHS)
    turned_y, end = behind(reversed_within(x), LENGTHS)
    torch.testing.assert_close(y, torch.cat([ahead_y, reversed_within(turned_y)], 2), atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(dict(after), dict(ahead), atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(dict(before), dict(end), atol=1e-12, rtol=1e-10)
    assert both.output_size == 10 and not y[0, 3:].any()


def test_bidirectional_reads_given_states_per_direction() -> None:
    both = Bidirectional.of("gru", 4, 5, seed=0).double()
    x, start = inputs(), both.initial_state(3).map(lambda value: value + 1)
    y, _ = both(x, LENGTHS, start)
    torch.testing.assert_close(y[..., 5:], both.backward_layer(x, LENGTHS, start[1])[0])
    assert not torch.allclose(y[..., 5:], both(x, LENGTHS)[0][..., 5:])


def test_directions_may_be_of_different_cells_and_sizes() -> None:
    first, second = Recurrent("gru", 4, 5, engine="torch"), Recurrent("lstm", 4, 3, reverse=True, engine="torch")
    both = Bidirectional(first, second)
    y, state = both([torch.randn(2, 4), torch.randn(5, 4)])
    assert y.shape == (2, 5, 8) and state[1].h.shape == (2, 3)
    assert both.engine == "torch-schedule, torch-fused"


TORCH = {
    "rnn": (nn.RNN, {}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru_reset_after": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "lstm_projected": (nn.LSTM, {"proj_size": 3}),
}
# How the catalogue names what torch joins: gates in torch's order, matrices and biases of input and state.
JOINED = {
    "rnn": ([""], "W_x", "W_h", "b", None),
    "rnn_relu": ([""], "W_x", "W_h", "b", None),
    "gru_reset_after": (["r", "z", "n"], "W_", "R_", "b_", "b_h"),
    "lstm": (["i", "f", "g", "o"], "W_", None, "b_", None),
    "lstm_projected": (["i", "f", "g", "o"], "W_", None, "b_", None),
}


def copied(layer: Recurrent, theirs: nn.RNNBase, suffix: str) -> None:
    """Copy a layer's parameters into torch's module, by the names above; W [h, x] has the columns of h first."""
    gates, w_x, w_h, b_x, b_h = JOINED[layer.cell.name]
    own, width = layer.weights, next(reversed(layer.state_sizes.values()))

    def joined(prefix: str, columns: slice | None = None) -> torch.Tensor:
        parts = [own[prefix + gate].detach() for gate in gates]
        return torch.cat([part if columns is None else part[:, columns] for part in parts])

    values = {
        "weight_ih": joined(w_x) if w_h else joined(w_x, slice(width, None)),
        "weight_hh": joined(w_h) if w_h else joined(w_x, slice(0, width)),
        "bias_ih": joined(b_x),
        "bias_hh": joined(b_h) if b_h else torch.zeros_like(joined(b_x)),
    }
    if layer.sizes:
        values["weight_hr"] = own["V_h"].detach()
    with torch.no_grad():
        for name, value in values.items():
            theirs.get_parameter(f"{name}_{suffix}").copy_(value)


@pytest.mark.parametrize("engine", ["torch", "torch-schedule"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", TORCH)
def test_stack_equals_torch_with_copied_weights(name: str, layers: int, bidirectional: bool, engine: str) -> None:
    kind, options = TORCH[name]
    sizes = {"P": 3} if name == "lstm_projected" else {}
    stack = Stack.of(
        name, 4, 5, layers, bidirectional=bidirectional, engine=engine, sizes=sizes, init={"*": "uniform"}, seed=0
    )
    stack = stack.double()
    theirs = kind(4, 5, layers, bidirectional=bidirectional, batch_first=True, **options).double()
    for n, layer in enumerate(stack.layers):
        parts = [layer.forward_layer, layer.backward_layer] if bidirectional else [layer]
        for part, suffix in zip(parts, ("", "_reverse"), strict=False):
            copied(part, theirs, f"l{n}{suffix}")
    x = inputs().requires_grad_()
    their_x = x.detach().clone().requires_grad_()
    packed = nn.utils.rnn.pack_padded_sequence(their_x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    their_y, final = theirs(packed)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(their_y, batch_first=True)
    y, state = stack(x, LENGTHS)
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=1e-10)
    hidden = final[0] if isinstance(final, tuple) else final  # (L * directions, B, O)
    states = [part for layer in state for part in layer] if bidirectional else list(state)
    for found, expected in zip(states, hidden, strict=True):
        torch.testing.assert_close(found.h, expected, atol=1e-12, rtol=1e-10)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert x.grad is not None and their_x.grad is not None
    torch.testing.assert_close(x.grad, their_x.grad, atol=1e-12, rtol=1e-10)


def test_residual_adds_where_sizes_agree() -> None:
    first, second, third = (Recurrent("gru", i, 5, seed=i).double() for i in (4, 5, 5))
    stack, x = Stack(first, second, third, residual=True), inputs()
    one, _ = first(x, LENGTHS)
    two = one + second(one, LENGTHS)[0]
    three = two + third(two, LENGTHS)[0]
    y, state = stack(x, LENGTHS)
    torch.testing.assert_close(y, three, atol=1e-12, rtol=1e-10)
    assert len(state) == 3 and not y[0, 3:].any()


def test_residual_of_padding_stays_zero() -> None:
    stack = Stack.of("gru", 4, 4, layers=2, residual=True, seed=0).double()
    x = inputs()
    for row, length in enumerate(LENGTHS):
        x[row, length:] = torch.nan
    y, _ = stack(x.requires_grad_(), LENGTHS)
    y.sum().backward()
    assert x.grad is not None
    for row, length in enumerate(LENGTHS):
        assert torch.equal(y[row, length:], torch.zeros(6 - length, 4).double())
        assert not x.grad[row, length:].any() and torch.isfinite(x.grad[row]).all()


@pytest.mark.parametrize("locked", [False, True])
def test_dropout_stands_between_layers_and_not_above_the_last(locked: bool) -> None:
    stack, x = Stack.of("gru", 4, 5, layers=3, dropout=0.4, locked_dropout=locked, seed=0).double(), inputs()
    with drawing(0, "x"):
        y, _ = stack(x)
    wanted = x
    with drawing(0, "x"):
        for n, layer in enumerate(stack.layers):
            wanted = layer(wanted)[0]
            wanted = drop(wanted, 0.4, f"between layers {n}", locked) if n < 2 else wanted
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=1e-10)
    stack.eval()
    whole, state = stack(x)[0], None
    for t in range(6):
        said, state = stack.step(x[:, t], state)
        torch.testing.assert_close(said, whole[:, t], atol=1e-12, rtol=1e-10)


def test_single_steps_in_training_drop_what_each_draws() -> None:
    stack, x = Stack.of("gru", 4, 5, layers=2, dropout=0.4, seed=0).double(), inputs()[:, 0]
    with drawing(0, "x"):
        first, second = stack.step(x)[0], stack.step(x)[0]
    below = stack.layers[0].step(x)[0]
    with drawing(0, "x"):
        wanted = [stack.layers[1].step(drop(below, 0.4, "between layers 0"))[0] for _ in range(2)]
    torch.testing.assert_close([first, second], wanted, atol=1e-12, rtol=1e-10)


def test_penalty_formulas_over_ragged_outputs() -> None:
    y = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [9.0, 9.0]], [[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    squares = (1 + 4 + 9 + 1 + 4 + 0 + 0 + 1 + 1 + 1) / 10
    changes = ((4 + 9) + (4 + 1) + (1 + 0)) / 6
    found = activation_penalty(y, [2, 3], alpha=2.0, beta=0.5)
    torch.testing.assert_close(found.item(), 2 * squares + 0.5 * changes)
    assert activation_penalty(y, torch.tensor([1, 1]), beta=1.0).item() == 0.0
    assert activation_penalty(y).item() == 0.0
    assert activation_penalty(y[:1, :2], beta=1.0).item() == pytest.approx((4 + 9) / 2)
    assert activation_penalty(y[:, :1], beta=1.0).item() == 0.0
    full = activation_penalty(y, alpha=1.0).item()
    assert math.isclose(full, y.square().mean().item())


def test_penalty_gives_padding_no_gradient() -> None:
    y = torch.randn(2, 4, 3, requires_grad=True)
    activation_penalty(y, [2, 4], alpha=1.0, beta=1.0).backward()
    assert y.grad is not None and not y.grad[0, 2:].any() and bool((y.grad[1] != 0).all())


@pytest.mark.parametrize(("name", "value"), [("alpha", -1.0), ("beta", math.inf), ("alpha", math.nan)])
def test_penalty_weights_are_checked(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"activation_penalty: {name} must be a number of at least 0; got {value}"):
        activation_penalty(torch.zeros(1, 1, 1), **{name: value})
