"""A stream step by step, in pieces, or whole: the same outputs; and the weights joined for it follow every change."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import elman
from elman.errors import ShapeError, UsageError
from elman.layers import StackState, State

CELLS = ["gru", "lstm", "gru_reset_after", "lstm_projected", "sru", "scrn", "coRNN", "min_gru", "lstm_layer_norm"]


def build(name: str, **options: object) -> elman.Recurrent:
    sizes = dict.fromkeys(elman.cells[name].free_sizes, 3)
    return elman.Recurrent(name, 4, 5, sizes=sizes, seed=0, **options).double()


def by_steps(layer: elman.Recurrent | elman.Stack, x: Tensor) -> tuple[Tensor, State | StackState]:
    state, outputs = None, []
    for x_t in x.unbind(1):
        y, state = layer.step(x_t, state)  # type: ignore[arg-type]
        outputs.append(y)
    assert state is not None
    return torch.stack(outputs, 1), state


def inputs(steps: int = 7) -> Tensor:
    return torch.randn(3, steps, 4, dtype=torch.float64)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("options", [{}, {"zoneout": 0.3}, {"learn_initial_state": True}, {"engine": "reference"}])
@pytest.mark.parametrize("name", CELLS)
def test_steps_equal_the_whole(name: str, options: dict[str, object], grad: bool) -> None:
    layer, x = build(name, **options).eval(), inputs()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(1))
    with torch.set_grad_enabled(grad):
        whole, end = layer(x)
        steps, state = by_steps(layer, x)
    torch.testing.assert_close(steps, whole, atol=1e-12, rtol=1e-10)
    for key, value in end.items():
        torch.testing.assert_close(state[key], value, atol=1e-12, rtol=1e-10)
    assert steps.requires_grad == grad


@pytest.mark.parametrize("grad", [False, True])
def test_what_drops_in_training_has_no_part_in_a_stream(grad: bool) -> None:
    layer, plain, x = build("lstm", variational_dropout=0.3, weight_drop=0.2).eval(), build("lstm"), inputs()
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(by_steps(layer, x)[0], plain(x)[0], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_two_halves_equal_the_whole_with_gradients(name: str) -> None:
    layer, x = build(name), inputs().requires_grad_()
    whole, end = layer(x)
    first, middle = layer(x[:, :3])
    second, last = layer(x[:, 3:], state=middle)
    halves = torch.cat([first, second], 1)
    torch.testing.assert_close(halves, whole, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(dict(last), dict(end), atol=1e-12, rtol=1e-10)
    weight = torch.randn_like(whole)
    wanted = torch.autograd.grad((whole * weight).sum(), [x, *layer.parameters()])
    got = torch.autograd.grad((halves * weight).sum(), [x, *layer.parameters()])
    torch.testing.assert_close(got, wanted, atol=1e-11, rtol=1e-9)


def test_a_stack_streams() -> None:
    stack = elman.Stack.of("gru", 4, 4, layers=3, residual=True, seed=0).double().eval()
    x = inputs()
    with torch.no_grad():
        whole, end = stack(x)
        steps, state = by_steps(stack, x)
    torch.testing.assert_close(steps, whole, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(state[2].c, end[2].c, atol=1e-12, rtol=1e-10)


def changed_by_optimizer(layer: elman.Recurrent) -> None:
    layer(inputs())[0].sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()


def changed_by_fused_optimizer(layer: elman.Recurrent) -> None:
    layer(inputs())[0].sum().backward()
    torch.optim.Adam(layer.parameters(), lr=0.5, fused=True).step()


def changed_through_numpy(layer: elman.Recurrent) -> None:
    layer.weights["W_u"].detach().numpy()[...] *= 2


def changed_by_data(layer: elman.Recurrent) -> None:
    layer.weights["W_u"].data = layer.weights["W_u"].data * 2


def changed_by_sharing(layer: elman.Recurrent) -> None:
    layer.weights["W_u"] = build("gru", init={"W_u": 0.3}).weights["W_u"]


def changed_by_copying(layer: elman.Recurrent) -> None:
    layer.weights["W_u"] = torch.full_like(layer.weights["W_u"], 0.1)


def changed_by_loading(layer: elman.Recurrent) -> None:
    layer.load_state_dict({name: value * 3 for name, value in layer.state_dict().items()})


@pytest.mark.parametrize(
    "change",
    [
        changed_by_optimizer,
        changed_by_fused_optimizer,
        changed_through_numpy,
        changed_by_data,
        changed_by_sharing,
        changed_by_copying,
        changed_by_loading,
    ],
)
def test_steps_follow_changed_weights(change) -> None:  # type: ignore[no-untyped-def]
    layer, x = build("gru").eval(), inputs(2)
    with torch.no_grad():
        before, _ = by_steps(layer, x)
    change(layer)
    with torch.no_grad():
        after, _ = by_steps(layer, x)
        whole, _ = layer(x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, whole, atol=1e-12, rtol=1e-10)


def test_steps_follow_a_change_of_type() -> None:
    layer, x = build("gru").eval(), inputs(2)
    with torch.no_grad():
        by_steps(layer, x)
        y, _ = by_steps(layer.float(), x.float())
    assert y.dtype == torch.float32


def test_steps_bind_the_weights_once() -> None:
    layer, x = build("gru").eval(), inputs(1)[:, 0]
    with torch.no_grad():
        _, state = layer.step(x)
        bound = layer._bound
        layer.step(x, state)
    assert bound is not None and layer._bound is bound


def test_inference_mode_and_copies_of_a_streaming_layer() -> None:
    layer, x = build("lstm").eval(), inputs(3)
    with torch.inference_mode():
        y, _ = by_steps(layer, x)
    with torch.no_grad():
        for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert layer._bound is not None and again._bound is None, "what was bound for one layer is not its copy's"
            torch.testing.assert_close(by_steps(again, x)[0], y)


def test_a_given_state_is_used_and_not_changed() -> None:
    layer, x = build("lstm"), inputs(2)
    start = State({"c": torch.ones(3, 5).double(), "h": torch.ones(3, 5).double()})
    y, _ = layer(x, state=start)
    assert not torch.allclose(y, layer(x)[0])
    assert torch.equal(start.c, torch.ones(3, 5).double())
    torch.testing.assert_close(layer(x, state={"h": start.h, "c": start.c})[0], y)


def test_what_cannot_stream_says_why() -> None:
    with pytest.raises(UsageError, match=r"a step must come from a layer that reads forwards; this one reads from"):
        build("gru", reverse=True).step(inputs()[:, 0])
    with pytest.raises(UsageError, match="Bidirectional: cannot run step by step: its output at t reads what comes"):
        elman.Bidirectional.of("gru", 4, 5).step(torch.zeros(1, 4))
    with pytest.raises(UsageError, match="variational_dropout holds one mask for a whole sequence"):
        build("gru", variational_dropout=0.2).step(inputs()[:, 0])
    with pytest.raises(UsageError, match="locked_dropout holds one mask for a whole sequence"):
        elman.Stack.of("gru", 4, 5, dropout=0.2, locked_dropout=True).step(torch.zeros(1, 4))
    with pytest.raises(ShapeError, match=r"Recurrent\('gru'\): x must have shape \(B, I\) with I = 4; got \(3, 7, 4\)"):
        build("gru").step(inputs())
    with torch.no_grad(), pytest.raises(ShapeError, match=r"x must be torch.float64 on cpu.*got torch.float32"):
        build("gru").eval().step(torch.zeros(1, 4))
