"""Beam search: the most probable whole sequences, over any step function, for many beginnings at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from elman.errors import DivergedError, UsageError, nearest

NORMALISATIONS = ("none", "length", "gnmt")


class Selectable(Protocol):
    """A state with one row for each sequence that is being written."""

    def select(self, rows: Tensor) -> Any:
        """Return the state with the given rows, in that order."""


S = TypeVar("S", bound=Selectable)


class NextToken(Protocol[S]):
    """What is searched: the logits of the next token."""

    def __call__(self, tokens: Tensor, state: S) -> tuple[Tensor, S]:
        """Return logits (N, V) after tokens (N,), and the state after them."""


@dataclass(frozen=True)
class Hypothesis:
    """A whole sequence.

    Args:
        tokens: Without the token that ends it.
        log_probability: ln P(tokens, end).
        score: What it is ranked by: the log probability, normalised.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float


@dataclass(frozen=True)
class Beam:
    """How sequences are searched for: `width` of them at once, ranked at the end by

        score = ln P / n(length)        none: n = 1;  length: n = length^alpha;  gnmt: n = ((5 + length) / 6)^alpha

    where the token that ends a sequence counts in its length.

    At each step every unfinished sequence grows by every token, and the most probable are kept: `width` less the
    finished ones. A sequence that ends is finished and keeps its place, so that a width of 1 is greedy search. After
    `longest` tokens only the end can follow.

    Args:
        width: At least 1.
        normalisation: "none", "length" or "gnmt".
        alpha: Its exponent, from 0 up; has an effect with a normalisation only.
        longest: Most tokens of a sequence, at least 0.

    Raises:
        UsageError: a value outside its range, or one without effect.

    Source: Sutskever et al. 2014, section 3.2; gnmt, Wu et al. 2016, equation 14.
    """

    width: int = 5
    normalisation: str = "length"
    alpha: float = 1.0
    longest: int = 100

    def __post_init__(self) -> None:
        if self.width < 1 or self.longest < 0 or not 0 <= self.alpha < float("inf"):
            raise UsageError(
                f"beam: width must be at least 1, longest and alpha at least 0; got {self.width}, {self.longest} and "
                f"{self.alpha}"
            )
        if self.normalisation not in NORMALISATIONS:
            raise UsageError(
                f"normalisation: must be one of {', '.join(NORMALISATIONS)}; "
                f"got {self.normalisation!r}{nearest(self.normalisation, NORMALISATIONS)}"
            )

    def score(self, log_probability: float, length: int) -> float:
        """Return the score of a sequence of `length` tokens, its end counted."""
        if self.normalisation == "none":
            return log_probability
        count = float(length) if self.normalisation == "length" else (5 + length) / 6
        return log_probability / math.pow(count, self.alpha)


def search(step: NextToken[S], state: S, rows: int, boundary: int, beam: Beam) -> list[list[Hypothesis]]:
    """Return the hypotheses of each beginning, best first: `width`, or fewer where fewer sequences exist.

    What is found for one beginning does not depend on which others are searched with it.

    Args:
        step: What is searched.
        state: Before the first token, for B beginnings.
        rows: B, at least 1.
        boundary: The token that begins a sequence, and that ends it.
        beam: How.

    Raises:
        DivergedError: a logit is not a number, or the largest of a row is infinite.
    """
    searching = _Searching(rows, boundary, beam)
    logits, state = step(searching.last_tokens(), state)
    while len(origins := searching.grow(logits)):
        logits, state = step(searching.last_tokens(), state.select(origins))
    return [sorted(found, key=lambda hypothesis: -hypothesis.score) for found in searching.finished]


class _Searching:
    """What was written so far of the S beginnings that are not done, K rows for each.

    Args:
        rows, boundary, beam: As of `search`.
    """

    def __init__(self, rows: int, boundary: int, beam: Beam) -> None:
        self.boundary, self.beam = boundary, beam
        self.finished: list[list[Hypothesis]] = [[] for _ in range(rows)]
        self.sequences = list(range(rows))
        self.written = torch.zeros(rows, 1, 0, dtype=torch.int64)  # (S, K, T); K is 1 before the first token
        self.logs = torch.zeros(rows, 1, dtype=torch.float64)  # (S, K), -inf in rows that hold nothing

    def last_tokens(self) -> Tensor:
        """Return (S K,), what each row wrote last."""
        if self.written.shape[2] == 0:
            return torch.full((len(self.sequences),), self.boundary)
        return self.written[:, :, -1].flatten()

    def grow(self, logits: Tensor) -> Tensor:
        """Take the logits (S K, V) of the next token; return which old row each of the new ones goes on from."""
        best, origins, tokens = self._best(self._totals(logits.detach()))
        ends = (tokens == self.boundary) & (best > -torch.inf)
        for s, k in ends.nonzero().tolist():
            self._finish(s, int(origins[s, k]), float(best[s, k]))
        self.logs = best.masked_fill(ends, -torch.inf)
        kept = (self.logs > -torch.inf).any(dim=1).nonzero().flatten()  # (S',)
        rows = (kept.unsqueeze(1) * self.written.shape[1] + origins[kept]).flatten()  # (S' K',)
        longer = torch.cat([self.written.flatten(0, 1)[rows], tokens[kept].flatten().unsqueeze(1)], dim=1)
        self.written = longer.view(len(kept), self.beam.width, longer.shape[1])  # (S', K', T + 1)
        self.logs, self.sequences = self.logs[kept], [self.sequences[s] for s in kept.tolist()]
        return rows.to(logits.device)

    def _totals(self, logits: Tensor) -> Tensor:
        """ln P of every row followed by every token: (S, K V)."""
        if not logits.amax(dim=1).isfinite().all():  # NaN where any is
            raise DivergedError(
                f"search: logits must be numbers; got NaN or infinity after {self.written.shape[2]} tokens",
                "the model has diverged; train it again with a lower learning rate",
            )
        logs = torch.log_softmax(logits.float() if logits.element_size() < 4 else logits, dim=1).cpu().double()
        if self.written.shape[2] == self.beam.longest:
            logs[:, torch.arange(logs.shape[1]) != self.boundary] = -torch.inf
        return (self.logs.flatten().unsqueeze(1) + logs).view(len(self.sequences), -1)

    def _best(self, totals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The most probable of totals (S, K V): ln P, the row that each goes on from, its token; all (S, K')."""
        width = self.beam.width
        missing = max(width - totals.shape[1], 0)
        totals = torch.nn.functional.pad(totals, (0, missing), value=-torch.inf)
        best, places = totals.topk(width, dim=1)
        room = torch.tensor([width - len(self.finished[number]) for number in self.sequences])
        best = best.masked_fill(torch.arange(width) >= room.unsqueeze(1), -torch.inf)
        rows = self.written.shape[1]
        size = (totals.shape[1] - missing) // rows
        places = places.clamp(max=rows * size - 1)
        return best, places // size, places % size

    def _finish(self, s: int, row: int, log_probability: float) -> None:
        tokens = tuple(self.written[s, row].tolist())
        score = self.beam.score(log_probability, len(tokens) + 1)
        self.finished[self.sequences[s]].append(Hypothesis(tokens, log_probability, score))
