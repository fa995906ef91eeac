"""A layer of torch.nn as an operator of torch: it differentiates, once or more often, and torch.compile keeps it whole.

In eager mode an autograd function calls the engine directly; torch.compile sees the registered operators
`elman::layer_forward` and `elman::layer_backward`. Through the dispatcher an LSTM of 8 units over ten steps takes a
third longer, forward and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

from elman.bridges.gates import Kind
from elman.bridges.layer import layer_backward, layer_forward, layer_of
from elman.engines.cpu.moment import untraced
from elman.engines.cpu.operators import come_one_at_a_time

_KERNELS: dict[str, Any] = {
    "LSTM": torch._VF.lstm,
    "GRU": torch._VF.gru,
    "RNN_TANH": torch._VF.rnn_tanh,
    "RNN_RELU": torch._VF.rnn_relu,
}


_forward, _backward = untraced(layer_forward), untraced(layer_backward)


class _Eager(torch.autograd.Function):
    """The operators without the dispatcher between."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, batch_sizes: Tensor | None, kind: Kind, states: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        start, weights = tensors[:states], tensors[states:]
        y, final, kept = _forward(x, batch_sizes, start, weights, kind, True)
        ctx.set_materialize_grads(False)
        ctx.kind, ctx.states = kind, states
        ctx.batch_sizes = None if batch_sizes is None else batch_sizes.clone()  # the caller's may be others by then
        ctx.save_for_backward(x, *tensors, *kept)
        return y, *final

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *d_final: Tensor | None) -> tuple[Any, ...]:
        x, *tensors = ctx.saved_tensors
        kept = [tensors.pop() for _ in range(ctx.kind.directions)][::-1]
        start, weights = tensors[: ctx.states], tensors[ctx.states :]
        wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[4:]]
        call = x, ctx.batch_sizes, start, weights, ctx.kind
        if torch.is_grad_enabled() or not come_one_at_a_time(dy, *d_final):
            dx, *others = _through_torch([dy, *d_final], *call, wanted)
        else:
            dx, d_start, d_weights = _backward(dy, d_final, kept, *call, wanted)
            others = [*d_start, *d_weights]
        return dx, None, None, None, *others


def _through_torch(
    gradients: Sequence[Tensor | None],
    x: Tensor,
    batch_sizes: Tensor | None,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    kind: Kind,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Torch's own derivatives: those that can be differentiated again (create_graph=True), and those of many gradients
    at once (is_grads_batched=True), which stand behind tensors without memory."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, as a tensor may stand in several places, and each has a derivative of its own.
        x, *others = places = [t.view_as(t) for t in (x, *start, *weights)]
        y, *final = run_torch(x, batch_sizes, others[: len(start)], others[len(start) :], kind)
    outputs = [(o, g) for o, g in zip((y, *final), gradients, strict=True) if g is not None]
    inputs = [t for t, want in zip(places, wanted, strict=True) if want]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in outputs], inputs, [g for _, g in outputs], create_graph=again, allow_unused=True
        )
    )
    return [next(found) if want else None for want in wanted]


def run_torch(
    x: Tensor,
    batch_sizes: Tensor | None,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    kind: Kind,
) -> tuple[Tensor, ...]:
    """Run a layer by torch's kernel; arguments and values of `layer_forward`."""
    layer, (mode, directions, _) = layer_of(kind, weights), kind
    sequences = x.shape[1] if batch_sizes is None else int(batch_sizes[0])
    start = start or [x.new_zeros(directions, sequences, size) for size in layer.state_sizes]
    state = list(start) if mode == "LSTM" else start[0]
    rest = (list(weights), layer.bias, 1, 0.0, False, directions == 2)
    if batch_sizes is None:
        return tuple(_KERNELS[mode](x, state, *rest, False))
    return tuple(_KERNELS[mode](x, batch_sizes, state, *rest))


# ---- the registered operators

_LIBRARY: Any = Library("elman", "FRAGMENT")  # type: ignore[no-untyped-call]
_ROWS = "Tensor x, Tensor? batch_sizes, Tensor[] start, Tensor[] weights, str mode, int directions, bool halves"
_LIBRARY.define(f"layer_forward({_ROWS}, bool keep) -> (Tensor, Tensor[], Tensor[])")
_GIVEN = "Tensor? dy, Tensor?[] d_final, Tensor[] kept"
_LIBRARY.define(f"layer_backward({_GIVEN}, {_ROWS}, bool[] wanted) -> (Tensor, Tensor[], Tensor[])")


def _registered_forward(*arguments: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    *tensors, mode, directions, halves, keep = arguments
    return _forward(*tensors, Kind(mode, directions, halves), keep)  # type: ignore[no-any-return]


def _registered_backward(*arguments: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """`layer_backward` with empty tensors for None, which operators cannot return."""
    *tensors, mode, directions, halves, wanted = arguments
    dx, d_start, d_weights = _backward(*tensors, Kind(mode, directions, halves), wanted)
    return _or(dx), [_or(d) for d in d_start], [_or(d) for d in d_weights]


def _or(tensor: Tensor | None) -> Tensor:
    return torch.empty(0) if tensor is None else tensor


_LIBRARY.impl("layer_forward", _registered_forward, "CPU")
_LIBRARY.impl("layer_backward", _registered_backward, "CPU")


@torch.library.register_fake("elman::layer_forward", lib=_LIBRARY)
def _(x, batch_sizes, start, weights, mode, directions, halves, keep):  # type: ignore[no-untyped-def]
    layer = layer_of(Kind(mode, directions, halves), weights)
    if batch_sizes is None:
        sequences = x.shape[1]
    else:
        sequences = start[0].shape[1] if start else torch.library.get_ctx().new_dynamic_size()
    y = x.new_empty(*x.shape[:-1], directions * layer.output_size)
    final = [x.new_empty(directions, sequences, size) for size in layer.state_sizes]
    kept = [x.new_empty(torch.library.get_ctx().new_dynamic_size()) for _ in range(directions)] if keep else []
    return y, final, kept


@torch.library.register_fake("elman::layer_backward", lib=_LIBRARY)
def _(dy, d_final, kept, x, batch_sizes, start, weights, mode, directions, halves, wanted):  # type: ignore[no-untyped-def]
    some = [t.new_empty(t.shape if want else 0) for t, want in zip([x, *start, *weights], wanted, strict=True)]
    return some[0], some[1 : 1 + len(start)], some[1 + len(start) :]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    x, batch_sizes, start, weights, *ctx.kind, _ = inputs
    ctx.counts, ctx.packed = (len(start), len(weights)), batch_sizes is not None
    ctx.wanted = [t.requires_grad for t in (x, *start, *weights)]
    ctx.save_for_backward(x, *start, *weights, *output[2], *([batch_sizes] if ctx.packed else []))


def _back(ctx: Any, dy: Tensor | None, d_final: list[Tensor | None], _: Any) -> tuple[Any, ...]:
    x, *tensors = ctx.saved_tensors
    batch_sizes = tensors.pop() if ctx.packed else None
    states, arrays = ctx.counts
    start, weights, kept = tensors[:states], tensors[states : states + arrays], tensors[states + arrays :]
    call = x, batch_sizes, start, weights, *ctx.kind, ctx.wanted
    found = torch.ops.elman.layer_backward(dy, d_final, kept, *call)
    flat = [d if want else None for d, want in zip((found[0], *found[1], *found[2]), ctx.wanted, strict=True)]
    return flat[0], None, flat[1 : 1 + states], flat[1 + states :], None, None, None, None


torch.library.register_autograd("elman::layer_forward", _back, setup_context=_remember, lib=_LIBRARY)


def run_layer(
    x: Tensor,
    batch_sizes: Tensor | None,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    kind: Kind,
) -> tuple[Tensor, list[Tensor]]:
    """Run a layer, differentiable; arguments and values of `layer_forward`."""
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *start, *weights))
    if torch.compiler.is_compiling():
        y, final, _ = torch.ops.elman.layer_forward(x, batch_sizes, start, weights, *kind, keep)
        return y, final
    if not keep:
        y, final, _ = _forward(x, batch_sizes, start, weights, kind, False)
        return y, final
    y, *final = _Eager.apply(  # type: ignore[no-untyped-call]
        x, batch_sizes, kind, len(start), *start, *weights
    )
    return y, final
