"""What a layer accepts as input, brought to one form: x (B, T, I) and lengths (B,), or None when all are T."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from elman.errors import ShapeError


def prepare(
    where: str,
    x: Tensor | Sequence[Tensor],
    lengths: Tensor | Sequence[int] | None,
    input_size: int,
    like: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Check an input and its lengths.

    Args:
        where: Name of the layer, for errors.
        x: (B, T, I), or a list of (T_i, I) in any order.
        lengths: (B,) whole numbers from 1 to T; None for T, and for a list.
        input_size: I.
        like: A parameter of the layer, whose type and device x must have; None where it does not matter.

    Returns:
        x (B, T, I), and lengths (B,) as int64 on the CPU, None when all are T.

    Raises:
        ShapeError: anything does not fit; the message has the names and numbers.
    """
    if isinstance(x, list | tuple):
        x, lengths = _from_list(where, x, lengths, f"(T, I) with T >= 1 and I = {input_size}", (input_size,))
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != input_size:
        got = f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        hint = (
            "one sequence (T, I) becomes a batch by x.unsqueeze(0)" if isinstance(x, Tensor) and x.dim() == 2 else None
        )
        raise ShapeError(f"{where}: x must have shape (B, T, I) with I = {input_size}; got {got}", hint)
    if not x.is_floating_point():
        raise ShapeError(
            f"{where}: x must be floating point; got {x.dtype}", "embed token numbers first, or use x.float()"
        )
    if like is not None and (x.device != like.device or not _type_fits(x, like)):
        raise ShapeError(
            f"{where}: x must be {like.dtype} on {like.device}, as the parameters are; got {x.dtype} on {x.device}",
            "use x.to(parameter.device, parameter.dtype), or layer.to(x.device, x.dtype)",
        )
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ShapeError(f"{where}: x must have at least one sequence and one step; got shape {tuple(x.shape)}")
    return x, None if lengths is None else _checked_lengths(where, lengths, x.shape[0], x.shape[1])


def _type_fits(x: Tensor, like: Tensor) -> bool:
    """Under autocast torch chooses the type of each product itself."""
    return x.dtype == like.dtype or torch.is_autocast_enabled(x.device.type)


def padded(
    where: str, x: Tensor | Sequence[Tensor], lengths: Tensor | Sequence[int] | None, shortest: int = 1
) -> tuple[Tensor, Tensor]:
    """Bring sequences of anything to one form.

    Args:
        where: Name of what takes them, for errors.
        x: (B, T, ...), or a list of (T_i, ...) in any order.
        lengths: (B,) whole numbers from 1 to T; None for T, and for a list.
        shortest: Least T_i of a list.

    Returns:
        x (B, T, ...), and lengths (B,) as int64 on the CPU.

    Raises:
        ShapeError: anything does not fit; the message has the names and numbers.
    """
    if not isinstance(x, Tensor):
        row = x[0] if x and isinstance(x[0], Tensor) else torch.empty(0)
        inner = tuple(row.shape[1:])
        form = f"(T, {', '.join(map(str, inner))})" if inner else "(T,)"
        return _from_list(where, x, lengths, f"{form} with T >= {shortest}", inner, shortest)
    if x.dim() < 2 or x.shape[0] == 0 or x.shape[1] < shortest:
        raise ShapeError(
            f"{where}: x must have shape (B, T, ...) with at least one sequence and one step; got {tuple(x.shape)}",
            "one sequence becomes a batch by x.unsqueeze(0)" if x.dim() == 1 else None,
        )
    counts = None if lengths is None else _checked_lengths(where, lengths, x.shape[0], x.shape[1])
    return x, torch.full((x.shape[0],), x.shape[1]) if counts is None else counts


def _from_list(
    where: str,
    x: Sequence[Tensor],
    lengths: Tensor | Sequence[int] | None,
    form: str,
    inner: tuple[int, ...],
    shortest: int = 1,
) -> tuple[Tensor, Tensor]:
    """Join sequences (T_i, *inner), of a form described by `form`."""
    if lengths is not None:
        raise ShapeError(f"{where}: lengths must be left out for a list of sequences; their own lengths count")
    if not x:
        raise ShapeError(f"{where}: x must have at least one sequence; got an empty list")
    for n, row in enumerate(x):
        if not isinstance(row, Tensor) or row.dim() == 0 or row.shape[1:] != inner or row.shape[0] < shortest:
            got = f"shape {tuple(row.shape)}" if isinstance(row, Tensor) else type(row).__name__
            raise ShapeError(f"{where}: sequence {n} must have shape {form}; got {got}")
        if row.dtype != x[0].dtype or row.device != x[0].device:
            raise ShapeError(
                f"{where}: all sequences must have one type and device; sequence 0 has {x[0].dtype} on {x[0].device}, "
                f"sequence {n} has {row.dtype} on {row.device}"
            )
    return pad_sequence(list(x), batch_first=True), torch.tensor([len(row) for row in x])  # (B, T, ...), (B,)


def whole_numbers(where: str, lengths: Tensor | Sequence[int], rows: int) -> Tensor:
    """Return lengths as a tensor (B,), on the device they are on.

    Raises:
        ShapeError: they are no whole numbers, or not as many as rows.
    """
    try:
        counts = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{where}: lengths must be {rows} whole numbers; got {lengths!r}") from error
    if counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise ShapeError(f"{where}: lengths must be whole numbers; got {counts.dtype}")
    if counts.shape != (rows,):
        raise ShapeError(
            f"{where}: lengths must have shape ({rows},), one for each sequence; got {tuple(counts.shape)}"
        )
    return counts


def _checked_lengths(where: str, lengths: Tensor | Sequence[int], rows: int, steps: int) -> Tensor | None:
    counts = whole_numbers(where, lengths, rows)
    if torch.compiler.is_compiling():
        return torch.ops.elman.checked_lengths(counts, steps, where)  # type: ignore[no-any-return]
    counts = counts.to("cpu", torch.int64, copy=True)  # the way back reads them; the caller's may be others by then
    return None if _shortest(where, counts, steps) == steps else counts


def _shortest(where: str, counts: Tensor, steps: int) -> int:
    """Return the least length, after a look at all."""
    # One operation of torch takes longer than the whole list.
    found: list[int] = counts.tolist()
    shortest = min(found)
    if shortest < 1 or max(found) > steps:
        bad = next(n for n, count in enumerate(found) if not 1 <= count <= steps)
        raise ShapeError(f"{where}: every length must be from 1 to T = {steps}; got {found[bad]} for sequence {bad}")
    return shortest


@torch.library.custom_op("elman::checked_lengths", mutates_args=())
def _checked_when_run(lengths: Tensor, steps: int, where: str) -> Tensor:
    """Check lengths when a compiled programme runs: their values are not known before."""
    counts = lengths.to("cpu", torch.int64, copy=True)
    _shortest(where, counts, steps)
    return counts


@_checked_when_run.register_fake
def _(lengths, steps, where):  # type: ignore[no-untyped-def]
    return torch.empty(lengths.shape, dtype=torch.int64)
