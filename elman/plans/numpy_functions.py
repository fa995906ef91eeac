"""Every function that equations may use, in numpy: the definitions, as plainly as numpy allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from elman.equations.functions import LAYER_NORM_EPSILON

Array = np.ndarray[Any, np.dtype[np.float64]]


def _sigmoid(x: Array) -> Array:
    half: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return half


def _layer_norm(x: Array) -> Array:
    y: Array = (x - x.mean()) / np.sqrt(x.var() + LAYER_NORM_EPSILON)
    return y


def _layer_norm_backward(x: Array, d: Array) -> Array:
    y = _layer_norm(x)
    d_x: Array = (d - d.mean() - y * (d * y).mean()) / np.sqrt(x.var() + LAYER_NORM_EPSILON)
    return d_x


def _greater(a: Array, b: Array) -> Array:
    return np.greater(a, b).astype(np.float64)


_erf = np.vectorize(math.erf, otypes=[np.float64])

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "copy": lambda x: x,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "min": np.minimum,
    "max": np.maximum,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "hard_sigmoid": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hard_tanh": lambda x: np.clip(x, -1.0, 1.0),
    "layer_norm": _layer_norm,
    "erf": _erf,
    "step": lambda x: np.greater(x, 0.0).astype(np.float64),
    "sign": np.sign,
    "greater": _greater,
    "layer_norm_backward": _layer_norm_backward,
}
"""Every function of the table on vectors (S,), and the operators."""
