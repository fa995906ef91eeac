"""Torch's own recurrent kernels, for cells whose equations are exactly theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.engines.cpu.moment import in_halves
from elman.engines.ragged import reverse_within
from elman.engines.recognise import Fused, packed_weights, recognise
from elman.equations import Cell
from elman.errors import UsageError

_KERNELS: dict[str, Any] = {
    "lstm": torch._VF.lstm,
    "gru": torch._VF.gru,
    "rnn_tanh": torch._VF.rnn_tanh,
    "rnn_relu": torch._VF.rnn_relu,
}


def fits(fused: Fused, cell: Cell, sizes: Mapping[str, int] | None) -> bool:
    """Say whether a kernel takes the sizes: it tells a projection only by an output narrower than the memory."""
    if fused.projection is None or fused.memory is None or sizes is None:
        return True
    return sizes[cell.size_symbol(fused.hidden) or "H"] < sizes[cell.size_symbol(fused.memory) or "H"]


def require_fused(cell: Cell, sizes: Mapping[str, int] | None = None) -> Fused:
    """Return how torch computes a cell.

    Args:
        cell: The cell.
        sizes: Value of every size symbol; None when they are not known.

    Raises:
        UsageError: the equations are not exactly one of torch's (zoneout and variational dropout change them), or
            torch's kernel does not take the sizes.
    """
    fused = recognise(cell)
    if fused is None:
        why = f"zoneout and variational dropout add {', '.join(cell.masks)}" if cell.masks else "they are not"
        raise UsageError(
            f"engine 'torch-fused': the equations of {cell.name!r} must be exactly those of a torch kernel; {why}",
            "use engine='auto'",
        )
    if not fits(fused, cell, sizes):
        raise UsageError(
            f"engine 'torch-fused': the projection of {cell.name!r} must be narrower than its memory; got {sizes}",
            "use engine='auto'",
        )
    return fused


class TorchFusedEngine:
    """Engine "torch-fused": oneDNN, cuDNN or torch's native kernels; packed sequences where lengths differ."""

    name = "torch-fused"

    def run(
        self,
        cell: Cell,
        weights: Mapping[str, Tensor],
        x: Tensor,
        lengths: Tensor | None,
        state: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        reverse: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a cell; see elman.engines.Engine."""
        fused = require_fused(cell)
        flat = packed_weights(fused, cell, weights, x.shape[2], state[fused.hidden].shape[1])
        if x.is_cuda:
            flat = in_one_buffer(flat)
        x = reverse_within(x, lengths) if reverse else x
        names = [s for s in (fused.hidden, fused.memory) if s]
        initial = tuple(state[s].unsqueeze(0).contiguous() for s in names)  # (1, B, S)
        with _without_onednn() if _beyond_onednn(fused, x) else nullcontext():
            y, final = _run(fused, flat, x, lengths, initial)
        found = {name: value.squeeze(0) for name, value in zip(names, final, strict=True)}
        return (reverse_within(y, lengths) if reverse else y), {s: found[s] for s in cell.states}


def in_one_buffer(parts: list[Tensor]) -> list[Tensor]:
    """Return equal tensors that lie in one buffer, in order; otherwise cuDNN copies them at each call and warns."""
    buffer = torch.cat([part.reshape(-1) for part in parts])
    pieces = torch.split(buffer, [part.numel() for part in parts])
    return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def _run(
    fused: Fused, flat: list[Tensor], x: Tensor, lengths: Tensor | None, initial: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    if lengths is not None:
        return _ragged(fused, flat, x, lengths, initial)
    if fused.projection and not x.is_cuda:
        # oneDNN has no projections; torch says so in a warning on the padded path, and takes this one in silence.
        y, final = _packed(fused, flat, x.transpose(0, 1).flatten(0, 1), _full(x), initial)
        return y.view(x.shape[1], x.shape[0], -1).transpose(0, 1), final  # (B, T, O)
    start = initial if fused.memory else initial[0]
    y, *last = _KERNELS[fused.kind](x, start, flat, True, 1, 0.0, torch.is_grad_enabled(), False, True)
    return y, tuple(last)


def _beyond_onednn(fused: Fused, x: Tensor) -> bool:
    """An LSTM of bfloat16 on a processor without such instructions ends in an error of oneDNN's."""
    return fused.kind == "lstm" and x.is_cpu and in_halves() and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@contextmanager
def _without_onednn() -> Iterator[None]:
    onednn: Any = torch.backends.mkldnn
    before, onednn.enabled = onednn.enabled, False
    try:
        yield
    finally:
        onednn.enabled = before


def _full(x: Tensor) -> Tensor:
    """Batch sizes of x (B, T, I) without padding: B at each of T steps."""
    return torch.full((x.shape[1],), x.shape[0], dtype=torch.int64)


def _packed(
    fused: Fused, flat: list[Tensor], data: Tensor, batch_sizes: Tensor, initial: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    start = initial if fused.memory else initial[0]
    y, *final = _KERNELS[fused.kind](data, batch_sizes, start, flat, True, 1, 0.0, torch.is_grad_enabled(), False)
    return y, tuple(final)


def _ragged(
    fused: Fused, flat: list[Tensor], x: Tensor, lengths: Tensor, initial: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    if order is None or back is None:
        raise AssertionError("unsorted packing gives both orders")
    start = tuple(s.index_select(1, order) for s in initial)
    y, final = _packed(fused, flat, packed.data, packed.batch_sizes, start)
    padded, _ = pad_packed_sequence(
        PackedSequence(y, packed.batch_sizes, order, back), batch_first=True, total_length=x.shape[1]
    )
    return padded, tuple(s.index_select(1, back) for s in final)
