"""Yes or no, K times: y^ = sigmoid(W_y a + b_y), with the binary cross-entropy of each step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.errors import ShapeError, UsageError
from elman.heads.head import IGNORED, Head, Loss, check_size, check_yes_or_no, exact, real_rows


class BinaryHead(Head):
    """Logits of K independent labels, any number of which may hold: one yes or no, or the 88 keys of a piano.

        L(y^<t>, y<t>) = sum over k of -y_k<t> ln y^_k<t> - (1 - y_k<t>) ln(1 - y^_k<t>)
        L(y^, y) = sum over t = 1..T_y of L(y^<t>, y<t>)

    `nats` of its loss is L(y^, y) summed over sequences, `items` counts their steps; without steps, examples.

    Args:
        input_size: Length of a.
        labels: K.
        positive_weight: What a yes weighs in training against a no, more than 0.

    Raises:
        UsageError: labels are no whole number of at least 1, or the weight is not a number above 0.
    """

    def __init__(self, input_size: int, labels: int = 1, *, positive_weight: float = 1.0) -> None:
        check_size("BinaryHead", "labels", labels)
        super().__init__(input_size, labels)
        if not 0 < positive_weight < float("inf"):
            raise UsageError(f"positive_weight: must be more than 0 and finite; got {positive_weight}")
        self.positive_weight = positive_weight

    def steps(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return L(y^<t>, y<t>) (...) of logits and targets (..., K), each 0, 1 or IGNORED.

        Raises:
            ShapeError: targets have another shape, or one is something else.
        """
        check_yes_or_no("BinaryHead", targets, None, may_ignore=True)
        return self._each(scores, targets, 1.0).sum(dim=-1)

    def _each(self, scores: Tensor, targets: Tensor, positive_weight: float) -> Tensor:
        logits = exact(scores)
        if logits.shape != targets.shape:
            raise ShapeError(f"BinaryHead: targets must have shape {tuple(logits.shape)}; got {tuple(targets.shape)}")
        wanted, here = targets.to(logits.dtype), targets != IGNORED
        each = nn.functional.binary_cross_entropy_with_logits(
            logits, wanted, reduction="none", pos_weight=logits.new_tensor(positive_weight)
        )  # (..., K)
        return torch.where(here, each, each.new_zeros(()))

    def loss(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Loss:
        """Return the loss of logits (..., K) and targets (..., K), each 0, 1 or IGNORED; the mean is over steps.

        Raises:
            ShapeError: targets have another shape, or one within lengths is something else.
        """
        check_yes_or_no("BinaryHead", targets, lengths, may_ignore=True)
        rows, wanted = real_rows(scores, lengths), real_rows(targets, lengths)
        nats = self._each(rows, wanted, 1.0).sum()
        items = wanted.shape[:-1].numel()
        if self.positive_weight == 1.0:
            return Loss(nats / items, nats, items)
        return Loss(self._each(rows, wanted, self.positive_weight).sum() / items, nats, items)

    def probabilities(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return y^ (..., K) of logits (..., K); lengths change nothing."""
        return torch.sigmoid(exact(scores))

    @torch.no_grad()
    def draw(self, scores: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        """Return y (..., K): 1 where the uniform number (..., K) is less than sigmoid(logit / temperature), else 0."""
        return (uniforms < torch.sigmoid(exact(scores) / temperature)).to(uniforms.dtype)
