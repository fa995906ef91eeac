"""Torch's own recurrent kernels, for cells whose equations are exactly theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

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
        fused = recognise(cell)
        if fused is None or masks:
            raise UsageError(
                f"engine 'torch-fused': the equations of {cell.name!r} must be exactly one of torch's; they are not",
                "use engine='auto'",
            )
        flat = packed_weights(fused, cell, weights, x.shape[2], state[fused.hidden].shape[1])
        x = reverse_within(x, lengths) if reverse else x
        initial = tuple(state[s].unsqueeze(0).contiguous() for s in (fused.hidden, fused.memory) if s)  # (1, B, S)
        run = _equal if lengths is None else _packed
        y, final = run(fused, flat, x, lengths, initial)
        names = [s for s in (fused.hidden, fused.memory) if s]
        found = {name: value.squeeze(0) for name, value in zip(names, final, strict=True)}
        return (reverse_within(y, lengths) if reverse else y), {s: found[s] for s in cell.states}


def _equal(
    fused: Fused, flat: list[Tensor], x: Tensor, lengths: Tensor | None, initial: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    start = initial if fused.memory else initial[0]
    y, *final = _KERNELS[fused.kind](x, start, flat, True, 1, 0.0, torch.is_grad_enabled(), False, True)
    return y, tuple(final)


def _packed(
    fused: Fused, flat: list[Tensor], x: Tensor, lengths: Tensor | None, initial: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    if lengths is None:
        raise AssertionError("packing needs lengths")
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    if order is None or back is None:
        raise AssertionError("unsorted packing gives both orders")
    start = tuple(s.index_select(1, order) for s in initial)
    y, *final = _KERNELS[fused.kind](
        packed.data,
        packed.batch_sizes,
        start if fused.memory else start[0],
        flat,
        True,
        1,
        0.0,
        torch.is_grad_enabled(),
        False,
    )
    padded, _ = pad_packed_sequence(
        PackedSequence(y, packed.batch_sizes, order, back), batch_first=True, total_length=x.shape[1]
    )
    return padded, tuple(s.index_select(1, back) for s in final)
