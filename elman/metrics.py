"""Metrics, each with its definition."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from elman.codecs.spans import Span
from elman.errors import MissingExtraError

RISING = frozenset({"accuracy", "macro_f1", "span_f1", "mcc", "auroc", "auprc", "bleu", "chrf", "exact_match"})
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

    def mcc(self) -> float:
        """Return Matthews' correlation coefficient, from -1 to 1; 0 where only one class was true or answered.

            (c s - sum over k of p_k t_k) / sqrt((s^2 - sum of p_k^2) (s^2 - sum of t_k^2))

        with c right of s answers, class k answered p_k times and true t_k times.

        Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
        """
        ratios = self.ratios().values()
        total = sum(r.wanted for r in ratios)
        said = total**2 - sum(r.found**2 for r in ratios)
        true = total**2 - sum(r.wanted**2 for r in ratios)
        covariance = total * sum(r.right for r in ratios) - sum(r.found * r.wanted for r in ratios)
        return covariance / math.sqrt(said * true) if said and true else 0.0


Numbers = npt.NDArray[np.float64]


def auroc(scores: Numbers, positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the probability that a positive scores above a negative, ties half.

    Args:
        scores: (N,).
        positive: (N,), which of them are.

    Returns:
        From 0 to 1; NaN where there is no positive or no negative.
    """
    ones = int(positive.sum())
    pairs = ones * (len(scores) - ones)
    if not pairs:
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # from 1, the mean rank where scores are equal
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / pairs)


def auprc(scores: Numbers, positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the curve of precision over recall, as average precision.

        sum over thresholds n, from the highest score on, of (recall_n - recall_{n-1}) precision_n

    Args:
        scores: (N,); equal ones are one threshold.
        positive: (N,), which of them are.

    Returns:
        From 0 to 1; NaN where there is no positive.
    """
    if not positive.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # the last of each group of equal scores
    right = np.cumsum(positive[order])[last]
    precision = right / (np.flatnonzero(last) + 1)
    return float((np.diff(right, prepend=0) / positive.sum()) @ precision)


def areas(probabilities: Numbers, classes: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return "auroc" and "auprc": of class 1 against class 0, of more classes the mean of each against the rest.

    Args:
        probabilities: (N, K), K at least 2.
        classes: (N,), the true ones.

    Returns:
        The mean leaves out classes that are true never or always, for which there is no area; NaN where no class is
        left.
    """
    every = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    met = [k for k in every if 0 < (classes == k).sum() < len(classes)]
    found = {
        "auroc": [auroc(probabilities[:, k], classes == k) for k in met],
        "auprc": [auprc(probabilities[:, k], classes == k) for k in met],
    }
    return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}


def mae(found: Numbers, wanted: Numbers) -> float:
    """Return the mean absolute error, sum |y - y^| / N, in the unit of the values; each array has shape (N,)."""
    return float(np.abs(wanted - found).mean())


def rmse(found: Numbers, wanted: Numbers) -> float:
    """Return the root of the mean squared error, sqrt(sum (y - y^)^2 / N), in the unit of the values (N,)."""
    return float(np.sqrt(np.square(wanted - found).mean()))


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


def character_error_rate(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return (substitutions + deletions + insertions) / characters wanted, over all texts together.

    Blanks at the ends of a text are no characters of it, as jiwer counts.

    Args:
        found: Texts that were answered.
        wanted: True texts, none empty, in the same order.

    Raises:
        MissingExtraError: jiwer is not installed.
    """
    return float(_jiwer().cer(list(wanted), list(found)))


def word_error_rate(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return (substitutions + deletions + insertions) / words wanted, over all texts together; see above."""
    return float(_jiwer().wer(list(wanted), list(found)))


def _jiwer() -> Any:
    try:
        import jiwer
    except ImportError as error:
        raise MissingExtraError(
            "audio: jiwer must be installed to measure transcripts; got none", "pip install 'elman[audio]'"
        ) from error
    return jiwer


def bleu(found: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return corpus BLEU from 0 to 100: the geometric mean of n-gram precisions, n = 1..4, times the brevity penalty.

    Args:
        found: Texts that were written.
        references: One or more true texts of each, in the same order.

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Source: Papineni et al. 2002; as sacrebleu computes it (tokenisation 13a, exponential smoothing), Post 2018.
    """
    most = max(map(len, references))
    columns: list[Any] = [[row[n] if n < len(row) else None for row in references] for n in range(most)]
    return float(_sacrebleu().corpus_bleu(list(found), columns).score)


def chrf(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return chrF from 0 to 100: F2 of n-grams of characters, n = 1..6, over all texts together.

    Args:
        found: Texts that were written.
        wanted: True texts, in the same order.

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Source: Popovic 2015, "chrF: character n-gram F-score for automatic MT evaluation"; as sacrebleu computes it.
    """
    return float(_sacrebleu().corpus_chrf(list(found), [list(wanted)]).score)


def bleu_signature() -> str:
    """Return sacrebleu's signature of `bleu`, which tells all that another BLEU would have to agree in."""
    metric = _sacrebleu().BLEU()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError as error:
        raise MissingExtraError(
            "bleu: sacrebleu must be installed; got none", "pip install 'elman[translation]'"
        ) from error
    return sacrebleu
