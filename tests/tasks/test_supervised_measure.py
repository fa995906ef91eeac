"""Loss and answers of examples read in batches, the longest first: each at its own place, each counted once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from elman.tasks.supervised import Item
from elman.tasks.supervised_measure import answers_to, judge, to_device

LENGTHS = [2, 5, 1, 4, 3]
SETTING: Any = SimpleNamespace(config=SimpleNamespace(batch_size=2))


class Lengths:
    """Answers the length of each example, whose loss is as many nats, and notes the batches that it is given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def collate(self, items: list[Item], setting: Any) -> tuple[Any, Any]:
        self.batches.append([item.length for item in items])
        return (torch.tensor(self.batches[-1]), None), torch.zeros(len(items))

    def loss(self, network: nn.Module, x: Any, y: Any, setting: Any) -> Any:
        return SimpleNamespace(nats=x[0].sum(), items=len(y))

    def answers(self, network: nn.Module, x: Any, setting: Any) -> list[Any]:
        return [{"final": int(length)} for length in x[0]]

    def validated(self, network: nn.Module, x: Any, setting: Any) -> list[Any]:
        return [{"quick": int(length)} for length in x[0]]

    def measure(self, answers: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"right": float(sum(t in a.values() for a, t in zip(answers, truths, strict=True)))}


def items(lengths: list[int]) -> list[Item]:
    return [Item(x=None, y=None, length=length) for length in lengths]


@pytest.mark.parametrize(("final", "kind"), [(True, "final"), (False, "quick")])
def test_answers_come_in_the_order_of_the_items(final: bool, kind: str) -> None:
    task: Any = Lengths()
    metrics, answers = judge(task, nn.Linear(1, 1), items(LENGTHS), LENGTHS, SETTING, final=final)
    assert answers == [{kind: length} for length in LENGTHS]
    assert metrics == {"loss": 3.0, "right": 5.0}
    assert task.batches == [[5, 4], [3, 2], [1]]


def test_answers_without_truths_are_those_that_users_get() -> None:
    task: Any = Lengths()
    assert answers_to(task, nn.Linear(1, 1), items(LENGTHS), SETTING) == [{"final": length} for length in LENGTHS]


def test_one_item_and_none_are_measured() -> None:
    task: Any = Lengths()
    assert judge(task, nn.Linear(1, 1), items([4]), [4], SETTING) == ({"loss": 4.0, "right": 1.0}, [{"final": 4}])
    assert judge(task, nn.Linear(1, 1), [], [], SETTING) == ({"loss": 0.0, "right": 0.0}, [])
    assert answers_to(task, nn.Linear(1, 1), [], SETTING) == []


def test_tensors_in_tuples_go_to_a_device_and_what_is_none_stays() -> None:
    found = to_device((torch.ones(2), (None, nn.Linear(1, 1))), torch.device("meta"))
    assert found[0].is_meta and found[1][0] is None and found[1][1].weight.is_meta
