"""Connectionist temporal classification: labels without times, summed over all alignments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from elman.engines.ragged import without_padding
from elman.errors import ShapeError
from elman.heads.head import Head, Loss, check_form, check_size, check_steps, exact

BLANK = 0
BLANK_BIAS = 3.0


class CtcHead(Head):
    """P(y | x) of K labels and a blank, number 0, as the sum over all paths that collapse to y.

    A path says one of 0..K at every step; it collapses by merging repeats and then dropping blanks.

        P(y | x) = sum over paths p that collapse to y of the product over t of P(p<t> | x)

    Targets are labels from 1 to K. `nats` of the loss is -ln P(y | x), `items` counts labels.

    Args:
        input_size: Length of a.
        labels: K, the blank not counted.

    Raises:
        UsageError: labels are no whole number of at least 1.

    Source: Graves et al. 2006, "Connectionist temporal classification"; the loss is torch's.
    """

    def __init__(self, input_size: int, labels: int) -> None:
        check_size("CtcHead", "labels", labels)
        super().__init__(input_size, labels + 1)
        self.labels = labels
        with torch.no_grad():
            # Saying nothing comes first: what random weights babble can have fewer errors than the first silent epochs.
            cast(Tensor, self.bias)[BLANK] = BLANK_BIAS

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return ln P(k) (B, T, K + 1) of logits (B, T, K + 1)."""
        return torch.log_softmax(exact(scores), dim=-1)

    def loss(self, scores: Tensor, targets: tuple[Tensor, Tensor], lengths: Tensor | None = None) -> Loss:
        """Return -ln P(y | x); the mean is over labels.

        Args:
            scores: Logits (B, T, K + 1).
            targets: Labels (B, U) from 1 to K, anything beyond their lengths; and these lengths (B,).
            lengths: (B,) steps; None when all are T.

        Raises:
            ShapeError: a label is not from 1 to K, a sequence has fewer steps than its target needs (see
                `steps_needed`), or shapes, types or lengths do not fit.
        """
        if not isinstance(targets, tuple | list) or len(targets) != 2:
            raise ShapeError(
                f"CtcHead: targets must be labels (B, U) and their lengths (B,); got {type(targets).__name__}"
            )
        labels, counts = targets
        check_steps("CtcHead", scores)
        rows, steps = scores.shape[:2]
        lengths = torch.full((rows,), steps) if lengths is None else lengths.cpu()
        check_form("CtcHead", "labels", labels, (rows, *(labels.shape[-1:] if isinstance(labels, Tensor) else ())))
        check_form("CtcHead", "lengths of labels", counts, (rows,))
        check_form("CtcHead", "lengths", lengths, (rows,))
        self._check(labels, counts, lengths, steps)
        # Torch's loss reads nothing beyond a length, but the derivative of a softmax of NaN would be NaN.
        logs = self.log_probabilities(without_padding(scores, lengths))
        nats = nn.functional.ctc_loss(logs.transpose(0, 1), labels, lengths, counts.cpu(), BLANK, "sum")
        items = max(int(counts.sum()), 1)
        return Loss(nats / items, nats, items)

    def _check(self, labels: Tensor, counts: Tensor, lengths: Tensor, longest: int) -> None:
        """Refuse what torch's loss would read beyond its tables, or answer by infinity."""
        for row, (said, count, steps) in enumerate(
            zip(labels.tolist(), counts.tolist(), lengths.tolist(), strict=True)
        ):
            if not (0 <= count <= len(said) and 0 < steps <= longest):
                raise ShapeError(
                    f"CtcHead: sequence {row} must have from 0 to {len(said)} labels and from 1 to {longest} steps; "
                    f"got {count} labels and {steps} steps"
                )
            check_labels("CtcHead", said[:count], self.labels, f"labels[{row}, ")
            needed = steps_needed(said[:count])
            if needed > steps:
                raise ShapeError(
                    f"CtcHead: sequence {row} must have at least {needed} steps for its {count} labels; got {steps}",
                    "leave the example out, or read more steps a second",
                )


def steps_needed(labels: Sequence[int]) -> int:
    """Return how many steps a target needs at least: one a label, and one for the blank between two equal ones.

    Example:
        >>> steps_needed([3, 3, 5])
        4
    """
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def check_labels(where: str, said: Sequence[int], labels: int, place: str) -> None:
    """Check that what is to be said has labels from 1 to K.

    Args:
        where: Who asks, for errors.
        said: The labels.
        labels: K.
        place: Where they stand, for errors, up to the number of a label: "labels[0, ".

    Raises:
        ShapeError: one is not; the first is named.
    """
    if said and not 0 < min(said) <= max(said) <= labels:
        u = next(u for u, label in enumerate(said) if not 0 < label <= labels)
        raise ShapeError(
            f"{where}: labels must be from 1 to K = {labels}; got {said[u]} at {place}{u}]",
            f"number {BLANK} is the blank; labels are numbered from 1",
        )
