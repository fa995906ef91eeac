"""Torch's recurrent layers as cells of Elman, with parameters in the order in which torch's arrays hold them.

Torch stacks the gates of a layer: `weight_ih` (G H, I) and `weight_hh` (G H, O) hold G matrices one below the other.
Each cell here names those matrices in that order, so that the engine takes torch's arrays as they are. Of torch's two
biases only the sum counts, but for the GRU, whose reset gate stands between them in the candidate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from elman.engines.cpu.runners import Choice, Program, Runner
from elman.equations import Cell

# The output first, so that states have torch's order.
_LSTM = """
h<t> = o * tanh(c)
i    = sigmoid(W_ii x + W_hi h<t-1> + b_i)
f    = sigmoid(W_if x + W_hf h<t-1> + b_f)
g    = tanh(W_ig x + W_hg h<t-1> + b_g)
o    = sigmoid(W_io x + W_ho h<t-1> + b_o)
c<t> = f * c<t-1> + i * g
"""

_GRU = """
r    = sigmoid(W_ir x + W_hr h<t-1> + b_r)
z    = sigmoid(W_iz x + W_hz h<t-1> + b_z)
n    = tanh(W_in x + b_n + r * (W_hn h<t-1> + b_hn))
h<t> = (1 - z) * n + z * h<t-1>
"""

_PROJECTED = "size: h = P\n" + _LSTM.replace("o * tanh(c)", "V_h (o * tanh(c))")

_TEXT = {
    "LSTM": _LSTM,
    "LSTM_PROJECTED": _PROJECTED,
    "GRU": _GRU,
    "RNN_TANH": "h = tanh(W_i x + W_h h<t-1> + b)",
    "RNN_RELU": "h = relu(W_i x + W_h h<t-1> + b)",
}
_GATES = {"LSTM": "ifgo", "LSTM_PROJECTED": "ifgo", "GRU": "rzn", "RNN_TANH": ("",), "RNN_RELU": ("",)}


class Kind(NamedTuple):
    """What parameters do not tell of a layer.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU", as torch names it.
        directions: D, 1 or 2.
        halves: Products have factors of bfloat16.
    """

    mode: str
    directions: int
    halves: bool = False


@dataclass(frozen=True)
class Layer:
    """One layer of torch.nn in one direction.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU", as torch names it.
        input_size: I.
        hidden_size: H.
        proj_size: P, size of the output of a projected LSTM; 0 without projection.
        bias: With biases.
        halves: Products have factors of bfloat16.
    """

    mode: str
    input_size: int
    hidden_size: int
    proj_size: int
    bias: bool
    halves: bool = False

    @property
    def output_size(self) -> int:
        """O, which is P or H."""
        return self.proj_size or self.hidden_size

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Components of h, and of c where there is one."""
        return (self.output_size, self.hidden_size) if self.mode == "LSTM" else (self.hidden_size,)

    @property
    def arrays(self) -> int:
        """Number of torch's parameters."""
        return 2 + 2 * self.bias + bool(self.proj_size)


def cell(layer: Layer) -> Cell:
    """Return the equations of a layer."""
    mode = "LSTM_PROJECTED" if layer.proj_size else layer.mode
    text = _TEXT[mode] if layer.bias else re.sub(r" \+ b\w*", "", _TEXT[mode])
    return Cell(text, name=f"torch.nn {mode.lower()}", output="h")


def shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """Return the parameters of the cell with their shapes, in the order of torch's arrays."""
    gates = _GATES["LSTM_PROJECTED" if layer.proj_size else layer.mode]
    hidden = layer.hidden_size
    found: dict[str, tuple[int, ...]] = {f"W_i{gate}": (hidden, layer.input_size) for gate in gates}
    found |= {f"W_h{gate}": (hidden, layer.output_size) for gate in gates}
    if layer.bias:
        names = [f"b_{gate}" if gate else "b" for gate in gates] + (["b_hn"] if layer.mode == "GRU" else [])
        found |= dict.fromkeys(names, (hidden,))
    return found | ({"V_h": (layer.proj_size, hidden)} if layer.proj_size else {})


@lru_cache(maxsize=256)
def runner(layer: Layer, keep: bool) -> Runner:
    """Return the layer's cell, compiled for the engine.

    Args:
        layer: The layer.
        keep: With the way back.
    """
    widths = {"x": layer.input_size, "h": layer.output_size, "c": layer.hidden_size}
    sizes = {"I": layer.input_size, "H": layer.hidden_size, "P": layer.output_size}
    equations = cell(layer)
    widths = {name: width for name, width in widths.items() if name in ("x", *equations.states)}
    choice = Choice(precision="bf16" if layer.halves else "float32")
    return Program(equations, shapes(layer), sizes, widths, choice).runner(keep)


def engine_weights(layer: Layer, weights: list[Tensor]) -> list[Tensor]:
    """Return what the engine takes for torch's parameters of one direction: the biases summed, the rest as it is."""
    if not layer.bias:
        return weights
    w_ih, w_hh, b_ih, b_hh, *projection = weights
    bias = torch.add(b_ih, b_hh)
    if layer.mode == "GRU":
        two = 2 * layer.hidden_size
        bias = torch.cat([bias[:two], b_ih[two:], b_hh[two:]])  # (4 H,)
    return [w_ih, w_hh, bias, *projection]


def torch_gradients(layer: Layer, gradients: list[Tensor | None]) -> list[Tensor | None]:
    """Return the gradients of torch's parameters from those of the engine's."""
    if not layer.bias:
        return gradients
    d_ih, d_hh, d_bias, *projection = gradients
    if d_bias is None:
        return [d_ih, d_hh, None, None, *projection]
    if layer.mode == "GRU":
        two, three = 2 * layer.hidden_size, 3 * layer.hidden_size
        return [d_ih, d_hh, d_bias[:three].clone(), torch.cat([d_bias[:two], d_bias[three:]])]
    return [d_ih, d_hh, d_bias, d_bias.clone(), *projection]
