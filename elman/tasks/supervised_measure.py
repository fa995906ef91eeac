"""Loss, answers and metrics of a network on examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask
from elman.training.batches import Batches


def to_device(value: Any, device: torch.device) -> Any:
    """Return tensors, what has a method `to`, and tuples of these on another device."""
    if isinstance(value, tuple):
        return tuple(to_device(part, device) for part in value)
    return value if value is None else value.to(device)


@torch.no_grad()
def judge(
    task: SupervisedTask[Any],
    network: nn.Module,
    items: Sequence[Item],
    truths: Sequence[Any],
    setting: Setting[Any],
    *,
    final: bool = True,
) -> tuple[dict[str, float], list[Answer]]:
    """Return metrics, "loss" (mean nats per item) among them, and the answers in the order of the items.

    Args:
        task: The task.
        network: Its network, in evaluation mode.
        items: Examples as numbers.
        truths: y of each example.
        setting: Options, codecs, cell.
        final: Take the answers that users get; otherwise those of a validation during training.
    """
    nats, counted, found = 0.0, 0, [Answer()] * len(items)
    for rows, x, y, said in _answered(task, network, items, setting, final):
        loss = task.loss(network, x, y, setting)
        nats, counted = nats + float(loss.nats), counted + loss.items
        _put(found, rows, said)
    return {"loss": nats / max(counted, 1), **task.measure(found, truths)}, found


@torch.no_grad()
def answers_to(
    task: SupervisedTask[Any], network: nn.Module, items: Sequence[Item], setting: Setting[Any]
) -> list[Answer]:
    """Return the answers of a network, in evaluation mode, in the order of the items."""
    found = [Answer()] * len(items)
    for rows, _, _, said in _answered(task, network, items, setting, True):
        _put(found, rows, said)
    return found


def _put(found: list[Answer], rows: Sequence[int], said: Sequence[Answer]) -> None:
    for row, answer in zip(rows, said, strict=True):
        found[row] = answer


def _answered(
    task: SupervisedTask[Any], network: nn.Module, items: Sequence[Item], setting: Setting[Any], final: bool
) -> Iterator[tuple[Sequence[int], Any, Any, list[Answer]]]:
    """Rows, x, y and answers of every batch, the longest first."""
    device = next(network.parameters()).device
    batches = Batches([item.length for item in items], setting.config.batch_size, seed=0) if items else None
    for rows in batches.in_order() if batches else []:
        x, y = (to_device(value, device) for value in task.collate([items[row] for row in rows], setting))
        yield rows, x, y, (task.answers if final else task.validated)(network, x, setting)
