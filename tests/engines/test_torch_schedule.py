"""The schedule in torch: equal to the reference, with the products where the schedule says they are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import elman
from elman.equations import Cell

# What each adds: see test_reference; further a cell without parameters and one that is hoisted almost entirely.
CELLS = {
    "two rounds": Cell("r = sigmoid(W_r [h<t-1>, x] + b_r)\nh = tanh(W_h [r * h<t-1>, x] + b_h) + 0.5 * h<t-1>"),
    "own size": Cell("size: v = P\nv = tanh(W_v [h<t-1>, x] + b_v)\nh = tanh(W_h [v, h<t-1>] + b_h)"),
    "number first": Cell("size: h = P\ng = 2\nh = g - sin(W x + h<t-1>)"),
    "parameter alone of its size": Cell("size: h = P\nh = tanh(W [x, b_1] + R h<t-1>)"),
    "output apart": Cell("c = sigmoid(W_f x + p_f * c<t-1> + b_f) * c<t-1> + W_c x\nh = tanh(c) * sigmoid(W_o x)"),
    "norm": Cell("h = tanh(w_g * layer_norm(W_h h<t-1> + W_x x) + b)"),
    "transposed": Cell("h = tanh(W_h h<t-1> - W_h^T h<t-1> + W_x x)"),
    "no parameters": Cell("h = 0.5 * h<t-1> + min(x, 1)"),
    "hoisted": Cell("z = sigmoid(W_z x + b_z)\nh = (1 - z) * h<t-1> + z * tanh(W_h x)"),
    "output hoisted": Cell("h = 0.9 * h<t-1> + W x\nk = tanh(V x) - h", output="k"),
}


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket).removeprefix("aten.")
        if name in ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "mv", "cat"):
            self.count["cat" if name == "cat" else "products"] += 1
        return func(*args, **(kwargs or {}))


def run(layer: elman.Recurrent, lengths: list[int] | None, padding: float) -> list[Tensor]:
    x = torch.randn(3, 4, layer.input_size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for row, length in enumerate(lengths or []):
        x[row, length:] = padding
    x.requires_grad_()
    layer.zero_grad()
    y, state = layer(x, lengths)
    (y.sin().sum() + sum(value.square().sum() for value in state.values())).backward()
    return [v for v in (y, *state.values(), x.grad, *(p.grad for p in layer.parameters())) if v is not None]


@pytest.mark.parametrize("lengths", [None, [2, 4, 1], [1, 1, 1]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_reference(name: str, reverse: bool, lengths: list[int] | None) -> None:
    cell = CELLS[name]
    input_size = 3 if name == "no parameters" else 2
    torch_layer, reference = (
        elman.Recurrent(
            cell,
            input_size,
            3,
            sizes=dict.fromkeys(cell.free_sizes, 2),
            engine=engine,
            reverse=reverse,
            learn_initial_state=True,
            seed=2,
        ).double()
        for engine in ("torch-schedule", "reference")
    )
    wanted = run(reference, lengths, 0.0)
    for padding in (0.0, torch.nan):
        got = run(torch_layer, lengths, padding)
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "products"),
    [("lstm", 1 + 6), ("gru", 1 + 2 * 6), ("min_gru", 1), ("indrnn", 1), ("lstm_peephole", 1 + 6), ("mgu", 1 + 2 * 6)],
)
def test_input_is_multiplied_once_and_shared_operands_once_a_step(name: str, products: int) -> None:
    layer = elman.Recurrent(name, 3, 4, engine="torch-schedule")
    with torch.no_grad(), Products() as seen:
        layer(torch.randn(2, 6, 3))
    assert seen.count["products"] == products
    assert (
        seen.count["cat"] <= 1 + len(layer.cell.schedule.rounds) + 1
    )  # weights once a call, outputs once; none a step


def test_padding_of_nan_reaches_no_gradient() -> None:
    layer = elman.Recurrent("gru", 2, 3, engine="torch-schedule")
    x = torch.full((2, 5, 2), torch.nan)
    x[0, :2], x[1, :4] = 0.5, -0.5
    x.requires_grad_()
    y, state = layer(x, lengths=[2, 4])
    (y.sum() + state.c.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)
    assert x.grad is not None and torch.isfinite(x.grad).all() and not x.grad[0, 2:].any()
    assert torch.equal(y[0, 2:], torch.zeros(3, 3)) and torch.equal(state.c[0], y[0, 1])


@pytest.mark.parametrize("engine", ["torch-schedule", "torch-fused"])
def test_half_precision_under_autocast(engine: str) -> None:
    layer = elman.Recurrent("lstm", 3, 4, engine=engine, seed=0)
    x = torch.randn(2, 5, 3)
    exact, _ = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(x)
        y, _ = layer(x, state=state)
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close, _ = layer(x)
    torch.testing.assert_close(close.float(), exact, atol=2e-2, rtol=0)
