"""Zoneout, variational dropout, weight drop and dropout between layers: what they do in training, and not otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import elman
from elman import randomness
from elman.equations import Cell
from elman.layers.regularisers import drop

ENGINES = ["torch", "reference"]


def within(count: float, trials: int, probability: float) -> bool:
    """Five standard deviations of a binomial count: false in fewer than one run of a million, and seeds are fixed."""
    return abs(count - trials * probability) < 5 * math.sqrt(trials * probability * (1 - probability))


def draws(seed: int, layer: torch.nn.Module, x: Tensor, *rest: object) -> Tensor:
    with randomness.drawing(seed, "test"):
        y: Tensor = layer(x, *rest)[0]
    return y


@pytest.mark.parametrize("engine", ENGINES)
def test_zoneout_keeps_components_with_its_probability(engine: str) -> None:
    """h = h<t-1> + x counts the steps that were not kept."""
    layer = elman.Recurrent(Cell("h = h<t-1> + x"), 8, 8, zoneout=0.3, engine=engine)
    y = draws(0, layer, torch.ones(20, 25, 8))
    grown = y.diff(dim=1)
    assert set(grown.unique().tolist()) == {0.0, 1.0}
    assert within(float((grown == 0).sum()), grown.numel(), 0.3)


def test_zoneout_in_evaluation_blends_by_its_probability() -> None:
    layer = elman.Recurrent(Cell("h = h<t-1> + x"), 2, 2, zoneout=0.3).eval()
    y, _ = layer(torch.ones(1, 4, 2))
    torch.testing.assert_close(y[0, :, 0], torch.tensor([0.7, 1.4, 2.1, 2.8]))


@pytest.mark.parametrize(
    ("options", "taken"),
    [({"zoneout": 0.3}, "h_new"), ({"zoneout": 0.3}, "zoneout_h"), ({"variational_dropout": 0.3}, "drop_h")],
)
@pytest.mark.parametrize("training", [True, False])
def test_names_of_the_equations_do_not_meet_those_of_a_regulariser(
    options: dict[str, Any], taken: str, training: bool
) -> None:
    def layer_with(name: str) -> elman.Recurrent:
        cell = Cell(f"{name} = tanh(W [h<t-1>, x] + b)\nu = sigmoid(V [h<t-1>, x])\nh = u * {name} + (1 - u) * h<t-1>")
        return elman.Recurrent(cell, 3, 4, seed=0, **options).train(training)

    layer, other = layer_with(taken), layer_with("candidate")
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    masks = [one.regularisers.cell(one.cell, training).masks for one in (layer, other)]
    assert len(masks[0]) == len(masks[1]) and taken not in masks[0]
    if masks[0] == masks[1]:  # a mask of another name is another draw
        torch.testing.assert_close(draws(0, layer, x), draws(0, other, x))


def test_zoneout_masks_every_state_by_itself() -> None:
    layer = elman.Recurrent("lstm", 3, 6, zoneout=0.5, seed=0)
    start = elman.State({"c": torch.full((64, 6), 7.0), "h": torch.full((64, 6), 9.0)})
    with randomness.drawing(0, "test"):
        _, after = layer(torch.randn(64, 1, 3), state=start)
    kept_c, kept_h = after.c == 7.0, after.h == 9.0
    assert within(float(kept_c.sum()), 384, 0.5) and within(float(kept_h.sum()), 384, 0.5)
    assert within(float((kept_c & kept_h).sum()), 384, 0.25)


@pytest.mark.parametrize("engine", ENGINES)
def test_variational_dropout_holds_one_mask_over_time(engine: str) -> None:
    """h = W x with W = 1: what is dropped is dropped at every step, the rest is scaled by 1 / keep."""
    layer = elman.Recurrent(Cell("h = W x + 0 * h<t-1>"), 6, 6, variational_dropout=0.25, init={"W": "identity"})
    y = draws(0, layer, torch.ones(50, 5, 6))
    assert torch.equal(y, y[:, :1].expand_as(y))
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / 0.75))
    assert within(float((y[:, 0] == 0).sum()), 300, 0.25)
    assert torch.equal(layer.eval()(torch.ones(2, 5, 6))[0], torch.ones(2, 5, 6))


def test_variational_dropout_reaches_the_recurrent_product_only() -> None:
    """The state by itself is not dropped: h = h<t-1> + W_h h<t-1> with W_h = 0 keeps all of it."""
    cell = Cell("h = h<t-1> + W_h h<t-1> + 0 * W_x x")
    layer = elman.Recurrent(cell, 2, 4, variational_dropout=0.5, init={"W_h": 0.0})
    y = draws(0, layer, torch.ones(3, 4, 2), None, elman.State({"h": torch.ones(3, 4)}))
    assert torch.equal(y, torch.ones(3, 4, 4))
    layer.weights["W_h"] = torch.eye(4)
    y = draws(0, layer, torch.ones(50, 1, 2), None, elman.State({"h": torch.ones(50, 4)}))
    assert set(y.unique().tolist()) == {1.0, 3.0} and within(float((y == 1).sum()), 200, 0.5)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_weight_drop_drops_recurrent_entries_in_training_only(name: str) -> None:
    """With weight drop the output must equal that of a plain layer whose recurrent columns carry the same mask."""
    dropped = elman.Recurrent(name, 3, 4, weight_drop=0.5, seed=0)
    plain = elman.Recurrent(name, 3, 4, seed=0)
    x = torch.randn(2, 5, 3)
    assert dropped.engine == plain.engine
    before = {n: p.detach().clone() for n, p in dropped.weights.items()}
    y = draws(3, dropped, x)
    assert all(torch.equal(before[n], p) for n, p in dropped.weights.items()), "the parameters themselves stay whole"
    with randomness.drawing(3, "test"):
        for weight in (n for n in plain.weights if n.startswith("W")):
            mask = randomness.bernoulli_mask((4, 7), 0.5, f"weight_drop {weight}") / 0.5
            mask[:, 4:] = 1  # columns of the input
            plain.weights[weight] = plain.weights[weight].detach() * mask
    torch.testing.assert_close(y, plain(x)[0])
    assert not torch.allclose(y, draws(4, dropped, x))
    untouched = elman.Recurrent(name, 3, 4, seed=0)
    assert torch.equal(dropped.eval()(x)[0], untouched(x)[0])


def test_weight_drop_gives_no_gradient_to_dropped_entries() -> None:
    layer = elman.Recurrent("rnn", 3, 30, weight_drop=0.5, seed=0)
    draws(0, layer, torch.randn(4, 5, 3)).sum().backward()
    gradient = layer.weights["W_h"].grad
    assert gradient is not None and within(float((gradient == 0).sum()), 900, 0.5)
    assert layer.weights["W_x"].grad is not None and bool((layer.weights["W_x"].grad != 0).all())


OPTIONS = [{"zoneout": 0.2}, {"variational_dropout": 0.2}, {"weight_drop": 0.2}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["gru", "lstm", "coRNN", "lstm_layer_norm", "scrn"])
def test_draws_are_a_function_of_the_seed_and_equal_in_every_engine(name: str, options: dict[str, float]) -> None:
    made = {e: elman.Recurrent(name, 4, 4, seed=0, engine=e, **options).double() for e in ENGINES}
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    lengths = [4, 6, 1]
    y = draws(1, made["torch"], x, lengths)
    torch.testing.assert_close(draws(1, made["reference"], x, lengths), y, atol=1e-10, rtol=1e-8)
    assert torch.equal(draws(1, made["torch"], x, lengths), y)
    assert not torch.equal(draws(2, made["torch"], x, lengths), y)
    assert not y[0, 4:].any() and not y[2, 1:].any()
    made["torch"].eval()
    assert torch.equal(made["torch"](x)[0], made["torch"](x)[0]), "evaluation draws nothing"


def test_all_regularisers_together() -> None:
    layer = elman.Recurrent("lstm", 3, 4, zoneout=0.1, variational_dropout=0.2, weight_drop=0.3, reverse=True, seed=0)
    y, state = layer(torch.randn(2, 5, 3), lengths=[5, 2])
    (y.sum() + state.c.sum()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())
    assert "zoneout=0.1, variational=0.2, weight_drop=0.3, reverse=True" in repr(layer)


def test_dropout_statistics() -> None:
    with randomness.drawing(0, "test"):
        y = drop(torch.ones(40, 5, 10), 0.2, "a")
        locked = drop(torch.ones(40, 5, 10), 0.2, "b", locked=True)
    assert set(y.unique().tolist()) == {0.0, 1.25} and within(float((y == 0).sum()), 2000, 0.2)
    assert not torch.equal(y, y[:, :1].expand_as(y)) and torch.equal(locked, locked[:, :1].expand_as(locked))
    assert within(float((locked[:, 0] == 0).sum()), 400, 0.2)
    x = torch.ones(1)
    assert drop(x, 0.0, "c") is x


def test_dropout_of_a_stack_acts_between_layers_in_training_only() -> None:
    stack = elman.Stack.of(Cell("h = W x + 0 * h<t-1>"), 20, 20, layers=2, init={"W": "identity"}, dropout=0.5)
    x = torch.ones(4, 3, 20)
    y = draws(0, stack, x)
    assert set(y.unique().tolist()) == {0.0, 2.0}, "once between two layers, not after the last"
    assert within(float((y == 0).sum()), 240, 0.5)
    assert torch.equal(stack.eval()(x)[0], x)
