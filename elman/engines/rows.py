"""Rows of a tensor by number, with derivatives that are the same in every run."""

from __future__ import annotations

from torch import Tensor, nn


def chosen_rows(x: Tensor, numbers: Tensor) -> Tensor:
    """Return x[numbers], for numbers from 0 of any shape.

    Where a row is chosen more than once, its derivative is a sum. On a processor torch's own indexing adds it up in the
    order in which its threads come by, so that no two runs have the same bits; here the order is that of the numbers.

    Args:
        x: (N, ...).
        numbers: Of rows, of shape S.

    Returns:
        Rows, of shape S + x.shape[1:].
    """
    chosen = nn.functional.embedding(numbers, x.reshape(len(x), -1))  # (*S, ... as one)
    return chosen.view(*numbers.shape, *x.shape[1:])  # (*S, ...)
