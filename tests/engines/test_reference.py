"""The oracle: against a GRU written out by hand, and its derived backward against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import elman
from elman.engines.reference import backward, forward
from elman.equations import Cell
from elman.equations.rewrite import zoneout

# Each has what another lacks: two rounds, a value that two lines read, an output that is no state, a size of its own
# inside a concatenation, a peephole, layer norm, min and max, a transposed matrix, numbers, no product in the loop.
CELLS = {
    "two rounds": Cell("r = sigmoid(W_r [h<t-1>, x] + b_r)\nh = tanh(W_h [r * h<t-1>, x] + b_h) + 0.5 * h<t-1>"),
    "own size": Cell("size: v = P\nv = tanh(W_v [h<t-1>, x] + b_v)\nh = tanh(W_h [v, h<t-1>] + b_h)"),
    "number first": Cell("size: h = P\ng = 2\nh = g - sin(W x + h<t-1>)"),
    "parameter alone of its size": Cell("size: h = P\nh = tanh(W [x, b_1] + R h<t-1>)"),
    "output apart": Cell("c = sigmoid(W_f x + p_f * c<t-1> + b_f) * c<t-1> + W_c x\nh = tanh(c) * sigmoid(W_o x)"),
    "norm": Cell("h = tanh(w_g * layer_norm(W_h h<t-1> + W_x x) + b)"),
    "extremes": Cell("h = max(tanh(W_h h<t-1> + b), min(W_x x, 0.3 * h<t-1>))"),
    "transposed": Cell("h = tanh(W_h h<t-1> - W_h^T h<t-1> + W_x x)"),
    "two states": Cell("z = z<t-1> + 0.1 * (tanh(W_y y<t-1> + W_z z<t-1> + V x) - z<t-1>)\ny = y<t-1> + 0.1 * z"),
}
LENGTHS = [4, 1, 3]


class Case:
    """Small random values for a cell, and the scalar sum(y * weight_y) + sum(final * weight_final)."""

    def __init__(self, cell: Cell, reverse: bool) -> None:
        random = np.random.default_rng(7)
        sizes = dict.fromkeys(cell.free_sizes, 2)
        self.cell, self.reverse = cell, reverse
        self.values = {n: 0.7 * random.standard_normal(s) for n, s in cell.parameters(2, 3, sizes).items()}
        self.values["x"] = random.standard_normal((3, 4, 2))
        self.states = cell.state_sizes(2, 3, sizes)
        for name, width in self.states.items():
            self.values[f"{name} before"] = random.standard_normal((3, width))
        self.weight_y = random.standard_normal((3, 4, cell.output_size(2, 3, sizes)))
        self.weight_final = {n: random.standard_normal((3, w)) for n, w in self.states.items()}

    def run(self):  # type: ignore[no-untyped-def]
        weights = {n: v for n, v in self.values.items() if n != "x" and not n.endswith(" before")}
        before = {s: self.values[f"{s} before"] for s in self.states}
        return forward(self.cell, weights, self.values["x"], LENGTHS, before, {}, self.reverse)

    def loss(self) -> float:
        trace = self.run()
        final = sum((trace.final[s] * w).sum() for s, w in self.weight_final.items())
        return float((trace.y * self.weight_y).sum() + final)

    def slope(self, name: str, index: tuple[int, ...], step: float = 1e-6) -> float:
        values = self.values[name]
        kept, found = values[index], []
        for sign in (1, -1):
            values[index] = kept + sign * step
            found.append(self.loss())
        values[index] = kept
        return (found[0] - found[1]) / (2 * step)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_derived_backward_equals_finite_differences(name: str, reverse: bool) -> None:
    case = Case(CELLS[name], reverse)
    found = backward(case.run(), case.weight_y, case.weight_final, (3, 4, 2))
    derived = {**found.weights, "x": found.x, **{f"{s} before": g for s, g in found.state.items()}}
    assert set(derived) == set(case.values)
    for value, gradient in derived.items():
        slopes = np.array([case.slope(value, index) for index in np.ndindex(gradient.shape)]).reshape(gradient.shape)
        scale = max(1.0, float(np.abs(slopes).max()))
        np.testing.assert_allclose(gradient / scale, slopes / scale, atol=1e-7, err_msg=value)


def test_gru_of_the_notes_by_hand() -> None:
    random = np.random.default_rng(3)
    w = {n: random.standard_normal(s) for n, s in elman.cells["gru"].parameters(2, 3).items()}
    x, c = random.standard_normal((1, 5, 2)), random.standard_normal((1, 3))
    trace = forward(elman.cells["gru"], w, x, None, {"c": c}, {}, False)
    state = c[0]
    for t in range(5):
        joined = np.concatenate([state, x[0, t]])
        update = 1 / (1 + np.exp(-(w["W_u"] @ joined + w["b_u"])))
        reset = 1 / (1 + np.exp(-(w["W_r"] @ joined + w["b_r"])))
        candidate = np.tanh(w["W_c"] @ np.concatenate([reset * state, x[0, t]]) + w["b_c"])
        state = update * candidate + (1 - update) * state
        np.testing.assert_allclose(trace.y[0, t], state, rtol=1e-12)
    np.testing.assert_allclose(trace.final["c"][0], state, rtol=1e-12)


def test_padding_is_never_read_and_gets_no_gradient() -> None:
    case = Case(CELLS["two rounds"], reverse=True)
    clean = case.run()
    for row, length in enumerate(LENGTHS):
        case.values["x"][row, length:] = np.nan
    trace = case.run()
    np.testing.assert_array_equal(trace.y, clean.y)
    np.testing.assert_array_equal(trace.y[1, 1:], 0)
    assert not backward(trace, case.weight_y, case.weight_final, (3, 4, 2)).x[1, 1:].any()


def test_a_layer_trains_by_the_derived_backward() -> None:
    layer = elman.Recurrent("lstm_notes", 2, 3, engine="reference", learn_initial_state=True, seed=1).double()
    other = elman.Recurrent("lstm_notes", 2, 3, engine="torch", learn_initial_state=True, seed=1).double()
    x = torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for module in (layer, other):
        y, state = module(x, lengths=LENGTHS)
        (y.square().sum() + state.c.sum()).backward()
    assert layer.engine == "reference"
    for name, parameter in layer.named_parameters():
        wanted = other.get_parameter(name).grad
        assert isinstance(parameter.grad, Tensor) and isinstance(wanted, Tensor)
        torch.testing.assert_close(parameter.grad, wanted, atol=1e-12, rtol=1e-10)
    before = [p.detach().clone() for p in layer.parameters()]
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert all(not torch.equal(p, b) for p, b in zip(layer.parameters(), before, strict=True))


def test_masks_follow_the_order_of_processing() -> None:
    """With reverse, step 0 of a mask belongs to the last step of the sequence."""
    cell = zoneout(Cell("h = 0.5 * h<t-1> + x"))
    x = np.arange(1.0, 4.0).reshape(1, 3, 1)
    mask = np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1)
    trace = forward(cell, {}, x, None, {"h": np.array([[8.0]])}, {"zoneout_h": mask}, True)
    np.testing.assert_allclose(trace.y[0, :, 0], [4.0, 6.0, 8.0])  # 8 kept; 8/2 + 2; 6/2 + 1
