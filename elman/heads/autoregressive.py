"""Yes or no, K times, each answer knowing those before it: the keys of a chord are no independent draws."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.errors import ShapeError
from elman.heads.head import Head, Loss, check_size, check_yes_or_no, exact, real_rows
from elman.randomness import generator


class AutoregressiveBinaryHead(Head):
    """K labels one after the other: P(y | a) = product over k of P(y_k | y_1 ... y_{k-1}, a).

        u   = relu(C a + c + (V * M_V) y)
        z   = W_y a + b_y + (U * M_U) u + (S * M_S) y
        P(y_k = 1 | y_1 ... y_{k-1}, a) = sigmoid(z_k)

    Unit m of u has a degree d from 1 to K - 1: M_V lets it read y_1 ... y_d, M_U lets it reach z_k with k > d, and M_S
    is 1 below the diagonal, so that no z_k sees y_k or what comes after it. All K factors come from one pass.
    The scores of this head are [W_y a + b_y, C a + c] (K + M); its loss adds what depends on y.

    Args:
        input_size: Length of a.
        labels: K, at least 2.
        units: M, length of u.
        seed: First values of V and U as a function of this number; S begins with zeros.

    Raises:
        UsageError: fewer than 2 labels, or no unit.

    Source: Germain et al. 2015, "MADE: masked autoencoder for distribution estimation"; above a recurrent network,
        Boulanger-Lewandowski, Bengio and Vincent 2012, "Modeling temporal dependencies in high-dimensional sequences"
        (RNN-NADE).
    """

    reads: Tensor
    reaches: Tensor
    before: Tensor

    def __init__(self, input_size: int, labels: int, *, units: int = 256, seed: int = 0) -> None:
        check_size("AutoregressiveBinaryHead", "labels", labels, least=2)
        check_size("AutoregressiveBinaryHead", "units", units)
        super().__init__(input_size, labels + units)
        self.labels, self.units = labels, units
        draws = generator(seed, "initialise", "autoregressive head")
        self.V = _drawn(units, labels, 0.05, draws)
        self.U = _drawn(labels, units, 0.5 * units**-0.5, draws)
        self.S = nn.Parameter(torch.zeros(labels, labels))
        on = torch.device("cpu")  # small, and torch would import its compiler to compute them without memory
        degree, k = torch.arange(units, device=on) * (labels - 1) // units + 1, torch.arange(1, labels + 1, device=on)
        self.register_buffer("reads", k <= degree.unsqueeze(1), persistent=False)  # (M, K)
        self.register_buffer("reaches", k.unsqueeze(1) > degree, persistent=False)  # (K, M)
        self.register_buffer("before", k.unsqueeze(1) > k, persistent=False)  # (K, K)

    def logits(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return z (..., K) of scores (..., K + M) and y (..., K), each 0 or 1; z_k knows y_1 ... y_{k-1}."""
        if scores.shape != (*targets.shape[:-1], self.labels + self.units) or targets.shape[-1] != self.labels:
            raise ShapeError(
                f"autoregressive head: targets must have shape {(*scores.shape[:-1], self.labels)}; "
                f"got {tuple(targets.shape)}"
            )
        of_a, of_units = torch.split(exact(scores), [self.labels, self.units], dim=-1)
        y = targets.to(of_a.dtype)
        u = torch.relu(of_units + nn.functional.linear(y, self.V * self.reads))  # (..., M)
        z: Tensor = (
            of_a + nn.functional.linear(u, self.U * self.reaches) + nn.functional.linear(y, self.S * self.before)
        )
        return z

    def steps(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return -ln P(y<t> | a<t>) (...) of scores and targets (..., K), each 0 or 1.

        Raises:
            ShapeError: targets have another shape, or one is something else.
        """
        check_yes_or_no("AutoregressiveBinaryHead", targets, None, may_ignore=False)
        return self._steps(scores, targets)

    def _steps(self, scores: Tensor, targets: Tensor) -> Tensor:
        z = self.logits(scores, targets)
        each = nn.functional.binary_cross_entropy_with_logits(z, targets.to(z.dtype), reduction="none")  # (..., K)
        return each.sum(dim=-1)

    def loss(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Loss:
        """Return the loss of scores (..., K + M) and targets (..., K), each 0 or 1; the mean is over steps.

        Raises:
            ShapeError: targets have another shape, or one within lengths is something else.
        """
        check_yes_or_no("AutoregressiveBinaryHead", targets, lengths, may_ignore=False)
        each = self._steps(real_rows(scores, lengths), real_rows(targets, lengths))
        nats, items = each.sum(), each.numel()
        return Loss(nats / items, nats, items)

    @torch.no_grad()
    def draw(self, scores: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        """Return y (B, K) of 0 and 1, label after label.

        Args:
            scores: (B, K + M).
            uniforms: (B, K), in [0, 1): y_k is 1 where its number is less than P(y_k = 1 | y_1 ... y_{k-1}, a).
            temperature: Divides z, more than 0.
        """
        z, units = torch.split(exact(scores), [self.labels, self.units], dim=-1)
        z, units, y = z.clone(), units.clone(), torch.zeros_like(z)
        V, U, S = self.V * self.reads, self.U * self.reaches, self.S * self.before
        for k in range(self.labels):
            z_k = z[:, k] + torch.relu(units) @ U[k]
            y[:, k] = uniforms[:, k] < torch.sigmoid(z_k / temperature)
            units += torch.outer(y[:, k], V[:, k])
            z += torch.outer(y[:, k], S[:, k])
        return y


def _drawn(rows: int, columns: int, deviation: float, draws: torch.Generator) -> nn.Parameter:
    """A normal matrix; without values where it has no memory, for torch would import its compiler to draw none."""
    empty = torch.empty(rows, columns)
    return nn.Parameter(empty if empty.is_meta else deviation * empty.normal_(generator=draws))
