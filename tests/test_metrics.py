"""Metrics by their definitions, example by example."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from elman.codecs.spans import Span
from elman.metrics import Confusion, Ratios, accuracy, areas, auprc, auroc, mae, rmse, span_ratios

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


def test_a_class_answered_as_often_as_it_is_true_has_its_part_in_the_mean() -> None:
    assert Confusion.of("aabbc", "aabcb", "abc").macro_f1() == pytest.approx((1 + 1 / 2 + 0) / 3)


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


@pytest.mark.parametrize("seed", range(5))
def test_mcc_and_areas_are_those_of_scikit_learn(seed: int) -> None:
    draws = np.random.default_rng(seed)
    for classes in (2, 4):
        wanted = draws.integers(0, classes, 80)
        scores = np.round(draws.dirichlet(np.ones(classes), 80) + 0.3 * np.eye(classes)[wanted], 1)  # with many ties
        said = scores.argmax(axis=1)
        names = [str(k) for k in range(classes)]
        confusion = Confusion.of([str(k) for k in said], [str(k) for k in wanted], names)
        assert confusion.mcc() == pytest.approx(sklearn_metrics.matthews_corrcoef(wanted, said), abs=1e-12)
        one = np.array([wanted == k for k in range(classes)]).T
        one, own = (one[:, 1], scores[:, 1]) if classes == 2 else (one, scores)
        assert areas(scores, wanted) == {
            "auroc": pytest.approx(sklearn_metrics.roc_auc_score(one, own), abs=1e-12),
            "auprc": pytest.approx(sklearn_metrics.average_precision_score(one, own), abs=1e-12),
        }


def test_areas_have_no_value_without_both_classes() -> None:
    scores, none = np.array([0.2, 0.8]), np.zeros(2, dtype=bool)
    assert math.isnan(auroc(scores, none)) and math.isnan(auprc(scores, none)) and math.isnan(auroc(scores, ~none))
    assert auprc(scores, ~none) == 1.0
    three = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1]])
    assert areas(three, np.array([0, 1, 0]))["auroc"] == 1.0, "the class that nobody met has no part in the mean"
    once = np.array([[0.3, 0.6, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]])  # all wrong of class 0, all right of class 1
    assert areas(once, np.array([1, 1, 0]))["auroc"] == 0.5, "a class that was true once has its part in the mean"
    assert math.isnan(areas(three, np.array([1, 1, 1]))["auprc"])
    assert Confusion.of(["a", "a"], ["a", "b"], "ab").mcc() == Confusion.of(["a", "b"], ["a", "a"], "ab").mcc() == 0.0


def test_errors_of_numbers_are_in_their_unit() -> None:
    found, wanted = np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 2.0])
    assert mae(found, wanted) == 2.0
    assert rmse(found, wanted) == pytest.approx(math.sqrt(20 / 3))
