"""Metrics, each with its definition."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from elman.codecs.spans import Span

RISING = frozenset({"accuracy", "macro_f1", "span_f1"})
"""Metrics of which more is better."""


def perplexity(nats: float, tokens: int) -> float:
    """Return exp(nats / tokens): how many equally probable tokens would be as surprising.

    Args:
        nats: Sum of -ln P(y<t> | y<1..t-1>) over the tokens.
        tokens: How many tokens, at least 1.

    Returns:
        From 1 on; infinity where the exponential overflows.
    """
    mean = nats / tokens
    return math.exp(mean) if mean < 709 else math.inf


def bits_per_character(nats: float, characters: int) -> float:
    """Return nats / (characters ln 2): bits needed for each character of the text.

    Args:
        nats: Sum of -ln P over the tokens of the text.
        characters: How many characters those tokens stand for, at least 1.
    """
    return nats / (characters * math.log(2))


def accuracy(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the share of answers that are right.

    Args:
        found: What was answered, at least one.
        wanted: What is true, in the same order.
    """
    return sum(a == b for a, b in zip(found, wanted, strict=True)) / len(wanted)


@dataclass(frozen=True)
class Ratios:
    """How well one class, or all, was found.

        precision = right / found        recall = right / wanted        F1 = 2 right / (found + wanted)

    Args:
        right: How often it was answered where it was true.
        found: How often it was answered.
        wanted: How often it was true.

    A ratio of nothing is 0.
    """

    right: int
    found: int
    wanted: int

    @property
    def precision(self) -> float:
        """Share of the answers that are right."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the true ones that were answered."""
        return self.right / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.found + self.wanted
        return 2 * self.right / total if total else 0.0


@dataclass(frozen=True)
class Confusion:
    """Which class was answered for which.

    Args:
        names: K classes.
        counts: counts[i][j]: how often class i was true and class j answered.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, found: Sequence[str], wanted: Sequence[str], names: Sequence[str]) -> Confusion:
        """Count answers `found` against the truth `wanted`, both among `names`."""
        pairs = Counter(zip(wanted, found, strict=True))
        return cls(tuple(names), tuple(tuple(pairs[true, said] for said in names) for true in names))

    def ratios(self) -> dict[str, Ratios]:
        """Return how well each class was found."""
        columns = [sum(column) for column in zip(*self.counts, strict=True)]
        return {
            name: Ratios(row[n], columns[n], sum(row))
            for n, (name, row) in enumerate(zip(self.names, self.counts, strict=True))
        }

    def macro_f1(self) -> float:
        """Return the mean F1 over the classes that were true or answered at least once."""
        met = [ratios.f1 for ratios in self.ratios().values() if ratios.found + ratios.wanted]
        return sum(met) / len(met) if met else 0.0


def span_ratios(found: Sequence[Sequence[Span]], wanted: Sequence[Sequence[Span]]) -> dict[str, Ratios]:
    """Return how well spans of each kind were found, and of all kinds together under "".

    A span is right if begin, end and kind are.

    Args:
        found: Spans of each sentence that were answered.
        wanted: True spans of each sentence, in the same order.

    Source: Tjong Kim Sang and De Meulder 2003, section 2.4; the numbers of the conlleval script.
    """
    right, answers, truths = Counter[str](), Counter[str](), Counter[str]()
    for said, true in zip(found, wanted, strict=True):
        right.update(span.kind for span in set(said) & set(true))
        answers.update(span.kind for span in said)
        truths.update(span.kind for span in true)
    kinds = {kind: Ratios(right[kind], answers[kind], truths[kind]) for kind in sorted({*answers, *truths})}
    return {"": Ratios(right.total(), answers.total(), truths.total()), **kinds}
