"""Pairs of layers, one of Elman's bridge and one of torch with the same parameters, and runs of both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import elman

I_SIZE, H_SIZE, BATCH, STEPS = 3, 5, 4, 6
LENGTHS = (3, 6, 1, 5)
KINDS: dict[str, tuple[type[nn.RNNBase], type[nn.RNNBase], dict[str, Any]]] = {
    "lstm": (elman.torch.LSTM, nn.LSTM, {}),
    "lstm projected": (elman.torch.LSTM, nn.LSTM, {"proj_size": 2}),
    "gru": (elman.torch.GRU, nn.GRU, {}),
    "rnn tanh": (elman.torch.RNN, nn.RNN, {}),
    "rnn relu": (elman.torch.RNN, nn.RNN, {"nonlinearity": "relu"}),
}
FORMS = ("padded", "packed", "packed, sorted", "unbatched")


def options() -> Iterator[dict[str, Any]]:
    """Yield one to three layers, one and both directions, with and without biases, batch first and second."""
    for layers, both, bias, first in itertools.product((1, 2, 3), (False, True), (True, False), (False, True)):
        yield {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}


def pair(kind: str, **more: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
    """Return a layer of the bridge and one of torch with the same parameters."""
    ours, theirs, settings = KINDS[kind]
    torch.manual_seed(1)
    found, wanted = (cls(I_SIZE, H_SIZE, **settings, **more) for cls in (ours, theirs))
    found.load_state_dict(wanted.state_dict())
    return found, wanted


def rows(form: str, batch_first: bool) -> tuple[Tensor, Any]:
    """Return a leaf, and the input made of it."""
    generator = torch.Generator().manual_seed(2)
    shape = {
        "padded": (BATCH, STEPS, I_SIZE) if batch_first else (STEPS, BATCH, I_SIZE),
        "unbatched": (STEPS, I_SIZE),
    }.get(form, (sum(LENGTHS), I_SIZE))
    leaf = torch.randn(shape, generator=generator, requires_grad=True)
    if form in ("padded", "unbatched"):
        return leaf, leaf
    lengths = sorted(LENGTHS, reverse=True) if form == "packed, sorted" else LENGTHS
    return leaf, pack_sequence(list(leaf.split(list(lengths))), enforce_sorted=form == "packed, sorted")


def states(layer: nn.RNNBase, form: str) -> Any:
    """Return an initial state that requires gradients."""
    generator = torch.Generator().manual_seed(3)
    first = layer.num_layers * (1 + layer.bidirectional)
    middle = () if form == "unbatched" else (BATCH,)
    widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if layer.mode == "LSTM" else 1]
    found = tuple(torch.randn(first, *middle, w, generator=generator, requires_grad=True) for w in widths)
    return found if len(found) == 2 else found[0]


def flat(value: Any) -> list[Tensor]:
    """Return the tensors of an output."""
    if isinstance(value, PackedSequence):
        return [value.data]
    return [value] if isinstance(value, Tensor) else [t for part in value for t in flat(part)]


def loss(outputs: list[Tensor]) -> Tensor:
    """A scalar in which every number has a weight of its own."""
    parts = [
        (o * torch.arange(1.0, o.numel() + 1).view(o.shape).mul(n + 1.3).cos()).sum() for n, o in enumerate(outputs)
    ]
    return torch.stack(parts).sum()


def run(layer: nn.RNNBase, form: str, with_state: bool = True, seed: int = 4) -> dict[str, Tensor]:
    """Return outputs, final states and all gradients."""
    leaf, x = rows(form, layer.batch_first)
    hx = states(layer, form) if with_state else None
    torch.manual_seed(seed)
    outputs = flat(layer(x, hx))
    layer.zero_grad()
    loss(outputs).backward()
    found = {f"output {n}": o.detach() for n, o in enumerate(outputs)} | {"d x": leaf.grad}
    found |= {f"d state {n}": s.grad for n, s in enumerate(flat(hx) if with_state else [])}
    return found | {f"d {name}": p.grad for name, p in layer.named_parameters()}


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """Compare by the largest difference, relative to the largest value or one."""
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].shape == value.shape, name
        scale = max(1.0, float(value.abs().max()))
        assert float((found[name] - value).abs().max()) <= tolerance * scale, name
