"""Batches: every example once an epoch, similar lengths, another order each epoch, a function of the seed."""

from __future__ import annotations

import random

import pytest

from elman.errors import DataError
from elman.training.batches import Batches
from elman.training.selection import score

SOURCE = random.Random(3)
LENGTHS = [SOURCE.randint(1, 60) for _ in range(1003)]


def epoch(batches: Batches, number: int) -> list[list[int]]:
    return [batches.rows(number, index) for index in range(batches.count)]


def test_an_epoch_has_every_example_once_and_epochs_differ() -> None:
    batches = Batches(LENGTHS, 32, seed=1)
    first, second = epoch(batches, 0), epoch(batches, 1)
    for rows in (first, second):
        assert sorted(row for batch in rows for row in batch) == list(range(1003))
        assert sorted(map(len, rows)) == [11] + [32] * 31
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    assert epoch(Batches(LENGTHS, 32, seed=1), 0) == first != epoch(Batches(LENGTHS, 32, seed=2), 0)


def test_batches_have_little_padding_and_come_in_any_order() -> None:
    rows = epoch(Batches(LENGTHS, 16, seed=0), 0)
    padded = sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in rows)
    assert padded < 1.05 * sum(LENGTHS)
    longest = [max(LENGTHS[row] for row in batch) for batch in rows]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


def test_evaluation_reads_the_longest_first() -> None:
    rows = Batches(LENGTHS, 100, seed=0).in_order()
    assert [LENGTHS[row] for batch in rows for row in batch] == sorted(LENGTHS, reverse=True)
    with pytest.raises(DataError, match="at least one example"):
        Batches([], 4, seed=0)


def test_the_best_evaluation_is_chosen_by_the_metric_and_then_by_the_loss() -> None:
    assert score({"loss": 0.5, "accuracy": 0.9}, "loss") == [0.5]
    evaluations = [(0.5, 0.8), (0.6, 0.9), (0.55, 0.9), (0.4, 0.85)]
    scores = [score({"loss": loss, "accuracy": share}, "accuracy") for loss, share in evaluations]
    assert min(scores) == scores[2]  # type: ignore[type-var]
    assert score({"loss": float("nan"), "accuracy": 0.9}, "accuracy") is None
