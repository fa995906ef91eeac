"""Softmax over a vocabulary: y^ = softmax(W_y a + b_y), with its cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.equations.expressions import Apply, Expression, Product, Symbol
from elman.equations.output import OutputEquation
from elman.errors import ShapeError, UsageError

IGNORED = -100


class SoftmaxHead(nn.Module):
    """Logits W_y a + b_y for each of K classes, and the cross-entropy of their softmax.

    Args:
        input_size: Length of a.
        classes: K, or V for a vocabulary.
        equation: Output equation that states it, with names of its own; without a bias in it there is none.
        tied: Share this matrix (K, input_size), usually the embedding's, as W_y; None for a matrix of its own.

    Raises:
        ShapeError: the shared matrix has another shape.
        UsageError: the equation is not a softmax of W a + b or of W a.

    Source: tied weights, Press and Wolf 2017, "Using the output embedding to improve language models".
    """

    def __init__(
        self,
        input_size: int,
        classes: int,
        *,
        equation: OutputEquation | None = None,
        tied: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        if tied is not None and tuple(tied.shape) != (classes, input_size):
            raise ShapeError(
                f"SoftmaxHead: tied weights must have shape ({classes}, {input_size}); got {tuple(tied.shape)}",
                "make the embedding as long as the output of the recurrent part",
            )
        self.names = ("W_y", "b_y") if equation is None else names_of(equation)
        self.weight = nn.Parameter(torch.zeros(classes, input_size)) if tied is None else tied
        self.bias = nn.Parameter(torch.zeros(classes)) if len(self.names) == 2 else None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters under the names of the equation."""
        return dict(zip(self.names, (self.weight, self.bias) if self.bias is not None else (self.weight,), strict=True))

    def forward(self, a: Tensor) -> Tensor:
        """Return logits (..., K) of a (..., input_size)."""
        return nn.functional.linear(a, self.weight, self.bias)

    def nats(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -ln P(target) over all targets that are not IGNORED.

        Args:
            logits: (..., K).
            targets: (...) class numbers.
        """
        # Under autocast logits are bfloat16, too coarse to take logarithms of.
        exact = logits.float() if logits.element_size() < 4 else logits
        flat = exact.reshape(-1, logits.shape[-1])  # (N, K)
        return nn.functional.cross_entropy(flat, targets.reshape(-1), reduction="sum", ignore_index=IGNORED)


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
            f"output equation: {equation.name} must be softmax(W a + b) or softmax(W a), with a value a of the cell",
            "compute anything else in a line of the cell, and read that",
        )
    return (*matrices, *biases)


def _is_plain(term: Expression) -> bool:
    """Whether a term is a matrix times one value of the cell."""
    return isinstance(term, Product) and not term.transposed and len(term.parts) == 1
