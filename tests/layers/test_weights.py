"""Parameters under the names of the equations: read, assign, share, copy, save, convert."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import elman
from elman import Bidirectional, Recurrent, Stack
from elman.errors import ShapeError

X = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))


def gru(seed: int = 0, **options: object) -> Recurrent:
    return Recurrent("gru", 3, 4, seed=seed, **options)


def test_names_are_those_of_the_equations() -> None:
    layer = gru()
    assert list(layer.weights) == ["W_u", "b_u", "W_r", "b_r", "W_c", "b_c"] and len(layer.weights) == 6
    assert list(layer.state_dict()) == list(layer.weights)
    assert isinstance(layer.weights["W_r"], nn.Parameter) and layer.weights["W_r"] is layer.W_r
    assert repr(layer.weights).startswith("Weights(W_u: (4, 7), b_u: (4,), ")
    assert repr(layer) == f"Recurrent('gru', input_size=3, hidden_size=4, engine={layer.engine!r})"


def test_names_that_python_cannot_spell() -> None:
    cell = elman.Cell("h~ = tanh(W h~<t-1> + V x)")
    layer = Recurrent(cell, 3, 4, learn_initial_state=True)
    assert list(layer.state_dict()) == ["W", "V", "initial_h_tilde"]
    _, state = layer(X)
    assert list(state) == ["h~"] and state.h_tilde is state["h~"]


def test_assigning_values_copies_them() -> None:
    layer, value = gru(), torch.ones(4)
    parameter = layer.weights["b_r"]
    layer.weights["b_r"] = value
    value.zero_()
    assert layer.weights["b_r"] is parameter and torch.equal(parameter, torch.ones(4))


def test_sharing_a_parameter() -> None:
    one, other = gru(0), gru(1)
    other.weights["W_r"] = one.weights["W_r"]
    assert other.weights["W_r"] is one.weights["W_r"]
    stack = nn.ModuleList([one, other])
    assert len(list(stack.parameters())) == 11
    (one(X)[0].sum() + other(X)[0].sum()).backward()
    both = one.weights["W_r"].grad
    one.zero_grad()
    one(X)[0].sum().backward()
    assert both is not None and not torch.equal(both, one.weights["W_r"].grad)  # type: ignore[arg-type]
    again = copy.deepcopy(stack)
    assert again[0].W_r is again[1].W_r, "what is shared stays shared in a copy"


def test_errors() -> None:
    layer = gru()
    with pytest.raises(KeyError, match="weights: must be one of W_u, b_u, W_r, b_r, W_c, b_c; got 'W_R'; did you mean"):
        layer.weights["W_R"]
    with pytest.raises(ShapeError, match=r"weights\['W_r'\]: must have shape \(4, 7\); got \(7, 4\)"):
        layer.weights["W_r"] = torch.zeros(7, 4)
    with pytest.raises(TypeError, match=r"weights\['W_r'\]: a parameter of the equations cannot be deleted"):
        del layer.weights["W_r"]
    with pytest.raises(ShapeError, match=r"a shared parameter must be torch.float32 on cpu.*got torch.float64 on cpu"):
        layer.weights["W_r"] = gru().double().weights["W_r"]
    layer.weights["W_r"] = gru().double().weights["W_r"].detach()
    assert layer.weights["W_r"].dtype == torch.float32


@pytest.mark.parametrize(
    "build",
    [
        lambda: gru(zoneout=0.1, learn_initial_state=True),
        lambda: Stack.of("lstm", 3, 4, layers=2, dropout=0.1, seed=0),
        lambda: Bidirectional.of("gru_reset_after", 3, 4, seed=0),
    ],
    ids=["layer", "stack", "bidirectional"],
)
def test_copies_and_state_dict(build) -> None:  # type: ignore[no-untyped-def]
    layer = build().eval()
    wanted, _ = layer(X, [5, 3])
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    loaded = build().eval()
    for parameter in loaded.parameters():
        nn.init.constant_(parameter, 0.25)
    assert not torch.equal(loaded(X, [5, 3])[0], wanted)
    loaded.load_state_dict(torch.load(buffer))
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert torch.equal(again(X, [5, 3])[0], wanted)
        assert again.engine == layer.engine
        assert not {id(p) for p in again.parameters()} & {id(p) for p in layer.parameters()}


@pytest.mark.parametrize("engine", ["torch", "torch-schedule", "reference"])
def test_conversion_of_type(engine: str) -> None:
    layer = Recurrent("lstm", 3, 4, engine=engine, learn_initial_state=True, seed=0)
    single, _ = layer(X)
    y, state = layer.double()(X.double())
    assert y.dtype == torch.float64 and state.c.dtype == torch.float64
    torch.testing.assert_close(y.float(), single, atol=1e-5, rtol=0)
    y, _ = layer.to(torch.bfloat16)(X.bfloat16())
    assert y.dtype == torch.bfloat16


def test_modules_that_hold_a_layer_find_its_parameters() -> None:
    net = nn.Sequential(nn.Linear(3, 3), gru())
    assert [name for name, _ in net.named_parameters()][2:] == [f"1.{name}" for name in gru().weights]
    assert net.train(False)[1].training is False
