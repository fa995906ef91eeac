"""From CTC's probabilities to labels: the best path, prefix beam search, and where each label was said."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from elman.errors import DataError, UsageError
from elman.heads.ctc import BLANK, check_labels, steps_needed

_NEVER = -math.inf


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    """Return what a path says: repeats merged, then blanks dropped.

    Example:
        >>> collapse([0, 3, 3, 0, 3, 5, 5])
        (3, 3, 5)
    """
    merged = [label for t, label in enumerate(path) if t == 0 or label != path[t - 1]]
    return tuple(label for label in merged if label != BLANK)


def greedy(logs: Tensor) -> tuple[int, ...]:
    """Return what the single most probable path of ln P (T, K + 1) says."""
    return collapse(logs.argmax(dim=1).tolist())


class NextLabel(Protocol):
    """A language model over labels, as beam search asks it."""

    def start(self) -> Any:
        """Return the state before the first label."""

    def after(self, state: Any, label: int) -> tuple[float, Any]:
        """Return ln P(label | labels before) and the state after it."""


@dataclass(frozen=True)
class Hypothesis:
    """One reading of a sequence.

    Args:
        labels: What it says.
        log_probability: ln of the sum over the paths that beam search kept.
        score: What it was ranked by; the same without a language model.
    """

    labels: tuple[int, ...]
    log_probability: float
    score: float


@dataclass
class _Prefix:
    """The paths that say the same so far: ln of their sum, ending in a blank or not, and what the rest adds."""

    blank: float = _NEVER
    label: float = _NEVER
    bonus: float = 0.0
    state: Any = None

    @property
    def total(self) -> float:
        return _add(self.blank, self.label)


@dataclass(frozen=True)
class PrefixBeam:
    """Beam search over what paths say, the paths of one reading summed:

        score(y) = ln P(y | x) + weight ln P_language(y) + bonus |y|

    Args:
        width: How many prefixes are kept at each step, at least 1; a width of all of them is exact.
        weight: Of the language model; has an effect with one only.
        bonus: For each label.
        language: A language model over labels; None for none.

    Raises:
        UsageError: a number outside its range, or a weight without a language model.

    Source: Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional
        recurrent DNNs", algorithm 1.
    """

    width: int = 16
    weight: float = 0.0
    bonus: float = 0.0
    language: NextLabel | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UsageError(f"beam: width must be at least 1; got {self.width}")
        if (self.weight != 0) != (self.language is not None):
            raise UsageError("beam: weight and language model have an effect together only; got one of them")

    def search(self, logs: Tensor, count: int = 1) -> list[Hypothesis]:
        """Return the `count` best readings of ln P (T, K + 1), best first; fewer where the beam holds fewer."""
        start = None if self.language is None else self.language.start()
        beam: dict[tuple[int, ...], _Prefix] = {(): _Prefix(blank=0.0, state=start)}
        for row in logs.double().tolist():
            grown = self._grow(beam, row)
            kept = sorted(grown, key=lambda prefix: grown[prefix].total + grown[prefix].bonus, reverse=True)
            beam = {prefix: grown[prefix] for prefix in kept[: self.width]}
        found = [Hypothesis(p, entry.total, entry.total + entry.bonus) for p, entry in beam.items()]
        return sorted(found, key=lambda hypothesis: -hypothesis.score)[:count]

    def _grow(self, beam: dict[tuple[int, ...], _Prefix], row: list[float]) -> dict[tuple[int, ...], _Prefix]:
        """One step of all prefixes: say nothing new, or one label more."""
        grown: dict[tuple[int, ...], _Prefix] = defaultdict(_Prefix)
        for prefix, entry in beam.items():
            same = grown[prefix]
            same.bonus, same.state = entry.bonus, entry.state
            same.blank = _add(same.blank, entry.total + row[BLANK])
            if prefix:
                same.label = _add(same.label, entry.label + row[prefix[-1]])
            for label in range(1, len(row)):
                # After the same label only a path that ended in a blank says it again.
                before = entry.blank if prefix and label == prefix[-1] else entry.total
                if before + row[label] == _NEVER:
                    continue
                longer = (*prefix, label)
                new = grown[longer]
                if new.total == _NEVER:
                    new.bonus, new.state = self._bonus(beam.get(longer), entry, label)
                new.label = _add(new.label, before + row[label])
        return grown

    def _bonus(self, known: _Prefix | None, entry: _Prefix, label: int) -> tuple[float, Any]:
        """What a prefix longer by a label adds to its score, and the language model's state after it."""
        if known is not None:
            return known.bonus, known.state
        if self.language is None:
            return entry.bonus + self.bonus, None
        log, state = self.language.after(entry.state, label)
        return entry.bonus + self.bonus + self.weight * log, state


def _add(a: float, b: float) -> float:
    """ln(exp(a) + exp(b))."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == _NEVER else high + math.log1p(math.exp(low - high))


def align(logs: Tensor, labels: Sequence[int]) -> list[tuple[int, int]]:
    """Return first step and step after the last of each label, on the most probable path that says them.

    Args:
        logs: ln P (T, K + 1).
        labels: From 1 to K.

    Raises:
        DataError: T steps are too few for these labels.
        ShapeError: a label is not from 1 to K.

    Source: the maximum in place of the sum in Graves et al. 2006, equation 6.
    """
    check_labels("align", labels, logs.shape[1] - 1, "labels[")
    steps, needed = logs.shape[0], steps_needed(labels)
    if needed > steps:
        raise DataError(f"align: {len(labels)} labels must have at least {needed} steps; got {steps}")
    symbols = torch.tensor([BLANK, *(symbol for label in labels for symbol in (label, BLANK))])  # (2 U + 1,)
    path = _best_places(logs.double(), symbols)
    spans = []
    for number in range(len(labels)):
        at = [t for t, place in enumerate(path) if place == 2 * number + 1]
        spans.append((at[0], at[-1] + 1))
    return spans


def _best_places(logs: Tensor, symbols: Tensor) -> list[int]:
    """The most probable way through symbols (S,), blanks between labels: which of them is said at each step."""
    scores = torch.full((len(symbols),), _NEVER, dtype=torch.float64)
    scores[:2] = logs[0, symbols[:2]]
    # A blank may be left out between two different labels.
    skips = torch.zeros(len(symbols), dtype=torch.bool)
    skips[2:] = (symbols[2:] != BLANK) & (symbols[2:] != symbols[:-2])
    origins = []
    for row in logs[1:]:
        one = torch.cat([scores.new_full((1,), _NEVER), scores[:-1]])
        two = torch.cat([scores.new_full((2,), _NEVER), scores[:-2]])[: len(symbols)]
        ways = torch.stack([scores, one, torch.where(skips, two, _NEVER)])  # (3, S)
        best, back = ways.max(dim=0)
        scores = best + row[symbols]
        origins.append(back)
    place = len(symbols) - 1
    if len(symbols) > 1 and scores[-2] > scores[-1]:
        place -= 1
    path = [place]
    for back in reversed(origins):
        place -= int(back[place])
        path.append(place)
    return path[::-1]
