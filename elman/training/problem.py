"""What the loop needs of a task: a model, batches by number, a loss, an evaluation, and how to save the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

Carry = Mapping[str, Tensor] | None


@dataclass(frozen=True)
class LossResult:
    """The loss of one batch.

    Args:
        loss: Scalar to differentiate: mean nats per item, penalties included.
        nats: Sum of nats over the batch's items, penalties excluded; what is reported.
        items: How many items (tokens, labels) the batch has.
        carry: State handed to the next batch of the epoch, by name; None for none. The loop detaches it.
    """

    loss: Tensor
    nats: float
    items: int
    carry: dict[str, Tensor] | None = None


class Problem(Protocol):
    """A task as the training loop sees it."""

    @property
    def model(self) -> nn.Module:
        """The model whose parameters are trained."""

    @property
    def selection(self) -> str:
        """Name of the validation metric by which the best weights are chosen; among equals the lower loss counts."""

    @property
    def unit(self) -> str:
        """What the items of a batch are called: "tokens", "examples"."""

    def batches_per_epoch(self, epoch: int) -> int:
        """Return how many batches epoch `epoch` (from 0) has; at least 1."""

    def batch(self, epoch: int, index: int) -> Any:
        """Return batch `index` of any epoch from 0 on: a pure function of the data, the seed and these numbers."""

    def loss(self, batch: Any, carry: Carry) -> LossResult:
        """Return the loss of a batch, drawing by `elman.randomness`; `carry` is None at an epoch's start."""

    def evaluate(self) -> dict[str, float]:
        """Return metrics on validation data, among them "loss" (mean nats per item), without changing the model.

        Called in evaluation mode without gradients; a signal may interrupt it at any point.
        """

    def save_model(self, folder: Path) -> None:
        """Write a model folder whose model.safetensors holds exactly `model.state_dict()` under its own names."""
