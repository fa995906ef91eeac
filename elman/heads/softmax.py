"""Softmax over K classes: y^ = softmax(W_y a + b_y), with its cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.equations.expressions import Apply, Expression, Product, Symbol
from elman.equations.output import OutputEquation
from elman.errors import ShapeError, UsageError
from elman.heads.head import IGNORED, Head, Loss, check_classes, check_form, check_size, exact, outside, real_rows

__all__ = ["IGNORED", "SoftmaxHead", "names_of"]


class SoftmaxHead(Head):
    """Logits W_y a + b_y for each of K classes, and the cross-entropy of their softmax.

    What is differentiated, with smoothing s and weights w:

        q_k  = (1 - s) [k = y] + s / K
        loss = sum over items of w_y sum_k -q_k ln P(k)  /  sum over items of w_y

    Args:
        input_size: Length of a.
        classes: K, or V for a vocabulary.
        equation: Output equation that states it, with names of its own; without a bias in it there is none.
        tied: Share this matrix (K, input_size), usually the embedding's, as W_y; None for a matrix of its own.
        label_smoothing: s, from 0 up to, not including, 1.
        class_weights: w (K,), more than 0; None for ones. They belong to training and are not saved.

    Raises:
        ShapeError: the shared matrix or the weights have another shape.
        UsageError: the equation is not a softmax of W a + b or of W a; a number is outside its range.

    Source: tied weights, Press and Wolf 2017, "Using the output embedding to improve language models"; smoothing,
        Szegedy et al. 2016, "Rethinking the Inception architecture", section 7.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        input_size: int,
        classes: int,
        *,
        equation: OutputEquation | None = None,
        tied: nn.Parameter | None = None,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        check_size("SoftmaxHead", "classes", classes)
        names = ("W_y", "b_y") if equation is None else names_of(equation)
        super().__init__(input_size, classes, bias=len(names) == 2, weight=tied)
        if not 0 <= label_smoothing < 1:
            raise UsageError(f"label_smoothing: must be from 0 up to, not including, 1; got {label_smoothing}")
        self.names, self.classes, self.label_smoothing = names, classes, label_smoothing
        self.register_buffer("class_weights", None, persistent=False)
        self.weigh(class_weights)

    def weigh(self, class_weights: Tensor | None) -> None:
        """Give the classes these weights (K,) in the loss; None for equal ones."""
        if class_weights is not None:
            if class_weights.shape != (self.classes,):
                raise ShapeError(
                    f"class_weights: must have shape ({self.classes},), one a class; got {tuple(class_weights.shape)}"
                )
            if not bool((class_weights > 0).all() and torch.isfinite(class_weights).all()):
                raise UsageError(f"class_weights: must be finite and more than 0; got {class_weights.tolist()}")
        self.class_weights = class_weights

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters under the names of the equation."""
        return dict(zip(self.names, (self.weight, self.bias) if self.bias is not None else (self.weight,), strict=True))

    def nats(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -ln P(target) over all targets that are not IGNORED.

        Args:
            logits: (..., K).
            targets: (...) class numbers.

        Raises:
            ShapeError: as of `loss`.
        """
        check_form("SoftmaxHead", "targets", targets, logits.shape[:-1])
        if outside(targets, logits.shape[-1]):  # by IGNORED, or by what does not exist
            check_classes("SoftmaxHead", targets, logits.shape[-1], None)
        return self._nats(logits, targets.long())

    def _nats(self, logits: Tensor, targets: Tensor) -> Tensor:
        flat = exact(logits).reshape(-1, logits.shape[-1])  # (N, K)
        return nn.functional.cross_entropy(flat, targets.reshape(-1), reduction="sum", ignore_index=IGNORED)

    def loss(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Loss:
        """Return the cross-entropy of logits (..., K) and class numbers (...), IGNORED and beyond lengths left out.

        In a batch where nothing counts, the mean is 0.

        Raises:
            ShapeError: targets are no whole numbers, have another shape, or one that counts is not from 0 to K - 1.
        """
        logits, wanted = _counted(scores, targets, lengths)
        items = int(wanted.shape[0])
        if not items or not (self.label_smoothing or self.class_weights is not None):
            nats = self._nats(logits, wanted)
            return Loss(nats / max(items, 1), nats, items)
        logs = torch.log_softmax(logits, dim=1)
        own = -logs.gather(1, wanted.unsqueeze(1)).squeeze(1)  # (N,)
        nats, each = own.sum(), own
        if self.label_smoothing:
            each = (1 - self.label_smoothing) * own - self.label_smoothing * logs.mean(dim=1)
        share = torch.ones_like(each) if self.class_weights is None else self.class_weights.to(each)[wanted]  # (N,)
        return Loss((each * share).sum() / share.sum(), nats, items)

    def best(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the most probable class (...) of logits (..., K); lengths change nothing."""
        return scores.argmax(dim=-1)

    def probabilities(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return P(k) (..., K) of logits (..., K); lengths change nothing."""
        return torch.softmax(exact(scores), dim=-1)


def _counted(scores: Tensor, targets: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """The logits (N, K) and targets (N,) of what counts."""
    check_form("SoftmaxHead", "targets", targets, scores.shape[:-1])
    classes = scores.shape[-1]
    rows, wanted = real_rows(scores, lengths), real_rows(targets, lengths).long()
    if not outside(wanted, classes):  # then all of it counts, and nothing has to be copied
        return exact(rows).reshape(-1, classes), wanted.reshape(-1)
    here = wanted != IGNORED
    known = wanted[here]
    if outside(known, classes):
        check_classes("SoftmaxHead", targets, classes, lengths)
    return exact(rows[here]), known


def names_of(equation: OutputEquation) -> tuple[str, ...]:
    """Return the names of matrix and bias of an output equation, of the matrix alone where it has no bias.

    Raises:
        UsageError: it is something else than the softmax of W a + b or of W a.
    """
    if equation.function != "softmax":
        raise UsageError(
            f"output equation: {equation.name} must be a softmax; got {equation.function}",
            "write softmax in it, bind its function by functions={'g_2': 'softmax'}, or leave it out",
        )
    inside = equation.expression
    terms = inside.arguments if isinstance(inside, Apply) and inside.function == "add" else (inside,)
    matrices = [term.matrix for term in terms if _is_plain(term) and isinstance(term, Product)]
    biases = [term.name for term in terms if isinstance(term, Symbol) and term.name not in equation.reads]
    if len(matrices) != 1 or len(biases) > 1 or len(matrices) + len(biases) < len(terms):
        raise UsageError(
            f"output equation: {equation.name} must be softmax(W a + b) or softmax(W a), with a value a of this step",
            "compute anything else in a line of the cell, and read that",
        )
    return (*matrices, *biases)


def _is_plain(term: Expression) -> bool:
    """Whether a term is a matrix times one value of this step."""
    if not isinstance(term, Product) or term.transposed or len(term.parts) > 1:
        return False
    part = term.parts[0]
    return isinstance(part, Symbol) and part.time != -1
