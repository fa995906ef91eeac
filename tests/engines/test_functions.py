"""Every function of the table, in numpy and in torch: against its definition, and against each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from elman.engines import torch_engine
from elman.equations import Cell
from elman.equations.functions import FUNCTIONS
from elman.layers import Recurrent
from elman.plans import numpy_functions

POINTS = [-30.0, -4.0, -3.0, -1.5, -1.0, -0.3, -1e-9, 0.0, 1e-9, 0.2, 0.7, 1.0, 2.9, 3.1, 30.0]

# Written with math alone, from the definitions of the table.
DEFINITIONS: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: x if x > 0 else 0.0,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "exp": math.exp,
    "abs": abs,
    "sin": math.sin,
    "cos": math.cos,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "hard_sigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "erf": math.erf,
    "step": lambda x: 1.0 if x > 0 else 0.0,
    "sign": lambda x: float((x > 0) - (x < 0)),
}
POSITIVE: dict[str, Callable[[float], float]] = {"log": math.log, "sqrt": math.sqrt}


def both(name: str, *arguments: list[float]) -> list[np.ndarray]:
    arrays = [np.array(a) for a in arguments]
    in_torch = torch_engine.FUNCTIONS[name](*(torch.tensor(a, dtype=torch.float64) for a in arguments))
    return [np.asarray(numpy_functions.FUNCTIONS[name](*arrays)), in_torch.numpy()]


def test_every_function_of_the_table_has_both() -> None:
    assert set(FUNCTIONS) <= set(numpy_functions.FUNCTIONS)
    assert set(numpy_functions.FUNCTIONS) == set(torch_engine.FUNCTIONS)


@pytest.mark.parametrize("name", [*DEFINITIONS, *POSITIVE])
def test_one_argument(name: str) -> None:
    points = POINTS if name in DEFINITIONS else [1e-6, 0.5, 1.0, 20.0]
    wanted = [(DEFINITIONS | POSITIVE)[name](x) for x in points]
    for found in both(name, points):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("add", [3.0, -3.0, 4.0]),
        ("sub", [-1.0, 1.0, 0.0]),
        ("mul", [2.0, 2.0, 4.0]),
        ("div", [0.5, 0.5, 1.0]),
        ("min", [1.0, -2.0, 2.0]),
        ("max", [2.0, -1.0, 2.0]),
        ("greater", [0.0, 1.0, 0.0]),
    ],
)
def test_two_arguments(name: str, wanted: list[float]) -> None:
    for found in both(name, [1.0, -1.0, 2.0], [2.0, -2.0, 2.0]):
        np.testing.assert_array_equal(found, wanted)


def test_layer_norm_and_its_gradient() -> None:
    x, d = [1.0, 2.0, 4.0, -1.0], [0.3, -0.7, 1.1, 0.2]
    mean, variance = 1.5, 3.25
    for found in both("layer_norm", x):
        np.testing.assert_allclose(found, [(v - mean) / math.sqrt(variance + 1e-5) for v in x], rtol=1e-13)
    like = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.layer_norm(like, (4,)).backward(torch.tensor(d, dtype=torch.float64))
    assert like.grad is not None
    for found in both("layer_norm_backward", x, d):
        np.testing.assert_allclose(found, like.grad.numpy(), rtol=1e-11)


def test_far_out_nothing_overflows() -> None:
    """Warnings are errors here: exp(1000) inside a sigmoid or softplus would raise one."""
    for name, wanted in (("sigmoid", [0.0, 1.0]), ("softplus", [0.0, 1000.0]), ("elu", [-1.0, 1000.0])):
        for found in both(name, [-1000.0, 1000.0]):
            np.testing.assert_allclose(found, wanted, atol=1e-300)


KINKS = [-3.0, -1.0, 0.0, 1.0, 3.0]


@pytest.mark.parametrize("name", [n for n in (*DEFINITIONS, "min", "max") if FUNCTIONS[n].derivative])
def test_derivatives_at_kinks_are_those_of_the_table(name: str) -> None:
    """By the reference, which derives them from the table, and by torch's own differentiation."""
    term = f"{name}(x, 0.5 * (x + x))" if name in ("min", "max") else f"{name}(x)"
    cell = Cell(f"h = {term} * w + 0.5 * h<t-1>")
    slopes = []
    for engine in ("reference", "torch-schedule"):
        layer = Recurrent(cell, len(KINKS), len(KINKS), engine=engine).double()
        layer.weights["w"].data.fill_(1.0)
        x = torch.tensor([[KINKS]], dtype=torch.float64, requires_grad=True)
        layer(x)[0].sum().backward()
        assert x.grad is not None
        slopes.append(x.grad.flatten().tolist())
    assert slopes[0] == pytest.approx(slopes[1], abs=1e-12)


def test_ties_go_to_the_second_and_what_is_no_number_stays() -> None:
    nan = math.nan
    for name in ("min", "max"):
        a, b = torch.tensor([1.0, nan, 2.0], requires_grad=True), torch.tensor([1.0, 3.0, nan], requires_grad=True)
        found = torch_engine.FUNCTIONS[name](a, b)
        assert found[0] == 1.0 and found[1:].isnan().all()
        found[0].backward()
        assert a.grad is not None and b.grad is not None and (a.grad[0], b.grad[0]) == (0.0, 1.0)
