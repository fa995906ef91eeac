"""The layers of elman.torch against torch.nn with the same parameters: outputs, states, all gradients, every option.

float32 on both sides: 1e-5 of the largest value, the tolerance of tests/test_contract.py.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elman.plans.native import available
from tests.bridges.layers import FORMS, I_SIZE, KINDS, STEPS, assert_close, flat, options, pair, rows, run, states

pytestmark = [
    pytest.mark.skipif(not available(), reason="the engine was not built"),
    # Torch says so of its own projected layers.
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]


def name(settings: dict[str, Any]) -> str:
    return " ".join(f"{k}={v:d}" for k, v in settings.items())


@pytest.mark.parametrize("settings", list(options()), ids=name)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_torch(kind: str, settings: dict[str, Any]) -> None:
    ours, theirs = pair(kind, **settings)
    for form in FORMS:
        for with_state in (False, True):
            assert_close(run(ours, form, with_state), run(theirs, form, with_state))
            assert ours.left_to_torch is None


@pytest.mark.parametrize("form", FORMS)
def test_dropout_between_layers_draws_what_torch_draws(form: str) -> None:
    ours, theirs = pair("lstm", num_layers=3, bidirectional=True, dropout=0.5)
    assert_close(run(ours, form), run(theirs, form))
    assert not torch.equal(run(ours, form)["output 0"], run(ours, form, seed=5)["output 0"])
    ours.eval(), theirs.eval()
    assert_close(run(ours, form), run(theirs, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_outputs_have_torchs_types_and_strides(form: str, batch_first: bool) -> None:
    ours, theirs = pair("gru", batch_first=batch_first, bidirectional=True)
    found, wanted = (layer(rows(form, batch_first)[1]) for layer in (ours, theirs))
    assert type(found[0]) is type(wanted[0])
    assert [t.stride() for t in flat(found)] == [t.stride() for t in flat(wanted)]
    if isinstance(found[0], PackedSequence):
        for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            a, b = getattr(found[0], field), getattr(wanted[0], field)
            assert (a is None and b is None) or torch.equal(a, b)


def test_inputs_of_any_strides_are_read_in_place() -> None:
    ours, theirs = pair("lstm")
    wide = torch.randn(STEPS, 4, 7)
    for x in (wide[..., 2:5], wide[::2, :, :3], wide[:, :1, :3].expand(-1, 4, -1), wide[..., ::3]):
        assert torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-6)


def test_signs_that_torch_keeps_beside_the_numbers_count() -> None:
    ours, theirs = pair("gru")
    x, h, w = torch.randn(STEPS, 4, 3), torch.randn(1, 4, 5), torch.randn(15, 5)
    wanted = theirs(-x, -h)[0]
    assert torch.allclose(ours(torch._neg_view(x), torch._neg_view(h))[0], wanted, atol=1e-6)
    found = [torch.func.functional_call(m, {"weight_hh_l0": torch._neg_view(w)}, (x,))[0] for m in (ours, theirs)]
    assert torch.allclose(*found, atol=1e-6) and ours.left_to_torch is None


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_any_strides_are_read(kind: str, steps: int) -> None:
    """One step of four rows keeps its packed weights, and so looks at them another way."""
    ours, theirs = pair(kind, num_layers=2)
    for layer in (ours, theirs):
        for name, weight in list(layer.named_parameters()):
            turned = (
                weight.detach().t().contiguous().t() if weight.dim() == 2 else weight.detach()[:1].expand_as(weight)
            )
            setattr(layer, name, nn.Parameter(turned))
    x = torch.linspace(-1, 1, steps * 12).view(steps, 4, 3)
    for layer in (ours, theirs):
        layer(x)[0].pow(2).sum().backward()
    with torch.no_grad():
        assert torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-6) and ours.left_to_torch is None
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_a_second_way_back_gives_the_same() -> None:
    ours, _ = pair("lstm", bidirectional=True)
    leaf, x = rows("packed", False)
    total = ours(x)[0].data.pow(2).sum()
    first = torch.autograd.grad(total, [leaf, *ours.parameters()], retain_graph=True)
    second = torch.autograd.grad(total, [leaf, *ours.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_way_back_knows_the_batch_sizes_that_there_were() -> None:
    ours, _ = pair("gru")
    data = torch.randn(6, I_SIZE, requires_grad=True)
    sizes = torch.tensor([3, 2, 1])
    y, _ = ours(PackedSequence(data, sizes))
    (wanted,) = torch.autograd.grad(y.data.square().sum(), data, retain_graph=True)
    sizes.copy_(torch.tensor([2, 2, 2]))
    assert torch.equal(torch.autograd.grad(y.data.square().sum(), data)[0], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_may_bring_saved_tensors_back_anywhere_in_memory(kind: str) -> None:
    ours, theirs = pair(kind, bidirectional=True)
    with torch.autograd.graph.saved_tensors_hooks(elsewhere, lambda place: place):
        found = run(ours, "padded")
    assert_close(found, run(theirs, "padded"))


def elsewhere(tensor: Tensor) -> Tensor:
    """Return the same numbers, off the start of a cache line by a few of them."""
    room = torch.empty(tensor.numel() + 5, dtype=tensor.dtype)
    return room[5:].view(tensor.shape).copy_(tensor)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_can_be_differentiated_again(kind: str) -> None:
    found = []
    for layer in pair(kind, num_layers=2, bidirectional=True):
        leaf, x = rows("padded", False)
        hx = states(layer, "padded")
        slopes = torch.autograd.grad(layer(x, hx)[0].pow(2).sum(), [leaf, *flat(hx)], create_graph=True)
        total = sum(s.pow(2).sum() for s in slopes)
        found.append(dict(enumerate(torch.autograd.grad(total, [leaf, *layer.parameters()]))))
    assert_close({str(k): v for k, v in found[0].items()}, {str(k): v for k, v in found[1].items()}, 1e-4)


def test_second_derivatives_count_a_shared_tensor_once_a_place() -> None:
    found = []
    for layer in pair("lstm", bidirectional=True):
        layer.bias_hh_l0 = layer.bias_ih_l0
        layer.weight_hh_l0_reverse = layer.weight_hh_l0
        start = torch.linspace(-1, 1, 2 * 4 * 5).view(2, 4, 5).requires_grad_()
        leaves = [start, *layer.parameters()]
        y = layer(rows("padded", False)[1], (start, start))[0]
        slopes = torch.autograd.grad(y.pow(2).sum(), leaves, create_graph=True)
        again = torch.autograd.grad(sum(s.pow(2).sum() for s in slopes), leaves)
        found.append({str(n): s.detach() for n, s in enumerate([*slopes, *again])})
    assert_close(found[0], found[1], 1e-4)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch, which has no rule for its own kernel
@pytest.mark.parametrize("form", ["padded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_many_gradients_at_once_are_those_of_torch(kind: str, form: str) -> None:
    found = []
    for layer in pair(kind, bidirectional=True):
        leaf, x = rows(form, False)
        outputs, directions = flat(layer(x)), torch.Generator().manual_seed(1)
        many = [torch.randn(3, *o.shape, generator=directions) for o in outputs]
        slopes = torch.autograd.grad(outputs, [leaf, *layer.parameters()], many, is_grads_batched=True)
        assert not any(s.requires_grad for s in slopes)
        found.append({str(n): s for n, s in enumerate(slopes)})
    assert_close(*found)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    ours, theirs = pair("lstm")
    for layer in (ours, theirs):
        layer.weight_hh_l0.requires_grad_(False)
        layer.bias_ih_l0.requires_grad_(False)
        _, (_, c) = layer(torch.ones(STEPS, 2, 3))
        c.sum().backward()
        assert layer.weight_hh_l0.grad is None and layer.bias_ih_l0.grad is None
    assert torch.allclose(ours.weight_ih_l0.grad, theirs.weight_ih_l0.grad, atol=1e-5)
    assert torch.allclose(ours.bias_hh_l0.grad, theirs.bias_hh_l0.grad, atol=1e-5)


def test_a_weight_changed_before_the_way_back_is_an_error_as_in_torch() -> None:
    for layer in pair("lstm"):
        y, _ = layer(torch.ones(STEPS, 2, 3))
        with torch.no_grad():
            layer.weight_hh_l0.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


WRONG: dict[str, tuple[Any, Any]] = {
    "another input size": (torch.zeros(2, 4, 7), None),
    "one dimension": (torch.zeros(3), None),
    "four dimensions": (torch.zeros(1, 2, 4, 3), None),
    "no tensor": ([[1.0]], None),
    "another type": (torch.zeros(2, 4, 3, dtype=torch.float64), None),
    "whole numbers": (torch.zeros(2, 4, 3, dtype=torch.int64), None),
    "no steps": (torch.zeros(0, 4, 3), None),
    "states of another batch": (torch.zeros(2, 4, 3), (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5))),
    "states of another size": (torch.zeros(2, 4, 3), (torch.zeros(1, 4, 6), torch.zeros(1, 4, 6))),
    "states without a batch": (torch.zeros(2, 4, 3), (torch.zeros(1, 5), torch.zeros(1, 5))),
    "states with a batch": (torch.zeros(2, 3), (torch.zeros(1, 4, 5), torch.zeros(1, 4, 5))),
    "one state of two": (torch.zeros(2, 4, 3), torch.zeros(1, 4, 5)),
    "no state of two": (torch.zeros(2, 4, 3), ()),
}


@pytest.mark.parametrize("what", WRONG)
def test_errors_are_those_of_torch(what: str) -> None:
    x, hx = WRONG[what]
    errors: list[Exception] = []
    for layer in pair("lstm"):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            layer(x, hx)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1]) and str(errors[0]) == str(errors[1])


@pytest.mark.parametrize("arguments", [(3, 5, 0), (0, 5), (3, 5, 1, 1), (3, 5, 1, True, False, 1.5), ("3", 5)])
def test_arguments_are_refused_as_by_torch(arguments: tuple[Any, ...]) -> None:
    errors: list[Exception] = []
    for cls in KINDS["gru"][:2]:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            cls(*arguments)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1]) and str(errors[0]) == str(errors[1])


def test_the_warning_about_dropout_of_one_layer_is_torchs() -> None:
    for cls in KINDS["gru"][:2]:
        with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
            cls(3, 5, dropout=0.5)


def test_a_wrong_layer_is_seen() -> None:
    """The comparison notices gates in another order."""
    ours, theirs = pair("lstm")
    with torch.no_grad():
        ours.weight_hh_l0.copy_(theirs.weight_hh_l0.roll(5, 0))
    with pytest.raises(AssertionError):
        assert_close(run(ours, "padded"), run(theirs, "padded"))


def test_no_warning_is_given() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Sequential(pair("gru")[0])[0](torch.zeros(2, 4, 3))
