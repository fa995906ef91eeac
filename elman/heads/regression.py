"""Numbers: y^ = W_y a + b_y, with squared, absolute and quantile loss, or a normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from elman.errors import ShapeError, UsageError, nearest
from elman.heads.head import Head, Loss, check_size, check_tensor, exact, real_rows

KINDS = ("mse", "mae", "quantile", "gaussian")
QUANTILES = (0.1, 0.5, 0.9)
Kind = Literal["mse", "mae", "quantile", "gaussian"]


class RegressionHead(Head):
    """K numbers, learnt by one of four losses; e = y - y^:

        mse       e^2                                         y^ becomes the mean
        mae       |e|                                         the median
        quantile  sum over q of max(q e_q, (q - 1) e_q)       one y^ for each quantile q
        gaussian  (ln 2 pi + s + e^2 exp(-s)) / 2             mean y^ and logarithm s of the variance; in nats

    `nats` of its loss is the sum over all targets, `items` counts targets. A target that is NaN is left out.

    Args:
        input_size: Length of a.
        outputs: K.
        kind: Which loss.
        quantiles: Each between 0 and 1, in rising order; for kind "quantile", where None means 0.1, 0.5 and 0.9.

    Raises:
        UsageError: an unknown kind, outputs that are no whole number of at least 1, or quantiles that do not fit.

    Source: quantile loss, Koenker and Bassett 1978; normal with both parameters learnt, Nix and Weigend 1994.
    """

    def __init__(
        self, input_size: int, outputs: int = 1, *, kind: Kind = "mse", quantiles: Sequence[float] | None = None
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"kind: must be one of {', '.join(KINDS)}; got {kind!r}{nearest(kind, KINDS)}")
        if quantiles is not None and kind != "quantile":
            raise UsageError(
                f"quantiles: have an effect with kind 'quantile' only; got kind {kind!r}", "leave them out"
            )
        quantiles = QUANTILES if quantiles is None else quantiles
        if not quantiles or list(quantiles) != sorted(set(quantiles)) or not all(0 < q < 1 for q in quantiles):
            raise UsageError(f"quantiles: must rise and lie between 0 and 1; got {tuple(quantiles)}")
        check_size("RegressionHead", "outputs", outputs)
        self.parts = {"quantile": len(quantiles), "gaussian": 2}.get(kind, 1)
        super().__init__(input_size, outputs * self.parts)
        self.outputs, self.kind, self.quantiles = outputs, kind, tuple(quantiles)

    def forward(self, a: Tensor) -> Tensor:
        """Return (..., K, P) of a (..., input_size): P is the number of quantiles, 2 for a normal, else 1."""
        flat = super().forward(a)  # (..., K * P)
        return flat.reshape(*flat.shape[:-1], self.outputs, self.parts)

    def loss(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Loss:
        """Return the loss of scores (..., K, P) and targets (..., K).

        Raises:
            ShapeError: targets are no tensor, or have another shape.
        """
        check_tensor("RegressionHead", "targets", targets)
        if scores.shape[:-1] != targets.shape:
            raise ShapeError(
                f"RegressionHead: targets must have shape {tuple(scores.shape[:-1])}; got {tuple(targets.shape)}"
            )
        rows, wanted = exact(real_rows(scores, lengths)), real_rows(targets, lengths)
        here = ~torch.isnan(wanted)
        total = self._each(rows[here], wanted[here].to(rows.dtype)).sum()  # of (N, P) and (N,)
        items = int(here.sum())
        return Loss(total / max(items, 1), total, items)

    def _each(self, found: Tensor, wanted: Tensor) -> Tensor:
        """The loss (N,) of found (N, P)."""
        error = wanted.unsqueeze(-1) - found  # (N, P)
        if self.kind == "mse":
            return error.square().squeeze(-1)
        if self.kind == "mae":
            return error.abs().squeeze(-1)
        if self.kind == "gaussian":
            logarithm = found[:, 1]  # (N,) of the variance
            return (math.log(2 * math.pi) + logarithm + error[:, 0].square() * torch.exp(-logarithm)) / 2
        levels = found.new_tensor(self.quantiles)  # (P,)
        return torch.maximum(levels * error, (levels - 1) * error).sum(-1)

    def centre(self, scores: Tensor) -> Tensor:
        """Return one y^ (..., K) of scores (..., K, P): mean, median, or the quantile nearest to a half."""
        middle = min(range(len(self.quantiles)), key=lambda n: abs(self.quantiles[n] - 0.5))
        return scores[..., middle if self.kind == "quantile" else 0]

    def deviation(self, scores: Tensor) -> Tensor:
        """Return the standard deviation (..., K) of a normal.

        Raises:
            UsageError: the head is of another kind.
        """
        if self.kind != "gaussian":
            raise UsageError(f"deviation: must come from a head of kind 'gaussian'; got {self.kind!r}")
        return torch.exp(exact(scores)[..., 1] / 2)
