"""Spans of words (entities, chunks) as a tag for each word: BIO and BIOES, and what may follow what.

BIO    B-x begins a span of kind x, I-x goes on with it, O is outside
BIOES  also E-x ends a span of several words, S-x is a span of one
BILOU  read as BIOES, with L for E and U for S
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from elman.errors import UsageError

SCHEMES = ("bio", "bioes")


class Span(NamedTuple):
    """Words begin ... end - 1, of a kind."""

    begin: int
    end: int
    kind: str


def are_spans(tags: Iterable[str]) -> bool:
    """Return whether tags state spans: each is O or a letter of B I E S, a hyphen and a kind; not all are O."""
    found = set(tags)
    return found != {"O"} and all(tag == "O" or (tag[:2] in ("B-", "I-", "E-", "S-") and len(tag) > 2) for tag in found)


def mean_spans(tags: Iterable[str]) -> bool:
    """Return whether tags are meant to state spans.

    They do, those of BILOU among them, where every span may have one word; or O and a B-x or I-x are among others that
    do not.
    """
    found = set(tags)
    begun = any(tag[:2] in ("B-", "I-") and len(tag) > 2 for tag in found)
    return are_spans(found) or ("O" in found and found != {"O"} and (begun or not any(map(states_no_span, found))))


def states_no_span(tag: str) -> bool:
    """Return whether a tag is neither O nor a letter of B I E S L U, a hyphen and a kind."""
    return tag != "O" and (tag[:1] not in tuple("BIESLU") or tag[1:2] != "-" or len(tag) < 3)


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the spans that tags state, as the conlleval script reads them.

    A span begins at B or S, at I or E after O, after the end of a span or after another kind; it ends after E or S,
    and before O, B, S or another kind. So the old IOB1 tags read right too. L is read as E, U as S.

    Example:
        >>> spans_of(["B-per", "I-per", "O", "I-loc", "B-loc"])
        [Span(begin=0, end=2, kind='per'), Span(begin=3, end=4, kind='loc'), Span(begin=4, end=5, kind='loc')]

    Source: Tjong Kim Sang and Buchholz 2000, the script of the CoNLL-2000 shared task.
    """
    found: list[Span] = []
    begin: int | None = None
    before, kind = "O", ""
    for n, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if begin is not None and (mark in "OBSU" or before in "ESLU" or name != kind):
            found.append(Span(begin, n, kind))
            begin = None
        if begin is None and mark != "O":
            begin = n
        before, kind = mark, name
    return found


def tags_of(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence of `length` words with these spans, which must not overlap.

    Raises:
        UsageError: an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"scheme: must be one of {', '.join(SCHEMES)}; got {scheme!r}")
    tags = ["O"] * length
    for begin, end, kind in spans:
        marks = ["B", *"I" * (end - begin - 1)]
        if scheme == "bioes":
            marks[-1] = "S" if len(marks) == 1 else "E"
        tags[begin:end] = [f"{mark}-{kind}" for mark in marks]
    return tags


def allowed_transitions(tags: Sequence[str], scheme: str) -> Tensor:
    """Return which tag may follow which, (K + 2, K + 2) of bool, for CrfHead.

    Row and column K stand for the start, K + 1 for the end of a sentence.

    Args:
        tags: The K tags in order.
        scheme: "bio" or "bioes".
    """
    marks = [*tags, "start", "end"]
    size = len(marks)
    return torch.tensor([[_may_follow(a, b, scheme) for b in marks] for a in marks]).reshape(size, size)


def _may_follow(a: str, b: str, scheme: str) -> bool:
    if b == "start" or a == "end" or (a == "start" and b == "end"):
        return False
    (mark, _, kind), (next_mark, _, next_kind) = a.partition("-"), b.partition("-")
    if scheme == "bio":
        return next_mark != "I" or (mark in ("B", "I") and kind == next_kind)
    inside = mark in ("B", "I")  # a span is open after these, and must go on
    return inside == (next_mark in ("I", "E")) and (not inside or kind == next_kind)
