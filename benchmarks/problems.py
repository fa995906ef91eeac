"""Four synthetic problems that ask for memory, arithmetic and counting: generators, losses, chance levels.

Every problem is a `Problem`: it draws batches from a generator, turns a model's outputs into a loss, and says what
counts as solved. The benchmark (`benchmarks/synthetic.py`) and the quick tests (`tests/test_learns.py`) share them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Inputs `x` (B, T, I), targets (B, T) classes or (B,) numbers, and `lengths` (B,) or None when all are T."""

    x: Tensor
    target: Tensor
    lengths: Tensor | None = None


@dataclass(frozen=True)
class Score:
    """What a model reached: `loss` in the problem's unit, `accuracy` (share of right answers; None for regression)."""

    loss: float
    accuracy: float | None


class Problem(ABC):
    """A task with a known chance level.

    Attributes:
        name: Name in tables and result files.
        input_size: I, numbers per step.
        output_size: Numbers per step that the model's read-out gives.
        criterion: What counts as solved, in words.
        chance: Loss of the best answer that remembers nothing (mean over scored items).
    """

    name: str
    input_size: int
    output_size: int
    criterion: str
    chance: float

    @abstractmethod
    def batch(self, count: int, generator: torch.Generator) -> Batch:
        """Return `count` fresh examples drawn from `generator`."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of `outputs` (B, T, output_size), a scalar to differentiate."""

    @abstractmethod
    def solved(self, score: Score) -> bool:
        """Return whether `score` meets `criterion`."""

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """Return loss and accuracy of `outputs` (B, T, output_size) on `batch`."""
        right = (outputs.argmax(-1) == batch.target)[batch.target != IGNORED]
        return Score(self.loss(outputs, batch).item(), right.float().mean().item())


def cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats over the positions whose target is not `IGNORED`."""
    return functional.cross_entropy(outputs.flatten(0, 1), target.flatten(), ignore_index=IGNORED)


@dataclass(frozen=True)
class Copy(Problem):
    """Remember 10 symbols of 8 kinds across `delay` blanks and write them out after a marker.

    The sequence has delay + 20 steps: symbols, blanks, marker, blanks; the target is blank until the last ten steps.
    Chance is 10 ln 8 / (delay + 20) nats per step: blanks are known, each symbol is one of eight.

    Source: Hochreiter and Schmidhuber 1997; in this form Arjovsky, Shah and Bengio 2016, section 4.1.
    """

    delay: int = 200
    symbols: int = 10
    name: str = field(default="copy", init=False)
    input_size: int = field(default=10, init=False)
    output_size: int = field(default=9, init=False)
    criterion: str = field(default="loss below a tenth of chance", init=False)

    @property
    def chance(self) -> float:  # type: ignore[override]
        """Nats per step of the best answer without memory."""
        return self.symbols * math.log(8) / (self.delay + 2 * self.symbols)

    def batch(self, count: int, generator: torch.Generator) -> Batch:
        """Return one-hot inputs (B, delay + 2 symbols, 10): kinds 0..7, blank 8, marker 9."""
        steps = self.delay + 2 * self.symbols
        kinds = torch.randint(0, 8, (count, self.symbols), generator=generator)
        tokens = torch.full((count, steps), 8)
        tokens[:, : self.symbols] = kinds
        tokens[:, steps - self.symbols - 1] = 9
        target = torch.full((count, steps), 8)
        target[:, -self.symbols :] = kinds
        return Batch(functional.one_hot(tokens, 10).float(), target)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over all steps in nats."""
        return cross_entropy(outputs, batch.target)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """Return the loss over all steps and the accuracy over the recalled symbols alone (chance 1/8)."""
        right = (outputs.argmax(-1) == batch.target)[:, -self.symbols :]
        return Score(self.loss(outputs, batch).item(), right.float().mean().item())

    def solved(self, score: Score) -> bool:
        """Return whether the loss is below a tenth of chance."""
        return score.loss < 0.1 * self.chance


@dataclass(frozen=True)
class Adding(Problem):
    """Add the two numbers that a second channel marks, one in each half of the sequence; the answer is read at the end.

    Numbers are uniform on [0, 1); answering 1 always has mean squared error 1/6 (the variance of the sum), 0.167.

    Source: Hochreiter and Schmidhuber 1997; in this form Le, Jaitly and Hinton 2015, section 4.1.
    """

    steps: int = 200
    name: str = field(default="adding", init=False)
    input_size: int = field(default=2, init=False)
    output_size: int = field(default=1, init=False)
    chance: float = field(default=1 / 6, init=False)
    criterion: str = field(default="mean squared error below 0.01", init=False)

    def batch(self, count: int, generator: torch.Generator) -> Batch:
        """Return inputs (B, steps, 2), number and mark, and the sums (B,)."""
        numbers = torch.rand(count, self.steps, generator=generator)
        half = self.steps // 2
        first = torch.randint(0, half, (count, 1), generator=generator)
        second = torch.randint(half, self.steps, (count, 1), generator=generator)
        marks = torch.zeros(count, self.steps).scatter_(1, torch.cat([first, second], 1), 1.0)
        return Batch(torch.stack([numbers, marks], -1), (numbers * marks).sum(1))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error of the last step's output."""
        return functional.mse_loss(outputs[:, -1, 0], batch.target)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """Return the mean squared error; accuracy does not apply."""
        return Score(self.loss(outputs, batch).item(), None)

    def solved(self, score: Score) -> bool:
        """Return whether the mean squared error is below 0.01."""
        return score.loss < 0.01


@dataclass(frozen=True)
class Parity(Problem):
    """Say at every step whether the number of ones so far is odd: one bit of state that every 1 must flip.

    Chance is ln 2 nats per step.
    """

    steps: int = 50
    name: str = field(default="parity", init=False)
    input_size: int = field(default=1, init=False)
    output_size: int = field(default=2, init=False)
    chance: float = field(default=math.log(2), init=False)
    criterion: str = field(default="99 % of the steps right", init=False)

    def batch(self, count: int, generator: torch.Generator) -> Batch:
        """Return bits as -1 and +1 (B, steps, 1) and the running parities (B, steps)."""
        bits = torch.randint(0, 2, (count, self.steps), generator=generator)
        return Batch(2.0 * bits.unsqueeze(-1) - 1.0, bits.cumsum(1) % 2)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over all steps in nats."""
        return cross_entropy(outputs, batch.target)

    def solved(self, score: Score) -> bool:
        """Return whether at least 99 % of the steps are right."""
        return score.accuracy is not None and score.accuracy >= 0.99


@dataclass(frozen=True)
class Counting(Problem):
    """Predict the next symbol of a^n b^n followed by an end mark, which needs a count; n is drawn from 1..largest.

    Scored are the steps whose successor is certain once the first b was read: the remaining b and the end mark.
    Input symbols are a, b (one-hot, I = 2); classes are a, b, end. Sequences are ragged: `lengths` = 2 n.

    Chance counts nothing and knows how many of the scored successors are b: one of n is the end mark, which costs the
    entropy of that share over the training distribution.

    Source: Gers and Schmidhuber 2001, "LSTM recurrent networks learn simple context-free and
        context-sensitive languages".
    """

    largest: int = 25
    name: str = field(default="anbn", init=False)
    input_size: int = field(default=2, init=False)
    output_size: int = field(default=3, init=False)
    criterion: str = field(default="every scored step right for every n up to the largest", init=False)

    @property
    def chance(self) -> float:  # type: ignore[override]
        """Nats per scored step of the best answer that ignores the count."""
        ends = 2 / (self.largest + 1)
        return -ends * math.log(ends) - (1 - ends) * math.log(1 - ends) if ends < 1 else 0.0

    def batch(self, count: int, generator: torch.Generator) -> Batch:
        """Return ragged inputs (B, 2 max n, 2), targets (B, 2 max n) with `IGNORED`, and lengths 2 n."""
        return self.words(torch.randint(1, self.largest + 1, (count,), generator=generator))

    def every(self, largest: int | None = None) -> Batch:
        """Return one example for each n from 1 to `largest` (by default the training range)."""
        return self.words(torch.arange(1, (largest or self.largest) + 1))

    def words(self, n: Tensor) -> Batch:
        """Return the words a^n b^n for the given `n` (B,)."""
        place = torch.arange(int(2 * n.max())).unsqueeze(0)
        half, whole = n.unsqueeze(1), 2 * n.unsqueeze(1)
        symbol = (place >= half).long()
        target = torch.full(symbol.shape, IGNORED)
        target[(place >= half) & (place < whole - 1)] = 1
        target[place == whole - 1] = 2
        x = functional.one_hot(symbol, 2).float() * (place < whole).unsqueeze(-1)
        return Batch(x, target, 2 * n)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over the scored steps in nats."""
        return cross_entropy(outputs, batch.target)

    def solved(self, score: Score) -> bool:
        """Return whether every scored step is right."""
        return score.accuracy == 1.0

    def counts_to(self, outputs: Tensor, batch: Batch) -> int:
        """Return the largest n such that every word up to it is right; `batch` is one of `every`."""
        right = ((outputs.argmax(-1) == batch.target) | (batch.target == IGNORED)).all(1)
        return int(right.long().cumprod(0).sum())


PROBLEMS: dict[str, Problem] = {problem.name: problem for problem in (Copy(), Adding(), Parity(), Counting())}
