"""What every head offers: scores of outputs, and the loss of scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from elman.engines.cpu.moment import unwatched
from elman.engines.ragged import valid_steps
from elman.errors import ShapeError, UsageError

IGNORED = -100
"""A class number that counts nothing: padding, and what nobody labelled; a CRF sums over what could stand there."""


@dataclass(frozen=True)
class Loss:
    """The loss of a batch.

    Args:
        mean: Scalar to differentiate, a mean over items; weights and smoothing included.
        nats: Scalar, the sum of -ln P over items without weights and smoothing (regression: of its loss); reported.
        items: How many items: examples, or the steps of all sequences.
    """

    mean: Tensor
    nats: Tensor
    items: int


class Head(nn.Module, ABC):
    """A layer W_y a + b_y with a meaning: which scores it gives, what they cost, what they predict.

    Args:
        input_size: Length of a.
        outputs: Rows of W_y.
        bias: Whether there is b_y.
        weight: Share this matrix (outputs, input_size) as W_y; None for a matrix of its own.

    Raises:
        UsageError: a size is no whole number of at least 1.
        ShapeError: the shared matrix has another shape.
    """

    def __init__(self, input_size: int, outputs: int, *, bias: bool = True, weight: nn.Parameter | None = None) -> None:
        super().__init__()
        check_size(type(self).__name__, "input_size", input_size)
        if weight is not None and tuple(weight.shape) != (outputs, input_size):
            raise ShapeError(
                f"{type(self).__name__}: tied weights must have shape ({outputs}, {input_size}); "
                f"got {tuple(weight.shape)}",
                "make the embedding as long as the output of the recurrent part",
            )
        self.weight = nn.Parameter(torch.zeros(outputs, input_size)) if weight is None else weight
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, a: Tensor) -> Tensor:
        """Return scores (..., outputs) of a (..., input_size)."""
        return nn.functional.linear(a, self.weight, self.bias)

    @abstractmethod
    def loss(self, scores: Tensor, targets: Any, lengths: Tensor | None = None) -> Loss:
        """Return what scores cost.

        Args:
            scores: (B, ..., outputs), or (B, T, ..., outputs) with lengths.
            targets: What they should have said; its form is the head's.
            lengths: (B,) steps of each sequence; None where scores have no steps or all T are real.
        """


def check_size(where: str, name: str, value: object, least: int = 1) -> None:
    """Check a size that a head is made with: torch would make one of no outputs, or say nothing of which is wrong.

    Raises:
        UsageError: it is no whole number, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UsageError(f"{where}: {name} must be a whole number of at least {least}; got {value!r}")


def exact(scores: Tensor) -> Tensor:
    """Return scores as float32 at least: under autocast they are bfloat16, too coarse to take logarithms of."""
    return scores.float() if scores.element_size() < 4 else scores


def real_rows(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the steps of values (B, T, ...) within lengths as rows (N, ...); without lengths, the values as they are.

    What stands beyond a length reaches nothing, be it NaN.
    """
    return values if lengths is None else values[valid_steps(lengths, values.shape[1], values.device)]


def check_steps(where: str, scores: Tensor) -> None:
    """Check that scores are those of steps, (B, T, outputs).

    Raises:
        ShapeError: they are not.
    """
    if scores.dim() != 3:
        raise ShapeError(
            f"{where}: scores must be those of steps, (B, T, outputs); got shape {tuple(scores.shape)}",
            "one label of a whole sequence is the business of SoftmaxHead",
        )


def check_tensor(where: str, name: str, numbers: Tensor) -> None:
    """Check that what should be a tensor is one.

    Raises:
        ShapeError: it is something else.
    """
    if not isinstance(numbers, Tensor):
        raise ShapeError(
            f"{where}: {name} must be a tensor; got {type(numbers).__name__}", f"use torch.as_tensor({name})"
        )


def check_form(where: str, name: str, numbers: Tensor, shape: Sequence[int]) -> None:
    """Check that class numbers are whole and have a shape; looks at no value, so that no device has to be waited for.

    Raises:
        ShapeError: they are not, or have not.
    """
    if not isinstance(numbers, Tensor):
        raise ShapeError(f"{where}: {name} must be a tensor of whole numbers; got {type(numbers).__name__}")
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise ShapeError(f"{where}: {name} must be whole numbers; got {numbers.dtype}", f"use {name}.long()")
    if numbers.shape != torch.Size(shape):
        raise ShapeError(f"{where}: {name} must have shape {tuple(shape)}; got {tuple(numbers.shape)}")


def outside(numbers: Tensor, count: int) -> bool:
    """Return whether some of the numbers are not from 0 to count - 1."""
    if not numbers.numel():
        return False
    low, high = torch.stack(torch.aminmax(numbers)).tolist()
    return bool(low < 0 or high >= count)


def check_classes(where: str, targets: Tensor, classes: int, lengths: Tensor | None) -> None:
    """Check that targets (B, ...), or (B, T, ...) within lengths, are class numbers or IGNORED.

    Raises:
        ShapeError: one is not; the first is named.
    """
    bad = ((targets < 0) | (targets >= classes)) & (targets != IGNORED)
    for place in _first_real(bad, lengths):
        raise ShapeError(
            f"{where}: targets must be class numbers from 0 to {classes - 1}, or IGNORED ({IGNORED}); "
            f"got {int(targets[tuple(place)])} at targets{place}",
            f"{where} was made for {classes} classes, which are numbered from 0",
        )


def check_yes_or_no(where: str, targets: Tensor, lengths: Tensor | None, *, may_ignore: bool) -> None:
    """Check that targets (..., K), or (B, T, ..., K) within lengths, are 0, 1 or, where that may be, IGNORED.

    Nothing is looked at where a compiler or a transform would have to follow.

    Raises:
        ShapeError: they are no tensor, or one is not; the first is named.
    """
    check_tensor(where, "targets", targets)
    if not unwatched((targets,)):
        return
    bad = (targets != 0) & (targets != 1)
    if may_ignore:
        bad = bad & (targets != IGNORED)
    for place in _first_real(bad, lengths):
        raise ShapeError(
            f"{where}: targets must be 0 or 1{f', or IGNORED ({IGNORED})' if may_ignore else ''}; "
            f"got {targets[tuple(place)].item():g} at targets{place}",
            "a label holds or does not; numbers in between are the business of a regression head",
        )


def _first_real(bad: Tensor, lengths: Tensor | None) -> list[list[int]]:
    """Return the place of the first True of bad (B, ...), of (B, T, ...) within lengths; an empty list without one."""
    if lengths is not None:
        real = valid_steps(lengths, bad.shape[1], bad.device)  # (B, T)
        bad = bad & real.reshape(*real.shape, *[1] * (bad.dim() - 2))
    found: list[list[int]] = bad.nonzero()[:1].tolist() if bool(bad.any()) else []
    return found
