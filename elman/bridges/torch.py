"""LSTM, GRU and RNN for PyTorch programs: subclasses of torch.nn's that run on Elman's engine; public as elman.torch.

Everything but the computation is torch's: constructor, parameters and their names, state_dict, what goes in and comes
out, errors. What the engine does not do is run by torch itself, and the layer says so.
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from elman.bridges.gates import Kind
from elman.bridges.left_to_torch import because_of_input, because_of_parameters
from elman.bridges.operators import run_layer
from elman.engines.cpu.moment import in_halves

__all__ = ["GRU", "LSTM", "RNN", "OnEngine"]

# What torch.compile has put before each call of a Python function in this thread: None or False where nothing compiles.
_tracer = torch._C._dynamo.eval_frame.get_eval_frame_callback
_untraced = functools.cache(torch.compiler.disable)

OF_TORCH = (nn.LSTM, nn.GRU, nn.RNN)


class OnEngine(nn.RNNBase if TYPE_CHECKING else object):  # type: ignore[misc]
    """What the layers here have in common; stands before one of torch's classes."""

    __jit_unused_properties__ = [*nn.RNNBase.__jit_unused_properties__, "engine", "left_to_torch"]  # noqa: RUF012

    @property
    def engine(self) -> str:
        """Who runs the layer with its present parameters: "cpu", Elman's engine, "cpu-bf16" where autocast asks for it,
        or "torch"."""
        if because_of_parameters(held_by(self)):
            return "torch"
        return "cpu-bf16" if in_halves() else "cpu"

    @property
    def left_to_torch(self) -> str | None:
        """Why torch runs the layer with its present parameters, or ran its last call; None where the engine does."""
        return because_of_parameters(held_by(self)) or self.__dict__.get("_left_to_torch")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layer; arguments and values are those of torch's layer of this name."""
        # Where torch.compile left the layer out of its graph, it would take each function in here for one of its own.
        if torch.compiler.is_compiling() or not _tracer():
            return self._run(input, hx)
        return _untraced(OnEngine._run)(self, input, hx)

    def _run(self, input: Any, hx: Any) -> Any:
        weights = weights_of(self)
        call = _Call(self, input, hx)
        reason = because_of_parameters(weights) or because_of_input(call.tensors) or call.fit()
        if not torch.compiler.is_compiling():
            self.__dict__["_left_to_torch"] = reason
        if reason and isinstance(input, fx.Proxy) and self._stands_whole_in(input.tracer):
            return _call_in_graph(self, input, hx)
        return super().forward(input, hx) if reason else call.run(weights)

    def _stands_whole_in(self, tracer: Any) -> bool:
        """Say whether a graph of torch.fx can call the layer: what is traced beside the call would run twice."""
        beside = type(self).forward is not OnEngine.forward or self._forward_hooks or self._forward_pre_hooks
        return not beside and tracer.root is not self

    def extra_repr(self) -> str:
        """Return what distinguishes this layer, for print."""
        return f"{super().extra_repr()}, engine={self.engine!r}"

    def __prepare_scriptable__(self) -> nn.Module:
        """Return what torch.jit.script compiles: torch's own layer with these parameters, or a forward of one's own."""
        if type(self).forward is not OnEngine.forward:
            return self
        plain: nn.Module = copy.copy(self)
        plain.__class__ = next(c for c in type(self).__mro__ if c in OF_TORCH)
        return plain


class LSTM(OnEngine, nn.LSTM):
    """torch.nn.LSTM on Elman's engine: the same constructor, parameters, arguments and values.

    `layer.engine` says who runs the layer, and `layer.left_to_torch` why torch does where it does: the engine computes
    float32 on the CPU.

    Example:
        >>> layer = LSTM(8, 16, batch_first=True)
        >>> y, (h, c) = layer(torch.zeros(2, 5, 8))
        >>> y.shape, h.shape, layer.engine, layer.double().left_to_torch
        (torch.Size([2, 5, 16]), torch.Size([1, 2, 16]), 'cpu', 'a parameter is torch.float64 on cpu')
    """


class GRU(OnEngine, nn.GRU):
    """torch.nn.GRU on Elman's engine; see LSTM."""


class RNN(OnEngine, nn.RNN):
    """torch.nn.RNN on Elman's engine, with tanh or relu; see LSTM."""


def _call_in_graph(layer: nn.RNNBase, input: fx.Proxy, hx: Any) -> fx.Proxy:
    """Put a call of a layer into the graph that torch.fx traces, as it does by itself for layers of torch.nn."""
    tracer: Any = input.tracer
    arguments = (input,) if hx is None else (input, hx)
    return tracer.create_proxy("call_module", tracer.path_of_module(layer), arguments, {})  # type: ignore[no-any-return]


def weights_of(layer: nn.RNNBase) -> list[Tensor]:
    """Return a layer's parameters in torch's order, as they are now: replaced, parametrised, or functional_call's."""
    names, found = layer._flat_weights_names, layer._parameters
    weights = [found.get(name) for name in names]
    return [getattr(layer, n) if w is None else w for n, w in zip(names, weights, strict=True)]


def held_by(layer: nn.RNNBase) -> list[Tensor]:
    """Return a layer's parameters, or what they are made of: to make them may draw numbers or move a running value."""
    held: list[Tensor] = []
    for name in layer._flat_weights_names:
        if parametrize.is_parametrized(layer, name):
            held += layer.parametrizations[name].parameters(recurse=False)  # type: ignore[index,union-attr]
        else:
            held.append(getattr(layer, name))
    return held


class _Call:
    """A call of a layer in one form: rows (T, B, I), or (rows, I) of packed sequences, and states (L D, B, S)."""

    def __init__(self, layer: nn.RNNBase, input: Any, hx: Any) -> None:
        self.layer, self.packed, self.unbatched = layer, isinstance(input, PackedSequence), False
        order: tuple[Tensor | None, ...] = input[1:] if self.packed else (None, None, None)
        self.batch_sizes, self.order, self.back = order
        self.rows: Tensor = input[0] if self.packed else input
        pair = layer.mode == "LSTM" and isinstance(hx, tuple | list)
        self.states: list[Tensor] = [] if hx is None else list(hx) if pair else [hx]
        self.from_zeros = hx is None
        self.tensors = [self.rows, *self.states]

    def fit(self) -> str | None:
        """Bring rows and states to one form; return what about their shapes is not as torch documents it.

        Torch then has the word: it raises its own error, or runs what it runs.
        """
        self.unbatched = not self.packed and self.rows.dim() == 2
        if self.unbatched:
            self.rows, self.states = self.rows.unsqueeze(1), [s.unsqueeze(1) for s in self.states]  # (T, 1, I)
        elif self.layer.batch_first and self.rows.dim() == 3:
            self.rows = self.rows.transpose(0, 1)  # (T, B, I)
        if self.rows.dim() != (2 if self.packed else 3) or self.rows.shape[-1] != self.layer.input_size:
            return "the input has another shape"
        if self.rows.numel() == 0:
            return "the input is empty"
        return None if self.from_zeros or self._states_fit() else "the states have other shapes"

    def _states_fit(self) -> bool:
        layer = self.layer
        if not self.states:
            return False
        widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if layer.mode == "LSTM" else 1]
        sequences = self.rows.shape[1]
        if self.packed:
            # The number stands in a tensor, whose values are not known while a programme is compiled.
            compiling = torch.compiler.is_compiling()
            sequences = self.states[0].shape[1] if compiling else int(self.batch_sizes[0])  # type: ignore[index]
        first = layer.num_layers * (1 + layer.bidirectional)
        return [tuple(s.shape) for s in self.states] == [(first, sequences, width) for width in widths]

    def run(self, weights: list[Tensor]) -> Any:
        """Run the layers, from the first to the last; under autocast what comes out is of its type, as torch's is."""
        layer, kind = self.layer, Kind(self.layer.mode, 1 + self.layer.bidirectional, in_halves())
        types = self._types_under_autocast() if kind.halves else []
        if kind.halves:
            self.rows, self.states = self.rows.float(), [s.float() for s in self.states]
        states = [s if self.order is None else s.index_select(1, self.order) for s in self.states]
        arrays = len(weights) // layer.num_layers
        y, finals = self.rows, []
        for n in range(layer.num_layers):
            if n and layer.training and layer.dropout:
                y = torch.dropout(y, layer.dropout, True)
            start = [s if layer.num_layers == 1 else s[n * kind.directions : (n + 1) * kind.directions] for s in states]
            part = weights[n * arrays : (n + 1) * arrays]
            y, final = run_layer(y, self.batch_sizes, start, part, kind)
            finals.append(final)
        if layer.num_layers > 1:
            final = [torch.cat([states[i] for states in finals]) for i in range(len(final))]  # (L D, B, S)
        if kind.halves:
            y, final = y.to(types[0]), [f.to(dtype) for f, dtype in zip(final, types, strict=False)]
        return self._as_torch(y, final)

    def _types_under_autocast(self) -> list[torch.dtype]:
        """The types of the final states that torch's layer gives; y has that of h.

        It is autocast's where a product is the last that makes a state, or oneDNN makes all of them; that of the
        initial state, or else of the input, where pointwise operations do.
        """
        layer, given = self.layer, [t.dtype for t in self.states or [self.rows, self.rows]]
        if layer.mode.startswith("RNN"):
            return [torch.bfloat16]
        if layer.proj_size:
            return [torch.bfloat16, given[1]]
        return [torch.bfloat16] * 2 if layer.mode == "LSTM" and not self.packed else given

    def _as_torch(self, y: Tensor, states: list[Tensor]) -> Any:
        """Outputs and final states in the form of the input."""
        output: Any = y
        if self.packed:
            output = PackedSequence(y, self.batch_sizes, self.order, self.back)
            states = [s if self.back is None else s.index_select(1, self.back) for s in states]
        elif self.unbatched:
            output, states = y.squeeze(1), [s.squeeze(1) for s in states]  # (T, D O), (L D, S)
        elif self.layer.batch_first:
            output = y.transpose(0, 1)  # (B, T, D O)
        return output, tuple(states) if self.layer.mode == "LSTM" else states[0]
