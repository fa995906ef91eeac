"""Independent witnesses: finite differences, error bounds, and cells written out by hand from their papers.

Nothing here knows an engine, a schedule or a parser. What agrees with these functions agrees with the mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Arrays = Mapping[str, Array]

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23}
FINITE_STEP = float(np.cbrt(EPSILON["float64"]))
"""Step of central differences, 6e-6.

A central difference errs by h^2 |f'''| / 6, from truncation, and by about eps |f| / h, from rounding. For f and f'''
of the size of 1 the sum is least near h = eps^(1/3), where it is some eps^(2/3) = 4e-11: four orders below the 1e-6
that is asked of gradients, so that a case whose third derivative is a hundred times larger is still judged fairly.
"""


def rounding_bound(terms: int, kind: str, growth: float = 1.0, factor: float = 8.0) -> float:
    """Return the relative error allowed between two right computations: factor * growth * sqrt(terms) * eps.

    A sum of n products, in any order, errs by at most n * eps * sum |a_i b_i| (Higham 2002, section 3.1); roundings are
    near independent, and then the error grows as sqrt(n) * eps (section 2.8). Pointwise functions add a few eps and
    have slopes near 1 at most; what multiplies an early error is the recurrent matrix, by its norm at each step. The
    factor covers what is not random: five standard deviations, and the constants of the functions.

    Args:
        terms: Summands on the longest way to the value: steps times the columns of the widest matrix.
        kind: "float64" or "float32".
        growth: How far the recurrence may enlarge an error on its way; 1 or more.
        factor: Room above one standard deviation; 8.
    """
    return factor * growth * float(np.sqrt(terms)) * EPSILON[kind]


def relative_error(found: Any, wanted: Any, floor: float = 1e-2) -> float:
    """Return |found - wanted| / |wanted| in the Euclidean norm; NaN or a wrong shape is an infinite error.

    Args:
        found, wanted: Arrays of one shape.
        floor: Least norm to divide by. A gradient that is zero has no relative error; its absolute one is measured.
    """
    found, wanted = np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if found.shape != wanted.shape or not np.isfinite(found).all() or not np.isfinite(wanted).all():
        return float("inf")
    return float(np.linalg.norm(found - wanted) / max(float(np.linalg.norm(wanted)), floor))


def slopes(function: Callable[[], float], values: Array, step: float = FINITE_STEP) -> Array:
    """Return the derivative of function() by every entry of `values`, which it reads, by central differences."""
    found = np.empty_like(values)
    for index in np.ndindex(values.shape):
        kept = values[index]
        values[index] = kept + step
        above = function()
        values[index] = kept - step
        found[index] = (above - function()) / (2 * step)
        values[index] = kept
    return found


def slope_along(function: Callable[[], float], values: Array, direction: Array, step: float = FINITE_STEP) -> float:
    """Return the derivative of function() along a direction of `values`: two calls for all entries at once.

    A gradient that is right along random directions is right: the error of a wrong one is orthogonal to a random
    direction with probability zero.
    """
    kept = values.copy()
    values[...] = kept + step * direction
    above = function()
    values[...] = kept - step * direction
    below = function()
    values[...] = kept
    return (above - below) / (2 * step)


# ---- Cells by hand. One step of one sequence: parameters, x (I,), states before -> output, states after.
# A matrix over [h, x] is cut by hand: its first columns belong to the state, the others to the input.

Step = Callable[[Arrays, Array, Arrays], tuple[Array, dict[str, Array]]]


def sigmoid(z: Array) -> Array:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-z))


def affine(p: Arrays, gate: str, first: Array, second: Array) -> Array:
    """Return W [first, second] + b for the gate's W and b, entry by entry."""
    W, b = p[f"W_{gate}"], p[f"b_{gate}"]
    assert W.shape == (len(b), len(first) + len(second))
    z = np.array(b, dtype=np.float64)
    for row in range(len(b)):
        for column in range(len(first)):
            z[row] += W[row, column] * first[column]
        for column in range(len(second)):
            z[row] += W[row, len(first) + column] * second[column]
    return z


def rnn(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Elman 1990."""
    h = np.tanh(p["W_h"].dot(s["h"]) + p["W_x"].dot(x) + p["b"])
    return h, {"h": h}


def rnn_relu(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Le et al. 2015."""
    z = p["W_h"].dot(s["h"]) + p["W_x"].dot(x) + p["b"]
    h = np.where(z > 0, z, 0.0)
    return h, {"h": h}


def gru(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """The notes: the reset gate before the product; the update gate multiplies the candidate."""
    before = s["c"]
    update = sigmoid(affine(p, "u", before, x))
    reset = sigmoid(affine(p, "r", before, x))
    candidate = np.tanh(affine(p, "c", reset * before, x))
    c = before + update * (candidate - before)
    return c, {"c": c}


def gru_no_update(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """The notes' quiz, Alice: gru with an update gate of 1."""
    c = np.tanh(affine(p, "c", sigmoid(affine(p, "r", s["c"], x)) * s["c"], x))
    return c, {"c": c}


def gru_no_reset(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """The notes' quiz, Betty: gru with a reset gate of 1."""
    update = sigmoid(affine(p, "u", s["c"], x))
    c = s["c"] + update * (np.tanh(affine(p, "c", s["c"], x)) - s["c"])
    return c, {"c": c}


def gru_reset_after(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """The manual of torch.nn.GRU: b_hn inside the reset product; z weighs the old state."""
    h = s["h"]
    r = sigmoid(p["W_r"].dot(x) + p["b_r"] + p["R_r"].dot(h) + p["b_hr"])
    z = sigmoid(p["W_z"].dot(x) + p["b_z"] + p["R_z"].dot(h) + p["b_hz"])
    n = np.tanh(p["W_n"].dot(x) + p["b_n"] + r * (p["R_n"].dot(h) + p["b_hn"]))
    after = n + z * (h - n)
    return after, {"h": after}


def lstm(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Gers et al. 2000."""
    i, f, o = (sigmoid(affine(p, gate, s["h"], x)) for gate in "ifo")
    c = f * s["c"] + i * np.tanh(affine(p, "g", s["h"], x))
    h = o * np.tanh(c)
    return h, {"c": c, "h": h}


def lstm_notes(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """The notes: the output gate alone reads the memory of the step before."""
    u, f = (sigmoid(affine(p, gate, s["a"], x)) for gate in "uf")
    o = sigmoid(affine(p, "o", s["c"], x))
    c = u * np.tanh(affine(p, "c", s["a"], x)) + f * s["c"]
    a = o * np.tanh(c)
    return a, {"c": c, "a": a}


def lstm_original(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Hochreiter and Schmidhuber 1997: the memory has a self-connection of 1."""
    i, o = (sigmoid(affine(p, gate, s["h"], x)) for gate in "io")
    c = s["c"] + i * np.tanh(affine(p, "g", s["h"], x))
    h = o * np.tanh(c)
    return h, {"c": c, "h": h}


def lstm_peephole(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Graves 2013, equations 7 to 11: i and f see the old memory, o the new one."""
    i = sigmoid(affine(p, "i", s["h"], x) + p["p_i"] * s["c"])
    f = sigmoid(affine(p, "f", s["h"], x) + p["p_f"] * s["c"])
    c = f * s["c"] + i * np.tanh(affine(p, "g", s["h"], x))
    o = sigmoid(affine(p, "o", s["h"], x) + p["p_o"] * c)
    h = o * np.tanh(c)
    return h, {"c": c, "h": h}


def lstm_coupled(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Greff et al. 2017: the input gate is what the forget gate leaves."""
    f, o = (sigmoid(affine(p, gate, s["h"], x)) for gate in "fo")
    g = np.tanh(affine(p, "g", s["h"], x))
    c = g + f * (s["c"] - g)
    h = o * np.tanh(c)
    return h, {"c": c, "h": h}


def lstm_projected(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Sak et al. 2014 without peepholes: lstm whose output is multiplied before it is fed back."""
    wide, after = lstm(p, x, s)
    h = p["V_h"].dot(wide)
    return h, {"c": after["c"], "h": h}


def mgu(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Zhou et al. 2016: one gate for both purposes of the GRU's."""
    f = sigmoid(affine(p, "f", s["h"], x))
    h = (1.0 - f) * s["h"] + f * np.tanh(affine(p, "h", f * s["h"], x))
    return h, {"h": h}


def min_gru(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Feng et al. 2024: gate and candidate read the input only; the candidate is linear."""
    z = sigmoid(p["W_z"].dot(x) + p["b_z"])
    h = (1.0 - z) * s["h"] + z * (p["W_h"].dot(x) + p["b_h"])
    return h, {"h": h}


def min_lstm(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Feng et al. 2024, the gates divided by their sum."""
    f, i = (sigmoid(p[f"W_{gate}"].dot(x) + p[f"b_{gate}"]) for gate in "fi")
    h = (f * s["h"] + i * (p["W_h"].dot(x) + p["b_h"])) / (f + i)
    return h, {"h": h}


def indrnn(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Li et al. 2018: the recurrent matrix is diagonal."""
    z = np.diag(p["w_h"]).dot(s["h"]) + p["W"].dot(x) + p["b"]
    h = np.where(z > 0, z, 0.0)
    return h, {"h": h}


def sru(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Lei et al. 2018: both gates read the old memory, component by component; the skip is a projection of x."""
    f, r = (sigmoid(p[f"W_{gate}"].dot(x) + p[f"w_{gate}"] * s["c"] + p[f"b_{gate}"]) for gate in "fr")
    c = f * s["c"] + (1.0 - f) * p["W_c"].dot(x)
    return r * c + (1.0 - r) * p["W_s"].dot(x), {"c": c}


def scrn(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Mikolov et al. 2015: the hidden layer reads the new context."""
    context = 0.95 * s["s"] + 0.05 * p["W_s"].dot(x)
    h = sigmoid(p["W_p"].dot(context) + p["W_h"].dot(x) + p["R_h"].dot(s["h"]))
    return np.tanh(p["W_k"].dot(h) + p["W_c"].dot(context)), {"s": context, "h": h}


def antisymmetric_rnn(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Chang et al. 2019: one Euler step of 0.1 with diffusion 0.01; the matrix is built in full."""
    W = p["W_h"]
    M = W - W.T - 0.01 * np.eye(len(W))
    h = s["h"] + 0.1 * np.tanh(M.dot(s["h"]) + p["V_h"].dot(x) + p["b_h"])
    return h, {"h": h}


def co_rnn(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Rusch and Mishra 2021, equation 3: the velocity first, then the position with the new velocity."""
    force = np.tanh(p["W_y"].dot(s["y"]) + p["W_z"].dot(s["z"]) + p["V"].dot(x) + p["b"])
    z = s["z"] + 0.05 * force - 0.05 * 2.7 * s["y"] - 0.05 * 4.7 * s["z"]
    y = s["y"] + 0.05 * z
    return y, {"z": z, "y": y}


def normalised(v: Array) -> Array:
    """Zero mean and variance 1, with 1e-5 under the root."""
    centred = v - v.sum() / len(v)
    return centred / np.sqrt((centred * centred).sum() / len(v) + 1e-5)


def gru_layer_norm(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Ba et al. 2016: both products of every gate normalised, the shift of the recurrent one inside the reset."""
    h = s["h"]
    r, z = (
        sigmoid(p[f"w_{k}"] * normalised(p[f"W_{k}"] @ x) + p[f"w_h{k}"] * normalised(p[f"R_{k}"] @ h) + p[f"b_{k}"])
        for k in "rz"
    )
    hidden = p["w_hn"] * normalised(p["R_n"] @ h) + p["b_hn"]
    n = np.tanh(p["w_n"] * normalised(p["W_n"] @ x) + p["b_n"] + r * hidden)
    after = h + z * (n - h)
    return after, {"h": after}


def rhn(p: Arrays, x: Array, s: Arrays) -> tuple[Array, dict[str, Array]]:
    """Zilly et al. 2017: two highway layers in one step; only the first reads the input."""
    state = s["s"]
    value = np.tanh(p["W_v"].dot(x) + p["R_v"].dot(state) + p["b_v"])
    gate = sigmoid(p["W_k"].dot(x) + p["R_k"].dot(state) + p["b_k"])
    state = value * gate + state * (1.0 - gate)
    value, gate = np.tanh(p["U_q"].dot(state) + p["b_q"]), sigmoid(p["U_z"].dot(state) + p["b_z"])
    state = value * gate + state * (1.0 - gate)
    return state, {"s": state}


BY_HAND: dict[str, Step] = {
    "rnn": rnn,
    "rnn_relu": rnn_relu,
    "gru": gru,
    "gru_no_update": gru_no_update,
    "gru_no_reset": gru_no_reset,
    "gru_reset_after": gru_reset_after,
    "gru_layer_norm": gru_layer_norm,
    "lstm": lstm,
    "lstm_notes": lstm_notes,
    "lstm_original": lstm_original,
    "lstm_peephole": lstm_peephole,
    "lstm_coupled": lstm_coupled,
    "lstm_projected": lstm_projected,
    "mgu": mgu,
    "rhn": rhn,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "indrnn": indrnn,
    "sru": sru,
    "scrn": scrn,
    "antisymmetric_rnn": antisymmetric_rnn,
    "coRNN": co_rnn,
}
"""The witness of a cell, by its name in the catalogue."""


def run_by_hand(
    step: Step, p: Arrays, x: Array, lengths: tuple[int, ...], state: Arrays, reverse: bool = False
) -> tuple[Array, dict[str, Array]]:
    """Run a witness over x (B, T, I), each row alone: y (B, T, O), zero beyond a length; final states (B, S)."""
    outputs, finals = [], []
    for row, length in enumerate(lengths):
        now = {name: value[row] for name, value in state.items()}
        found = {}
        for place in reversed(range(length)) if reverse else range(length):
            found[place], now = step(p, x[row, place], now)
        padding = np.zeros((x.shape[1] - length, len(found[0])))
        outputs.append(np.concatenate([np.stack([found[place] for place in range(length)]), padding]))
        finals.append(now)
    return np.stack(outputs), {name: np.stack([final[name] for final in finals]) for name in state}
