"""Metrics by their definitions, example by example."""

from __future__ import annotations

import random

import pytest

from elman.codecs.spans import Span
from elman.metrics import Confusion, Ratios, accuracy, span_ratios

NAMES = ("a", "b", "c", "never")


def drawn() -> tuple[list[str], list[str]]:
    source = random.Random(0)
    wanted = [source.choice("aabc") for _ in range(200)]
    return [source.choice([true, "a", "b"]) for true in wanted], wanted


def test_accuracy_confusion_and_f1_are_counted_one_by_one() -> None:
    found, wanted = drawn()
    confusion = Confusion.of(found, wanted, NAMES)
    pairs = list(zip(wanted, found, strict=True))
    assert accuracy(found, wanted) == sum(true == said for true, said in pairs) / 200
    assert confusion.counts == tuple(tuple(pairs.count((true, said)) for said in NAMES) for true in NAMES)
    scores = []
    for name in NAMES[:3]:
        right = pairs.count((name, name))
        precision, recall = right / max(found.count(name), 1), right / max(wanted.count(name), 1)
        ratios = confusion.ratios()[name]
        assert (ratios.precision, ratios.recall) == (pytest.approx(precision), pytest.approx(recall))
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
        assert ratios.f1 == pytest.approx(scores[-1])
    assert confusion.macro_f1() == pytest.approx(sum(scores) / 3), "a class that nobody met has no part in the mean"


def test_a_ratio_of_nothing_is_zero() -> None:
    nothing = Ratios(0, 0, 0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)


def test_spans_are_right_when_begin_end_and_kind_are() -> None:
    wanted = [[Span(0, 2, "per"), Span(3, 4, "loc")], [Span(1, 2, "per")], []]
    found = [[Span(0, 2, "per"), Span(3, 5, "loc")], [Span(1, 2, "loc")], [Span(0, 1, "per")]]
    assert span_ratios(found, wanted) == {
        "": Ratios(1, 4, 3),
        "loc": Ratios(0, 2, 1),
        "per": Ratios(1, 2, 2),
    }
    assert span_ratios(found, wanted)[""].f1 == pytest.approx(2 / 7)
