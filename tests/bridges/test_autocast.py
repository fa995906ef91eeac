"""The layers of elman.torch under torch's autocast: products of bfloat16 by the engine, types and values as torch's.

Factors and, in torch, every value between are rounded to 2^-9 of themselves: over six steps outputs and gradients stay
within 2^-5 of the largest value of torch's in float32, and torch's own under autocast as well.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elman.plans.native import available
from tests.bridges.layers import FORMS, KINDS, assert_close, flat, pair, rows, run, states

pytestmark = [
    pytest.mark.skipif(not available(), reason="the engine was not built"),
    # Torch says so of its own projected layers.
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]

BOUND = 2.0**-5


def autocast(dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    return torch.autocast("cpu", dtype=dtype)


def under_autocast(layer: nn.RNNBase, form: str) -> dict[str, Tensor]:
    with autocast():
        return {name: value.float() for name, value in run(layer, form).items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_near_those_of_float32(kind: str, form: str) -> None:
    ours, theirs = pair(kind, num_layers=2, bidirectional=True)
    found, exact = under_autocast(ours, form), run(theirs, form)
    if kind == "rnn relu":  # whose derivative jumps where a sum is rounded past zero
        found, exact = ({n: v for n, v in values.items() if not n.startswith("d ")} for values in (found, exact))
        assert_close(found, exact, BOUND)
        return
    assert_close(found, exact, BOUND)
    assert not torch.allclose(found["d weight_hh_l0"], exact["d weight_hh_l0"], rtol=1e-5, atol=1e-6)
    assert ours.left_to_torch is None and all(p.grad.dtype == torch.float32 for p in ours.parameters())


def types(value: Any) -> list[torch.dtype]:
    return [t.dtype for t in flat(value)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_state", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", ["padded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_types_and_values_are_those_of_torch(
    kind: str, form: str, with_state: torch.dtype | None, dtype: torch.dtype
) -> None:
    ours, theirs = pair(kind)
    x: Any = rows(form, False)[1]
    x = PackedSequence(x.data.to(dtype), *x[1:]) if form == "packed" else x.to(dtype)
    start = [s.to(with_state) for s in flat(states(ours, form))] if with_state else []
    hx: Any = (tuple(start) if len(start) == 2 else start[0]) if start else None
    with autocast():
        found = ours(x, hx)
        assert ours.engine == "cpu-bf16" and ours.left_to_torch is None
        if kind == "lstm" and form == "padded":
            # Where the processor has no such products, oneDNN refuses the call, or torch takes another way.
            assert set(types(found)) == {torch.bfloat16}
            return
        wanted = theirs(x, hx)
    assert types(found) == types(wanted)
    for a, b in zip(flat(found), flat(wanted), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=BOUND)


def test_the_gradient_of_an_input_has_its_type() -> None:
    layer = pair("lstm")[0]
    x = rows("padded", False)[0].detach().bfloat16().requires_grad_()
    with autocast():
        layer(x)[0].float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16 and x.grad.any()


def test_a_model_trains() -> None:
    torch.manual_seed(0)
    model, head = pair("gru", batch_first=True)[0], nn.Linear(5, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.02)
    x = rows("padded", True)[0].detach()
    target, losses = x.sum(2, keepdim=True).cumsum(1).sin(), []
    for _ in range(60):
        optimizer.zero_grad()
        with autocast():
            loss = nn.functional.mse_loss(head(model(x)[0]).float(), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


def test_outside_all_is_float32_again() -> None:
    layer = pair("lstm")[0]
    x = rows("padded", False)[0].detach()
    before = layer(x)[0]
    with autocast():
        layer(x)
    after = layer(x)[0]
    assert torch.equal(before, after) and layer.engine == "cpu"


def test_float16_is_left_to_torch() -> None:
    ours, theirs = pair("gru")
    x = rows("padded", False)[0]
    with autocast(torch.float16):
        found, wanted = ours(x)[0], theirs(x)[0]
    assert torch.equal(found, wanted) and ours.left_to_torch == "autocast to torch.float16 is on"
