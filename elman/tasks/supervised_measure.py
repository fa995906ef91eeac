"""Loss, answers and metrics of a network on examples."""

from __future__ import annotations

from collections.abc import Sequence
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
    answer = task.answers if final else task.validated
    model: Any = network
    for rows, x, y in _batches(task, network, items, setting):
        loss = model.loss(x, y)
        nats, counted = nats + float(loss.nats), counted + loss.items
        for row, said in zip(rows, answer(network, x, setting), strict=True):
            found[row] = said
    return {"loss": nats / max(counted, 1), **task.measure(found, truths)}, found


@torch.no_grad()
def answers_to(
    task: SupervisedTask[Any], network: nn.Module, items: Sequence[Item], setting: Setting[Any]
) -> list[Answer]:
    """Return the answers of a network, in evaluation mode, in the order of the items."""
    found = [Answer()] * len(items)
    for rows, x, _ in _batches(task, network, items, setting):
        for row, said in zip(rows, task.answers(network, x, setting), strict=True):
            found[row] = said
    return found


def _batches(task: SupervisedTask[Any], network: nn.Module, items: Sequence[Item], setting: Setting[Any]) -> Any:
    """Rows, x and y of every batch, the longest first."""
    device = next(network.parameters()).device
    batches = Batches([item.length for item in items], setting.config.batch_size, seed=0) if items else None
    for rows in batches.in_order() if batches else []:
        x, y = task.collate([items[row] for row in rows], setting)
        yield rows, to_device(x, device), to_device(y, device)
