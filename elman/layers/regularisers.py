"""Regularisers of the recurrence: masks for rewritten cells, and dropped recurrent weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.engines.masks import mask_of_ones, scaled_mask
from elman.equations import Cell
from elman.equations.rewrite import variational, zoneout
from elman.errors import UsageError

Columns = Sequence[tuple[int, bool]]
"""Blocks of columns of a matrix: how many, and whether they multiply a state."""


def check_probability(where: str, value: float) -> float:
    """Return a probability, refusing anything outside [0, 1)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise UsageError(f"{where} must be a probability from 0 up to, not including, 1; got {value!r}")
    return float(value)


@dataclass(frozen=True)
class Regularisers:
    """What regularises one layer.

    Args:
        zoneout: Probability that a component of a state keeps its old value (Krueger et al. 2017).
        variational: Probability of dropping a component of input and states, the same at all steps (Gal 2016).
        weight_drop: Probability of dropping an entry of a recurrent matrix (Merity et al. 2018).
    """

    zoneout: float = 0.0
    variational: float = 0.0
    weight_drop: float = 0.0

    def act(self, training: bool) -> bool:
        """Say whether anything here changes what a layer computes: in evaluation zoneout alone does."""
        return bool(self.zoneout or (training and (self.variational or self.weight_drop)))

    def cell(self, cell: Cell, training: bool) -> Cell:
        """Return the cell to run: dropout has no part in evaluation, zoneout blends by its probability."""
        if self.variational and training:
            cell = variational(cell)
        return zoneout(cell, None if training else self.zoneout) if self.zoneout else cell

    def masks(self, sizes: Mapping[str, int], x: Tensor) -> dict[str, Tensor]:
        """Draw the masks of a rewritten cell, whose sizes are given, for x (B, T, I); in evaluation it has none."""
        batch, steps = x.shape[0], x.shape[1]
        masks = {}
        for name, width in sizes.items():
            if name.startswith("zoneout_"):
                # A one keeps the old value, so ones have the probability of zoneout.
                masks[name] = mask_of_ones((batch, steps, width), self.zoneout, name, x)
            else:
                masks[name] = scaled_mask((batch, 1, width), 1 - self.variational, name, x)
        return masks

    def weights(
        self, weights: Mapping[str, Tensor], columns: Mapping[str, Columns], training: bool
    ) -> dict[str, Tensor]:
        """Drop entries of what multiplies a state; evaluation uses the whole matrices.

        Args:
            weights: Parameters by name.
            columns: Of those matrices that multiply a state; see `recurrent_columns`.
            training: Nothing is dropped otherwise.
        """
        if not (self.weight_drop and training):
            return dict(weights)
        return {n: self._dropped(n, w, columns[n]) if n in columns else w for n, w in weights.items()}

    def _dropped(self, name: str, weight: Tensor, columns: Columns) -> Tensor:
        keep = 1 - self.weight_drop
        mask = scaled_mask(weight.shape, keep, f"weight_drop {name}", weight)
        if len(columns) > 1:
            parts = torch.split(mask, [width for width, _ in columns], dim=1)
            mask = torch.cat(
                [p if state else torch.ones_like(p) for (_, state), p in zip(columns, parts, strict=True)], 1
            )
        return weight * mask


def recurrent_columns(cell: Cell, matrices: Iterable[str], widths: Mapping[str, int]) -> dict[str, Columns]:
    """Return the columns of those matrices that multiply a state, by name.

    Args:
        cell: The cell.
        matrices: Names.
        widths: Value of every size symbol.
    """
    found: dict[str, Columns] = {}
    for name in matrices:
        columns = [(widths[b.size], b.kind != "input") for b in cell.parameter_blocks(name)]
        if any(state for _, state in columns):
            found[name] = columns
    return found


def drop(x: Tensor, probability: float, purpose: str, locked: bool = False) -> Tensor:
    """Dropout with draws by function: each component of x (B, T, S) is zero with `probability`, the rest scaled up.

    Args:
        x: (B, T, S), or (B, S) for one step.
        probability: Of dropping.
        purpose: What the draw is for; see elman.randomness.
        locked: The same mask at all steps (Gal 2016); x has three dimensions then.
    """
    if probability == 0:
        return x
    shape = (x.shape[0], 1, x.shape[2]) if locked else tuple(x.shape)
    return x * scaled_mask(shape, 1 - probability, purpose, x)
