"""The cells as one writes them by hand, with the products of all gates joined: what loops over time are made of.

They know nothing of Elman but its weights, and serve as the oracle of the benchmark too. One text for torch, JAX and
NumPy, whose functions come in an `Arrays`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Weights = Mapping[str, Any]
"""W (I, G H), R (H, G H), b (G H,) with G gates side by side, and what a cell has besides."""


@dataclass(frozen=True)
class Arrays:
    """The functions of an array library.

    Args:
        sigmoid, tanh: Of each component.
        split: Into n equal parts along the last axis.
        layer_norm: Normalise the last axis to mean 0 and variance 1.
    """

    sigmoid: Callable[[Any], Any]
    tanh: Callable[[Any], Any]
    split: Callable[[Any, int], Any]
    layer_norm: Callable[[Any], Any]


NUMPY = Arrays(
    lambda a: 1.0 / (1.0 + np.exp(-a)),
    np.tanh,
    lambda a, n: np.split(a, n, axis=-1),
    lambda a: (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5),
)


def affine(m: Arrays, w: Weights, x: Any) -> Any:
    """The input's share of every gate, for all steps at once."""
    return x @ w["W"] + w["b"]


def normalised(m: Arrays, w: Weights, x: Any) -> list[Any]:
    """The same with each gate normalised by itself; one array a gate."""
    return [w["w"][n] * m.layer_norm(part) + w["b"][n] for n, part in enumerate(m.split(x @ w["W"], 4))]


def rnn(m: Arrays, w: Weights, p: Any, h: Any) -> Any:
    """Elman 1990."""
    return (m.tanh(p + h @ w["R"]),)


def gru(m: Arrays, w: Weights, p: Any, c: Any) -> Any:
    """Reset before the product: two products, one after the other."""
    width = c.shape[-1]
    u, r = m.split(m.sigmoid(p[..., : 2 * width] + c @ w["R"]), 2)
    new = m.tanh(p[..., 2 * width :] + (r * c) @ w["R_c"])
    return (u * new + (1 - u) * c,)


def gru_reset_after(m: Arrays, w: Weights, p: Any, h: Any) -> Any:
    """torch.nn.GRU."""
    a_r, a_z, a_n = m.split(p, 3)
    q_r, q_z, q_n = m.split(h @ w["R"], 3)
    r, z = m.sigmoid(a_r + q_r), m.sigmoid(a_z + q_z)
    n = m.tanh(a_n + r * (q_n + w["b_hn"]))
    return ((1 - z) * n + z * h,)


def lstm(m: Arrays, w: Weights, p: Any, h: Any, c: Any) -> Any:
    """torch.nn.LSTM."""
    i, f, g, o = m.split(p + h @ w["R"], 4)
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    return m.sigmoid(o) * m.tanh(c), c


def lstm_peephole(m: Arrays, w: Weights, p: Any, h: Any, c: Any) -> Any:
    """Graves 2013."""
    i, f, g, o = m.split(p + h @ w["R"], 4)
    new = m.sigmoid(f + w["p_f"] * c) * c + m.sigmoid(i + w["p_i"] * c) * m.tanh(g)
    return m.sigmoid(o + w["p_o"] * new) * m.tanh(new), new


def lstm_layer_norm(m: Arrays, w: Weights, p: Any, h: Any, c: Any) -> Any:
    """Ba, Kiros and Hinton 2016, each gate normalised by itself."""
    q = [w["w_h"][n] * m.layer_norm(part) for n, part in enumerate(m.split(h @ w["R"], 4))]
    i, f, g, o = (a + b for a, b in zip(p, q, strict=True))
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    return m.sigmoid(o) * m.tanh(w["w_c"] * m.layer_norm(c) + w["b_c"]), c


def min_gru(m: Arrays, w: Weights, p: Any, h: Any) -> Any:
    """Feng et al. 2024."""
    a, new = m.split(p, 2)
    z = m.sigmoid(a)
    return ((1 - z) * h + z * new,)


def invented(m: Arrays, w: Weights, p: Any, h: Any, c: Any) -> Any:
    """cases.INVENTED."""
    a_g, a_r, a_m = m.split(p + h @ w["R"], 3)
    gate = m.sigmoid(a_g)
    new = gate * c + (1 - gate) * m.sigmoid(a_r) * m.tanh(a_m)
    return m.tanh(new + w["p"] * c), new


@dataclass(frozen=True)
class Handwritten:
    """A cell by hand.

    Args:
        step: (arrays, weights, input's share, states) to the states after the step, the output first.
        states: How many.
        gates: Names of the gates, as the equations index their matrices, in the order in which they are joined.
        project: (arrays, weights, x (T, B, I)) to the input's share.
    """

    step: Callable[..., Any]
    states: int
    gates: tuple[str, ...]
    project: Callable[[Arrays, Weights, Any], Any] = affine


HANDWRITTEN: dict[str, Handwritten] = {
    "rnn": Handwritten(rnn, 1, ("",)),
    "gru": Handwritten(gru, 1, ("u", "r", "c")),
    "gru_reset_after": Handwritten(gru_reset_after, 1, ("r", "z", "n")),
    "lstm": Handwritten(lstm, 2, ("i", "f", "g", "o")),
    "lstm_pasted": Handwritten(lstm, 2, ("i", "f", "g", "o")),
    "lstm_peephole": Handwritten(lstm_peephole, 2, ("i", "f", "g", "o")),
    "lstm_layer_norm": Handwritten(lstm_layer_norm, 2, ("i", "f", "g", "o"), normalised),
    "min_gru": Handwritten(min_gru, 1, ("z", "h")),
    "invented": Handwritten(invented, 2, ("gamma", "rho", "m")),
}


def joined(cell: str, weights: Mapping[str, np.ndarray], hidden: int) -> dict[str, np.ndarray]:
    """Join a cell's parameters, or their gradients but for biases, in the layout of `Weights`."""
    gates = HANDWRITTEN[cell].gates
    of_input, of_state = zip(*(_matrices(weights, gate, hidden) for gate in gates), strict=True)
    table = {"W": np.concatenate(of_input).T}  # (I, G H)
    recurrent = [matrix for matrix in of_state if matrix is not None]
    if cell == "gru":
        table["R_c"] = recurrent.pop().T
    if recurrent:
        table["R"] = np.concatenate(recurrent).T  # (H, G H)
    biases = [weights[f"b_{gate}" if gate else "b"] for gate in gates]
    if cell == "lstm_layer_norm":
        table |= {"b": np.stack(biases), "w": _stack(weights, "w_", gates), "w_h": _stack(weights, "w_h", gates)}
    elif cell == "gru_reset_after":
        table |= {"b": np.concatenate([biases[0] + weights["b_hr"], biases[1] + weights["b_hz"], biases[2]])}
    else:
        table |= {"b": np.concatenate(biases)}
    extra = [n for n in ("p_i", "p_f", "p_o", "p", "b_hn", "w_c") if n in weights] + ["b_c"] * ("w_c" in weights)
    return {n: np.ascontiguousarray(v) for n, v in {**table, **{n: weights[n] for n in extra}}.items()}


def _stack(weights: Mapping[str, np.ndarray], prefix: str, gates: tuple[str, ...]) -> np.ndarray:
    return np.stack([weights[prefix + gate] for gate in gates])


def _matrices(weights: Mapping[str, np.ndarray], gate: str, hidden: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A gate's matrices of the input (H, I) and of the state (H, H): one over both, or two, or the first only."""
    if not gate:
        return weights["W_x"], weights["W_h"]
    whole = weights[f"W_{gate}"]
    if f"R_{gate}" in weights:
        return whole, weights[f"R_{gate}"]
    return (whole[:, hidden:], whole[:, :hidden]) if whole.shape[1] > hidden else (whole, None)
