"""Padded rows to packed ones and back, as torch.nn.utils.rnn has them; public in elman.torch.

Torch moves a slice for each step, there and again on the way back; here one gather does all of them. What it does not
do (other devices, programs that are traced or compiled, arguments that are wrong) is left to torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence

from elman.errors import ShapeError

__all__ = ["pack_padded_sequence", "pad_packed_sequence"]


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack padded sequences, as torch.nn.utils.rnn.pack_padded_sequence does and eight times as fast.

    Args:
        input: (T, B, *), any type; with `batch_first` (B, T, *).
        lengths: (B,) steps of each sequence, 1 to T, on the CPU.
        batch_first: Whether B comes first in `input`.
        enforce_sorted: Whether `lengths` must fall; otherwise they are sorted here.

    Returns:
        Data (N, *) of the N real steps, batch sizes (longest length,), and where not `enforce_sorted`, the order (B,).

    Raises:
        RuntimeError: as torch's: a length is 0, lengths do not fall though they must, or B differs.
        elman.errors.ShapeError: a length is greater than T.

    Example:
        >>> import elman, torch
        >>> packed = elman.torch.pack_padded_sequence(torch.tensor([[1, 2, 3], [4, 0, 0]]), [3, 1], batch_first=True)
        >>> packed.data.tolist(), packed.batch_sizes.tolist()
        ([1, 4, 2, 3], [2, 1, 1])
    """
    if not _gathers(input) or not _fit(input, lengths, batch_first, enforce_sorted):
        return rnn.pack_padded_sequence(input, lengths, batch_first, enforce_sorted)  # type: ignore[arg-type]
    counts, order = torch.as_tensor(lengths, dtype=torch.int64), None
    if not enforce_sorted:
        counts, order = counts.sort(descending=True)
    real = torch.arange(int(counts[0]))[:, None] < counts  # (T, B)
    rows = _rows(real, order, input.shape[1] if batch_first else None)
    return PackedSequence(input.flatten(0, 1).index_select(0, rows), real.sum(1), order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pad packed sequences, as torch.nn.utils.rnn.pad_packed_sequence does and eight times as fast.

    Args:
        sequence: Data (N, *), as `pack_padded_sequence` and recurrent layers return them.
        batch_first: Whether B comes first in what is returned.
        padding_value: What stands beyond the end of a sequence.
        total_length: Steps T of what is returned; without it, of the longest sequence.

    Returns:
        Padded (T, B, *), with `batch_first` (B, T, *), in the order that was packed; lengths (B,).

    Raises:
        ValueError: as torch's: `total_length` is shorter than the longest sequence.

    Example:
        >>> import elman, torch
        >>> rows = torch.tensor([[4, 0, 0], [1, 2, 3]])
        >>> packed = elman.torch.pack_padded_sequence(rows, [1, 3], batch_first=True, enforce_sorted=False)
        >>> padded, lengths = elman.torch.pad_packed_sequence(packed, batch_first=True)
        >>> padded.tolist(), lengths.tolist()
        ([[4, 0, 0], [1, 2, 3]], [1, 3])
    """
    data, sizes, order, back = sequence
    steps = sizes.shape[0]
    longest = steps if total_length is None else total_length
    if not _gathers(data) or longest < steps or (order is None) != (back is None):
        return rnn.pad_packed_sequence(sequence, batch_first, padding_value, total_length)
    batch = int(sizes[0])
    real = torch.arange(batch) < sizes[:, None]  # (T, B)
    rows = _rows(real, order, longest if batch_first else None)
    padded = data.new_full((batch * longest, *data.shape[1:]), padding_value).index_copy_(0, rows, data)  # (B T, *)
    lengths = real.sum(0)
    shape = (batch, longest) if batch_first else (longest, batch)
    return padded.view(*shape, *data.shape[1:]), lengths if back is None else lengths[back]


def _gathers(data: Tensor) -> bool:
    """Return whether a gather on the CPU can take the place of torch's slices."""
    return data.device.type == "cpu" and not (torch.compiler.is_compiling() or torch._C._get_tracing_state())


def _fit(input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool, enforce_sorted: bool) -> bool:
    """Return whether torch takes the arguments: it words what is wrong with others."""
    if input.ndim < 2 or (isinstance(lengths, Tensor) and (lengths.device.type != "cpu" or lengths.ndim != 1)):
        return False
    batch, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    counts = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    falling = not enforce_sorted or all(a >= b for a, b in pairwise(counts))
    if len(counts) != batch or batch == 0 or min(counts) < 1 or not falling:
        return False
    if max(counts) > steps:  # torch takes it, and returns fewer rows than the batch sizes count
        raise ShapeError(
            f"pack_padded_sequence: lengths must be at most {steps}, the steps of input; got {max(counts)}"
        )
    return True


def _rows(real: Tensor, order: Tensor | None, steps: int | None) -> Tensor:
    """Return where the rows of packed data lie among padded ones (N,): `steps` to a sequence, or None: step by step."""
    sequence = torch.arange(real.shape[1]) if order is None else order  # (B,)
    step = torch.arange(real.shape[0])[:, None]  # (T, 1)
    place = step * real.shape[1] + sequence if steps is None else sequence * steps + step  # (T, B)
    return place[real]  # (N,)
