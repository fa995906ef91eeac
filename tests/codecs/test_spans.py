"""Tags and spans: the rules of the conlleval script, both schemes there and back, transitions by enumeration."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.codecs.spans import (
    SCHEMES,
    Span,
    allowed_transitions,
    are_spans,
    mean_spans,
    spans_of,
    states_no_span,
    tags_of,
)
from elman.errors import UsageError

KINDS = ("per", "creative-work")
TAGS = ["O", *(f"{mark}-{kind}" for mark in "BIES" for kind in KINDS)]


def conlleval(tags: list[str]) -> list[Span]:
    """The two subroutines endOfChunk and startOfChunk of conlleval, case by case."""
    found, start = [], 0
    before, kind_before = "O", ""
    for n, tag in enumerate([*tags, "O"]):
        mark, kind = (tag[0], tag[2:])
        ends = (before, mark) in {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O"), ("E", "E"), ("E", "I"), ("E", "O")}
        ends |= (before, mark) in {("B", "S"), ("I", "S")} or before in ("E", "S")
        ends |= before != "O" and kind_before != kind
        starts = mark in ("B", "S") or (before, mark) in {
            ("E", "E"),
            ("E", "I"),
            ("O", "E"),
            ("O", "I"),
            ("S", "E"),
            ("S", "I"),
        }
        starts |= mark != "O" and kind_before != kind
        if ends and before != "O":
            found.append(Span(start, n, kind_before))
        if starts:
            start = n
        before, kind_before = mark, kind
    return found


@given(st.lists(st.sampled_from(TAGS), max_size=8))
def test_spans_are_those_of_conlleval(tags: list[str]) -> None:
    assert spans_of(tags) == conlleval(tags)


def segmentations(length: int, begin: int = 0) -> list[list[Span]]:
    """Every way to lay spans of two kinds into a sentence."""
    if begin >= length:
        return [[]]
    found = segmentations(length, begin + 1)
    for end in range(begin + 1, length + 1):
        found = found + [[Span(begin, end, kind), *rest] for kind in KINDS for rest in segmentations(length, end)]
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_and_spans_go_both_ways(scheme: str) -> None:
    for spans in segmentations(4):
        assert spans_of(tags_of(spans, 4, scheme)) == spans


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_transitions_allow_what_segmentations_give_and_nothing_else(scheme: str, length: int) -> None:
    tags = TAGS if scheme == "bioes" else [tag for tag in TAGS if tag[0] in "OBI"]
    allowed, size = allowed_transitions(tags, scheme), len(tags)
    assert allowed.shape == (size + 2, size + 2)
    numbers = {tag: n for n, tag in enumerate(tags)}
    legal = {
        path
        for path in itertools.product(tags, repeat=length)
        if all(allowed[a, b] for a, b in itertools.pairwise([size, *(numbers[t] for t in path), size + 1]))
    }
    assert legal == {tuple(tags_of(spans, length, scheme)) for spans in segmentations(length)}


def test_tags_of_spans_are_told_from_others() -> None:
    assert are_spans(["O", "B-x", "I-x"]) and are_spans(["I-x"])
    assert not are_spans(["O"]) and not are_spans(["NOUN", "O"]) and not are_spans(["B-", "O"])
    with pytest.raises(UsageError, match="scheme: must be one of bio, bioes"):
        tags_of([], 3, "iob")


def test_bilou_reads_as_bioes() -> None:
    other = {"E": "L", "S": "U"}
    for tags in itertools.product(TAGS, repeat=3):
        assert spans_of([other.get(tag[0], tag[0]) + tag[1:] for tag in tags]) == spans_of(tags)


@pytest.mark.parametrize(
    "tags", [["O", "B-per", "X-per"], ["O", "I-per", "NN"], ["O", "B-per", "B-"], ["B-a", "E-a"], ["O", "U-x"]]
)
def test_tags_that_are_meant_as_spans(tags: list[str]) -> None:
    assert mean_spans(tags)


@pytest.mark.parametrize(
    "tags", [["NN", "O", "X-FOO"], ["B-per", "NN"], ["O", "B-"], ["B", "I", "O"], ["O"], ["U-x", "NN"]]
)
def test_tags_that_are_not(tags: list[str]) -> None:
    assert not mean_spans(tags)


def test_what_states_no_span() -> None:
    assert not any(states_no_span(tag) for tag in [*TAGS, "L-per", "U-x"])
    assert all(states_no_span(tag) for tag in ["B-", "B", "X-per", "o", "O-per", "b-per", "B_per", ""])
