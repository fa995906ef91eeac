"""The state: names, immutability, and everything that is done to it."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

import elman
from elman.errors import ShapeError, UsageError
from elman.layers import StackState, State


def lstm_state() -> State:
    return State({"c": torch.arange(6.0).view(3, 2), "h": -torch.arange(6.0).view(3, 2)})


def test_values_by_name() -> None:
    state = lstm_state()
    assert torch.equal(state.c, state["c"]) and list(state) == ["c", "h"] and len(state) == 2
    assert repr(state) == "State(c: (3, 2), h: (3, 2))"
    assert dict(state)["h"] is state.h


def test_cannot_be_changed() -> None:
    state, stacked = lstm_state(), StackState([lstm_state()])
    with pytest.raises(AttributeError, match="cannot be changed in place; got an assignment to 'c'"):
        state.c = torch.zeros(3, 2)
    with pytest.raises(TypeError):
        state["c"] = torch.zeros(3, 2)  # type: ignore[index]
    with pytest.raises(AttributeError, match="cannot be changed in place"):
        stacked._layers = ()


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="state: must be one of c, h; got 'hh'; did you mean 'h'"):
        _ = lstm_state().hh
    with pytest.raises(KeyError, match="must be one of c, h; got 'x'"):
        lstm_state()["x"]


def test_equality_is_identity() -> None:
    state = lstm_state()
    assert state == state and state != lstm_state()
    assert len({state, state, lstm_state()}) == 2


def test_detach_and_to() -> None:
    start = State({"c": torch.ones(1, 2, requires_grad=True)})
    after = start.map(lambda v: v * 2)
    assert after.c.requires_grad and not after.detach().c.requires_grad
    assert after.to(torch.float64).c.dtype == torch.float64 and after.c.dtype == torch.float32


def test_select_takes_rows_in_the_order_asked() -> None:
    assert lstm_state().select([2, 0]).c.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert lstm_state().select(torch.tensor([1, 1])).h.tolist() == [[-2.0, -3.0]] * 2
    assert lstm_state().select(torch.tensor([True, False, True])).c.tolist() == [[0.0, 1.0], [4.0, 5.0]]


@pytest.mark.parametrize("rows", [[5], [-4], [0.5], "ab", torch.tensor([True])])
def test_select_refuses_rows_that_are_not_there(rows: object) -> None:
    with pytest.raises(ShapeError, match="select: rows must be numbers from 0 to 2, or a bool tensor of shape"):
        lstm_state().select(rows)  # type: ignore[arg-type]


def test_reset_of_rows() -> None:
    rows = torch.tensor([False, True, False])
    state = lstm_state()
    assert state.reset(rows).c.tolist() == [[0.0, 1.0], [0.0, 0.0], [4.0, 5.0]]
    start = State({"c": torch.full((3, 2), 9.0), "h": torch.full((3, 2), 8.0)})
    assert state.reset(rows, start).h.tolist() == [[0.0, -1.0], [8.0, 8.0], [-4.0, -5.0]]
    assert state.c[1].tolist() == [2.0, 3.0], "the old state stays as it was"


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        (torch.tensor([1, 0, 0]), r"torch.int64 \(3,\)"),
        (torch.tensor([True]), r"torch.bool \(1,\)"),
        ([True, False, False], r"\[True, False, False\]"),
    ],
)
def test_reset_refuses_other_rows(rows: torch.Tensor, got: str) -> None:
    with pytest.raises(ShapeError, match=rf"reset: rows must be a bool tensor of shape \(3,\); got {got}"):
        lstm_state().reset(rows)


def test_reset_cuts_the_gradient_of_its_rows_only() -> None:
    value = torch.ones(2, 1, requires_grad=True)
    State({"h": value}).reset(torch.tensor([True, False])).h.sum().backward()
    assert value.grad is not None and value.grad.tolist() == [[0.0], [1.0]]


def nested() -> StackState:
    stack = elman.Stack.of("lstm", 2, 3, layers=2, bidirectional=True, seed=0)
    return stack(torch.randn(2, 4, 2))[1].detach()


def test_state_dict_round_trip() -> None:
    state = nested()
    flat = state.state_dict()
    assert list(flat) == [f"{n}.{m}.{name}" for n in range(2) for m in range(2) for name in ("c", "h")]
    again = StackState.from_state_dict(flat)
    assert torch.equal(again[1][0].h, state[1][0].h) and isinstance(again[1][1], State)
    single = State.from_state_dict(lstm_state().state_dict())
    assert torch.equal(single.c, lstm_state().c)
    with pytest.raises(UsageError, match=r"names must begin with the number of a layer, '0\.c'; got 'c'"):
        StackState.from_state_dict({"c": torch.zeros(1)})


def test_many_layers_keep_their_order() -> None:
    state = StackState([State({"h": torch.full((1, 1), float(n))}) for n in range(12)])
    shuffled = dict(sorted(state.state_dict().items()))
    assert [layer.h.item() for layer in StackState.from_state_dict(shuffled)] == [float(n) for n in range(12)]


def test_methods_of_a_stack_reach_every_layer() -> None:
    state = nested()
    assert state.select([1])[0][1].c.shape == (1, 3)
    assert state.to(torch.float64)[1][0].h.dtype == torch.float64
    reset = state.reset(torch.tensor([True, False]))
    for layer, old in zip(reset[1], state[1], strict=True):
        assert not layer.h[0].any() and torch.equal(layer.h[1], old.h[1])


@pytest.mark.parametrize("state", [lstm_state(), nested()], ids=["one", "stack"])
def test_copies_pickles_and_saves(state: State | StackState) -> None:
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    buffer.seek(0)
    loaded = type(state).from_state_dict(torch.load(buffer))
    for again in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), loaded):
        assert type(again) is type(state)
        for name, value in state.state_dict().items():
            assert torch.equal(again.state_dict()[name], value)
