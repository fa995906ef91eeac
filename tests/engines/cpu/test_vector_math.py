"""The functions of equations on the engine's vectors: right over the whole range of float32, on every target.

A function is judged against float64 at one float in 40,009 of all, which meets every exponent some two hundred times,
and densely where activations live. Its bound is in units in the last place of the result, plus an absolute part where
the definition itself cancels or falls below the normal numbers, which the engine takes for zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray

from elman.plans.native import BF16_UNITS, available, engine

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

Doubles = NDArray[np.float64]
# Targets with a unit for bfloat16 have the vectors of avx512.
TARGETS = [t for t in engine.targets() if t not in BF16_UNITS] if available() else []
CODES = (
    "copy add sub mul div neg min max sigmoid tanh relu softplus exp log sqrt abs sin cos elu silu gelu hard_sigmoid "
    "hard_tanh erf step sign greater mul_add sub_from sigmoid_back tanh_back mix"
).split()
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Function:
    """What a function must be, and how near.

    Args:
        exact: In float64.
        ulps: Bound of the error in units in the last place of the result, which may depend on x.
        absolute: Added to it.
    """

    exact: Callable[[Doubles], Doubles]
    ulps: float | Callable[[Doubles], Doubles] = 1.0
    absolute: float = 0.0


def expit(x: Doubles) -> Doubles:
    return np.asarray(scipy.special.expit(x))


FUNCTIONS = {
    "sigmoid": Function(expit, 3, TINY),
    "tanh": Function(np.tanh, 3, TINY),
    "exp": Function(np.exp, 2, TINY),
    "relu": Function(lambda x: np.maximum(x, 0.0), 0),
    "abs": Function(np.abs, 0),
    "neg": Function(lambda x: -x, 0),
    "sqrt": Function(np.sqrt, 0.5),
    "log": Function(np.log),
    "sin": Function(np.sin),
    "cos": Function(np.cos),
    "erf": Function(scipy.special.erf),
    "elu": Function(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))),
    "softplus": Function(lambda x: np.logaddexp(0.0, x), 2),
    # Where the sigmoid falls below the normal numbers it is zero: |x| times the smallest of them is lost.
    "silu": Function(lambda x: x * expit(x), 5, 104 * TINY),
    # The factor 1 / sqrt(2) is rounded, and erfc magnifies the rounding by x^2.
    "gelu": Function(lambda x: 0.5 * x * scipy.special.erfc(-x / np.sqrt(2.0)), lambda x: 3.0 + 2.0 * x * x, TINY),
    "hard_sigmoid": Function(lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0), 1, 2.0**-24),
    "hard_tanh": Function(lambda x: np.clip(x, -1.0, 1.0), 0),
    "step": Function(lambda x: np.where(x > 0, 1.0, 0.0), 0),
}


def call(target: str, name: str, *arguments: NDArray[np.float32]) -> Doubles:
    a, b, c = ([float(v) for v in values] for values in (*arguments, *[np.zeros(0)] * (3 - len(arguments))))
    return np.array(engine.function(target, CODES.index(name), a, b, c), np.float64)


def everywhere() -> NDArray[np.float32]:
    """Floats of every exponent and sign, and a fine grid where activations live; no NaN, no infinity."""
    bits = np.arange(0, 2**32, 40_009, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([bits[np.isfinite(bits)], np.linspace(-120.0, 120.0, 20_001).astype(np.float32)])


def excess(name: str, x: NDArray[np.float32], found: Doubles) -> Doubles:
    """By how much errors pass the bound of a function: at most 0 if it holds. 0 where the result is no finite float."""
    function = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        wanted = function.exact(x.astype(np.float64))
        rounded = wanted.astype(np.float32)
        ulps = function.ulps(x.astype(np.float64)) if callable(function.ulps) else function.ulps
        bound = ulps * np.spacing(np.abs(rounded)).astype(np.float64) + function.absolute
        return np.where(np.isfinite(rounded), np.abs(found - wanted) - bound, 0.0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_bounded_over_the_whole_range(name: str, target: str) -> None:
    x = everywhere()
    off = excess(name, x, call(target, name, x))
    worst = int(np.argmax(off))
    assert off[worst] <= 0, f"{name}({x[worst]!r})"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan_and_infinities_saturate(name: str, target: str) -> None:
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38, 30.0, -200.0], np.float32)
    with np.errstate(all="ignore"):
        wanted = FUNCTIONS[name].exact(x.astype(np.float64)).astype(np.float32)
    if name in ("silu", "gelu"):  # -inf times zero
        wanted[3] = np.nan
    if name == "step":  # nothing is greater than NaN
        wanted[:2] = 0.0
    if name in ("sin", "cos"):
        x, wanted = x[:4], wanted[:4]
    np.testing.assert_array_equal(call(target, name, x).astype(np.float32), wanted)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["min", "max"])
def test_the_smaller_or_larger_of_nan_and_a_number_is_nan(name: str, target: str) -> None:
    a, b = np.array([np.nan, 1.0, np.nan, 2.0], np.float32), np.array([1.0, np.nan, np.nan, 3.0], np.float32)
    np.testing.assert_array_equal(call(target, name, a, b), [np.nan, np.nan, np.nan, 2.0 if name == "min" else 3.0])


@pytest.mark.parametrize("target", TARGETS)
def test_operations_of_two_and_three_numbers_are_their_definitions(target: str) -> None:
    a, b, c = np.random.default_rng(0).normal(size=(3, 1_003)).astype(np.float32)
    x, y, z = a.astype(np.float64), b.astype(np.float64), c.astype(np.float64)
    exact = {
        "add": x + y,
        "sub": x - y,
        "mul": x * y,
        "div": x / y,
        "greater": np.where(x > y, 1.0, 0.0),
        "mul_add": x * y + z,
        "sub_from": z - x * y,
        "sigmoid_back": x * y * (1 - y),
        "tanh_back": x * (1 - y * y),
        "mix": x * y + (1 - x) * z,
    }
    for name, wanted in exact.items():
        scale = 1.0 + np.abs(x * y) + np.abs(z) + np.abs(x * z) + np.abs(x * y * y) + np.abs(x / y)
        off = np.abs(call(target, name, a, b, c) - wanted) / scale
        assert off.max() < 2.0**-22, name


@pytest.mark.parametrize(
    "wrong", [lambda y: y * (1 + 2.0**-20), lambda y: np.minimum(y, 0.9999994), lambda y: np.where(y < 1e-6, 0.0, y)]
)
def test_the_bound_rejects_a_worse_function(wrong: Callable[[Doubles], Doubles]) -> None:
    x = everywhere()
    assert excess("sigmoid", x, wrong(call("scalar", "sigmoid", x))).max() > 0
