"""Who is measured beside Elman: torch.nn, a loop in eager torch, torch.compile of it, torchrecurrent; benchmarks/
peers_beyond_torch.py has JAX, ONNX Runtime and NumPy.

Every peer gets the same numbers in the layout that it likes best: torch's get time first, which spares them a copy.
Packing a ragged batch for torch.nn, and padding what comes out, is part of its time, as it is in a program.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

import elman
from benchmarks.cases import CELLS, Case
from benchmarks.handwritten import HANDWRITTEN, Arrays, Handwritten, joined

TORCH = Arrays(
    torch.sigmoid, torch.tanh, lambda a, n: a.chunk(n, -1), lambda a: nn.functional.layer_norm(a, a.shape[-1:])
)
TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
MODULES: dict[str, Callable[..., nn.Module]] = {"rnn": nn.RNN, "gru_reset_after": nn.GRU, "lstm": nn.LSTM}

Results = dict[str, np.ndarray]
"""What a peer computes: "y" (B, T, H) and, on the way back, "dx" (B, T, I), "dW" and "dR" in the joined layout."""


class AbsentError(Exception):
    """A peer that is not installed, or does not do what a case asks."""


@dataclass
class Setting:
    """The numbers of a case.

    Args:
        case: What is measured.
        x, dy: (B, T, I) and (B, T, H).
        lengths: (B,); None when equal.
        weights: By the names of the equations.
        joined: The same in the layout of benchmarks/handwritten.py.
    """

    case: Case
    x: np.ndarray
    dy: np.ndarray
    lengths: np.ndarray | None
    weights: dict[str, np.ndarray]
    joined: dict[str, np.ndarray]

    @property
    def steps(self) -> int:
        """Real steps of all sequences."""
        return int(self.case.batch * self.case.steps if self.lengths is None else self.lengths.sum())

    @property
    def flop(self) -> float:
        """Operations of the products: 2 for each entry of a matrix and step; a way back is twice a way forward."""
        entries = sum(w.size for w in self.weights.values() if w.ndim == 2)
        return 2.0 * entries * self.steps * (3 if self.case.way == "both" else 1)


def setting(case: Case) -> Setting:
    """Draw the numbers of a case."""
    random = np.random.default_rng(0)
    batch, steps, hidden = case.shape
    weights = {}
    for name, shape in CELLS[case.cell].parameters(hidden, hidden, {}).items():
        scale = hidden**-0.5 if len(shape) == 2 else 0.1
        weights[name] = random.uniform(-scale, scale, shape).astype(np.float32)
    x, dy = (random.standard_normal((batch, steps, hidden), dtype=np.float32) for _ in range(2))
    lengths = random.integers((steps + 3) // 4, steps + 1, batch) if case.lengths == "ragged" else None
    if lengths is not None:
        lengths[0] = steps
        live = np.arange(steps) < lengths[:, None]  # (B, T)
        x, dy = x * live[:, :, None], dy * live[:, :, None]
    if case.loss == "last":
        dy[:, :-1] = 0.0
    return Setting(case, x, dy, lengths, weights, joined(case.cell, weights, hidden))


@dataclass(frozen=True)
class Peer:
    """A peer that is ready to run.

    Args:
        call: What is timed.
        results: Of one call.
    """

    call: Callable[[], Any]
    results: Callable[[], Results]


Build = Callable[[Setting], Peer]


def _numpy(value: Tensor, time_first: bool = False) -> np.ndarray:
    value = value.detach().float()
    return (value.transpose(0, 1) if time_first else value).contiguous().numpy()


def _differentiable(
    s: Setting,
    run: Callable[[], Tensor],
    x: Tensor,
    leaves: list[Tensor],
    read: Callable[[list[Tensor]], Results],
    time_first: bool,
) -> Peer:
    """A peer of torch's: `run` gives y; `read` puts the gradients of the leaves into the joined layout."""
    dy = torch.from_numpy(s.dy).to(TYPES[s.case.precision])
    dy = dy.transpose(0, 1).contiguous() if time_first else dy

    def forward() -> Tensor:
        with torch.no_grad():
            return run()

    def both() -> list[Tensor]:
        y = run()
        return [y, *torch.autograd.grad(y, [x, *leaves], dy.to(y.dtype))]

    def results() -> Results:
        if s.case.way == "forward":
            return {"y": _numpy(forward(), time_first)}
        y, dx, *gradients = both()
        return {"y": _numpy(y, time_first), "dx": _numpy(dx, time_first), **read(gradients)}

    return Peer(forward if s.case.way == "forward" else both, results)


def elman_layer(s: Setting) -> Peer:
    """elman.Recurrent: x (B, T, I) and lengths as they come."""
    sizes = s.case.hidden, s.case.hidden
    layer = elman.Recurrent(CELLS[s.case.cell], *sizes, seed=0, precision=s.case.precision)
    with torch.no_grad():
        for name, value in s.weights.items():
            layer.weights[name].copy_(torch.from_numpy(value))
    x = torch.from_numpy(s.x).requires_grad_()
    lengths = None if s.lengths is None else torch.from_numpy(s.lengths)
    names = list(s.weights)

    def read(gradients: list[Tensor]) -> Results:
        whole = joined(s.case.cell, {n: _numpy(g) for n, g in zip(names, gradients, strict=True)}, s.case.hidden)
        return _matrices(whole)

    leaves = [layer.weights[n] for n in names]
    peer = _differentiable(s, lambda: layer(x, lengths)[0], x, leaves, read, time_first=False)
    if not layer.engine.startswith("cpu"):
        raise AbsentError(f"the C++ engine is not here; '{layer.engine}' would run")
    return peer


def _matrices(whole: Mapping[str, np.ndarray]) -> Results:
    return {f"d{n}": whole[n] for n in ("W", "R") if n in whole}


def torch_module(s: Setting, modules: Mapping[str, Callable[..., nn.Module]] = MODULES, packing: Any = rnn) -> Peer:
    """torch.nn.RNN, GRU, LSTM: padded where lengths are equal, else packed."""
    if s.case.cell not in modules:
        raise AbsentError(f"has no {s.case.cell}")
    module = modules[s.case.cell](s.case.hidden, s.case.hidden)
    biases = [torch.from_numpy(s.joined["b"]), torch.zeros(s.joined["b"].shape)]
    if s.case.cell == "gru_reset_after":
        biases[1][-s.case.hidden :] = torch.from_numpy(s.joined["b_hn"])
    values = [torch.from_numpy(s.joined[n]).t() for n in ("W", "R")] + biases
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)
    return _run_module(s, module.to(TYPES[s.case.precision]), packing)


def _run_module(s: Setting, module: nn.Module, packing: Any) -> Peer:
    x = _time_first(s).requires_grad_()
    lengths = None if s.lengths is None else torch.from_numpy(s.lengths)

    def run() -> Tensor:
        if lengths is None:
            return module(x)[0]  # type: ignore[no-any-return]
        packed = packing.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return packing.pad_packed_sequence(module(packed)[0], total_length=s.case.steps)[0]  # type: ignore[no-any-return]

    def read(gradients: list[Tensor]) -> Results:
        return {"dW": _numpy(gradients[0]).T, "dR": _numpy(gradients[1]).T}

    return _differentiable(s, run, x, list(module.parameters()), read, time_first=True)


def _time_first(s: Setting) -> Tensor:
    return torch.from_numpy(s.x).transpose(0, 1).contiguous().to(TYPES[s.case.precision])  # (T, B, I)


def elman_torch(s: Setting) -> Peer:
    """The drop-in modules and functions of elman.torch, used as torch's are."""
    if s.case.precision != "float32":
        raise AbsentError("measured in float32 only")
    modules = {"rnn": elman.torch.RNN, "gru_reset_after": elman.torch.GRU, "lstm": elman.torch.LSTM}
    return torch_module(s, modules, elman.torch)


def run_loop(hand: Handwritten, weights: Mapping[str, Tensor], x: Tensor, live: Tensor | None) -> Tensor:
    """The cell by hand over x (T, B, I); a sequence that is over (live (T, B, 1) false) keeps its state."""
    shares = hand.project(TORCH, weights, x)
    # Unbound at once: the way back from single steps would fill a tensor of all steps for each of them.
    each = shares.unbind(0) if isinstance(shares, Tensor) else list(zip(*(a.unbind(0) for a in shares), strict=True))
    state = tuple(x.new_zeros(x.shape[1:]) for _ in range(hand.states))  # (B, H) each
    outputs = []
    for t, share in enumerate(each):
        after = hand.step(TORCH, weights, share, *state)
        state = after if live is None else tuple(torch.where(live[t], a, b) for a, b in zip(after, state, strict=True))
        outputs.append(state[0])
    y = torch.stack(outputs)  # (T, B, H)
    return y if live is None else y * live


def eager(s: Setting, transform: Callable[[Any], Any] = lambda run: run) -> Peer:
    """The cell by hand: a loop in eager torch, input products of all steps and gates in one."""
    weights = {n: torch.from_numpy(v).to(TYPES[s.case.precision]).requires_grad_() for n, v in s.joined.items()}
    x, hand = _time_first(s).requires_grad_(), HANDWRITTEN[s.case.cell]
    live = None if s.lengths is None else torch.from_numpy(_live(s))
    run = transform(partial(run_loop, hand))

    def read(gradients: list[Tensor]) -> Results:
        return _matrices({n: _numpy(g) for n, g in zip(weights, gradients, strict=True)})

    return _differentiable(s, lambda: run(weights, x, live), x, list(weights.values()), read, time_first=True)


def _live(s: Setting) -> np.ndarray:
    """(T, B, 1), true where a sequence still runs."""
    return np.asarray(np.arange(s.case.steps)[:, None, None] < s.lengths[None, :, None])  # type: ignore[index]


def compiled(s: Setting) -> Peer:
    """torch.compile of that loop; its first call compiles."""
    torch._dynamo.reset()
    return eager(s, torch.compile)


def torch_recurrent(s: Setting) -> Peer:
    """torchrecurrent, which writes its cells in eager torch."""
    try:
        library = importlib.import_module("torchrecurrent")
    except ModuleNotFoundError:
        raise AbsentError("torchrecurrent is not installed") from None
    if s.case.cell != "lstm_peephole":
        raise AbsentError(f"has no {s.case.cell}")
    if s.lengths is not None:
        raise AbsentError("takes no lengths")
    module = library.PeepholeLSTM(s.case.hidden, s.case.hidden)
    peepholes = torch.from_numpy(np.concatenate([s.joined[n] for n in ("p_i", "p_f", "p_o")]))
    values = {"weight_ih": torch.from_numpy(s.joined["W"]).t(), "weight_hh": torch.from_numpy(s.joined["R"]).t()}
    values |= {
        "weight_ph": peepholes,
        "bias_ih": torch.from_numpy(s.joined["b"]),
        "bias_hh": torch.zeros(4 * s.case.hidden),
    }
    with torch.no_grad():
        for name, value in values.items():
            getattr(module.cells[0], name).copy_(value)
    if [n for n, _ in module.named_parameters()][:2] != ["cells.0.weight_ih", "cells.0.weight_hh"]:
        raise AbsentError("this version has parameters in another order")
    return _run_module(s, module.to(TYPES[s.case.precision]), rnn)


BUILDERS: dict[str, Build] = {
    "elman": elman_layer,
    "elman.torch": elman_torch,
    "torch.nn": torch_module,
    "eager": eager,
    "compile": compiled,
    "torchrecurrent": torch_recurrent,
}
