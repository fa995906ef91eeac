"""A language model in use: texts that it writes, and how probable it finds texts; the same with torch and without."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from elman.codecs.text import TextCodec
from elman.errors import UsageError, check_several
from elman.metrics import perplexity
from elman.sampling import Choice

Tokens = Sequence[int]


class Steps(Protocol):
    """What runs a model over tokens."""

    def generate(
        self,
        prompt: Tokens,
        length: int,
        *,
        samples: int = 1,
        seed: int = 0,
        choice: Choice | None = None,
        finished: Callable[[list[int]], bool] | None = None,
        never: int | None = None,
    ) -> list[list[int]]:
        """Write tokens after a prompt; see elman.runtime.stepper.Stepper.generate."""

    def following(self, sequences: Sequence[Tokens]) -> list[list[float]]:
        """Return for each sequence ln P of every token but its first after those before it."""


@dataclass(frozen=True)
class ScoredSentence:
    """A sentence and its probability.

    Args:
        text: The sentence.
        steps: Each token with P(y<t> | y<1..t-1>).
        unknown: How many tokens are not in the vocabulary.
    """

    text: str
    steps: list[tuple[str, float]]
    unknown: int
    log_probability: float

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.steps)

    @property
    def perplexity(self) -> float:
        """Perplexity of the sentence's tokens."""
        return perplexity(-self.log_probability, max(self.tokens, 1))


class TextModel(ABC):
    """Tokens of a codec and what runs a model over them.

    Args:
        codec: Text to tokens and back.
    """

    def __init__(self, codec: TextCodec) -> None:
        self.codec = codec

    @abstractmethod
    def steps(self, precision: str = "float32") -> Steps:
        """Return what runs the model with weights of a precision."""

    @property
    def start(self) -> int:
        """The token before the first: the end of a line, or the unknown token where no line ended in training."""
        if self.codec.end is not None:
            return self.codec.end
        return int(self.codec.encode("\n")[0])

    def _known(self, text: str, where: str) -> list[int]:
        ids = [int(i) for i in self.codec.encode(text)]
        if self.codec.unknown is not None and self.codec.unknown in ids:
            pieces = text if self.codec.level == "character" else text.split()
            bad = sorted({p for p in pieces if int(self.codec.encode(p)[0]) == self.codec.unknown})
            raise UsageError(
                f"{where}: must use the vocabulary of the model; it does not have {', '.join(map(repr, bad[:5]))}"
            )
        return ids

    def sample(
        self,
        *,
        length: int = 500,
        samples: int = 1,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        stop: tuple[str, ...] = (),
        seed: int = 0,
        precision: str = "float32",
    ) -> list[str]:
        """Write texts; each chosen token is the next input.

        Args:
            length: Most tokens to write.
            samples: How many texts; text i depends on `seed` and i only.
            prompt: Text to go on from; without it, the start of a line.
            temperature, top_k, top_p, greedy: See elman.sampling.Choice.
            stop: A text ends before the first of these strings.
            seed: Seed of the draws.
            precision: Of the weights: "float32", "bf16" or "int8"; see `precision_loss`.

        The token that stands for unknown text is never written: its probability is shared out among the others.

        Returns:
            The texts, each beginning with the prompt.

        Raises:
            UsageError: the prompt has characters or words that the model does not know, or an option does not fit.
        """
        check_several("stop", stop)
        if any(not s for s in stop):
            raise UsageError("stop: must not be an empty string")
        choice = Choice(temperature, top_k, top_p, greedy)
        ids = [self.start, *self._known(prompt, "prompt")]

        def finished(tokens: list[int]) -> bool:
            # A stop string is at most as many tokens as characters; looking at the tail keeps this linear.
            tail = self.codec.decode(tokens[-max(map(len, stop)) - 8 :])
            return any(s in tail for s in stop)

        written = self.steps(precision).generate(
            ids,
            length,
            samples=samples,
            seed=seed,
            choice=choice,
            finished=finished if stop else None,
            never=self.codec.unknown,
        )
        return [self._text(prompt, ids[1:], tokens, stop) for tokens in written]

    def _text(self, prompt: str, ids: list[int], tokens: list[int], stop: tuple[str, ...]) -> str:
        whole = self.codec.decode([*ids, *tokens])
        head = self.codec.decode(ids) if ids else ""
        new = whole.removeprefix(head)
        cuts = [new.find(s) for s in stop if s in new]
        return prompt + (new[: min(cuts)] if cuts else new)

    def score(self, sentences: Sequence[str], precision: str = "float32") -> list[ScoredSentence]:
        """Return the probability of sentences, each as if at the start of a line, without the end of the line.

            ln P(sentence) = sum over t of ln P(y<t> | y<1..t-1>)

        The first token is conditioned on the end of a line, read from the initial state, and on nothing else.

        Raises:
            UsageError: one sentence is given in place of a list.
        """
        check_several("sentences", sentences)
        ids = [[int(i) for i in self.codec.encode(sentence)] for sentence in sentences]
        logs = self.steps(precision).following([[self.start, *own] for own in ids])
        return [self._scored(*item) for item in zip(sentences, ids, logs, strict=True)]

    def _scored(self, sentence: str, ids: list[int], logs: list[float]) -> ScoredSentence:
        unknown = 0 if self.codec.unknown is None else ids.count(self.codec.unknown)
        names = [self.codec.tokens[i] if self.codec.level != "subword" else self.codec.decode([i]) for i in ids]
        steps = [(name, math.exp(log)) for name, log in zip(names, logs, strict=True)]
        return ScoredSentence(sentence, steps, unknown, math.fsum(logs))

    def precision_loss(self, precision: str, sentences: Sequence[str] | None = None) -> PrecisionLoss:
        """Measure what weights of a precision lose against float32.

        Args:
            precision: "bf16" or "int8".
            sentences: Texts to measure on, each read from the start of a line; None for 16 texts of 64 tokens that
                the model writes in float32, where the loss is an estimate of the Kullback-Leibler divergence.

        Raises:
            UsageError: an unknown precision, or one sentence in place of a list.
        """
        check_several("sentences", sentences)
        exact, narrow = self.steps(), self.steps(precision)
        if sentences is None:
            own = exact.generate([self.start], 64, samples=16, seed=0, never=self.codec.unknown)
        else:
            own = [[int(i) for i in self.codec.encode(sentence)] for sentence in sentences]
        sequences = [[self.start, *ids] for ids in own if ids]
        before, after = (np.concatenate([[], *steps.following(sequences)]) for steps in (exact, narrow))
        return PrecisionLoss.of(precision, before - after)


@dataclass(frozen=True)
class PrecisionLoss:
    """What a precision costs a model, measured.

    Args:
        precision: Of the weights.
        nats: Mean over tokens of ln P in float32 - ln P with these weights.
        standard_error: Of the mean.
        tokens: How many tokens it was measured on.
    """

    precision: str
    nats: float
    standard_error: float
    tokens: int

    @classmethod
    def of(cls, precision: str, losses: npt.NDArray[np.float64]) -> PrecisionLoss:
        """Return the mean of what each token lost.

        Raises:
            UsageError: there is no token.
        """
        if not len(losses):
            raise UsageError("precision: its loss must be measured on at least 1 token; got none")
        error = float(losses.std() / math.sqrt(len(losses)))
        return cls(precision, float(losses.mean()), error, len(losses))

    def check(self, bound: float) -> None:
        """Refuse a loss of more than `bound` nats per token.

        Raises:
            UsageError: it is more.
        """
        if not self.nats <= bound:
            raise UsageError(
                f"precision: {self.precision} must lose at most {bound:g} nats per token against float32; "
                f"it loses {self.nats:.4g} on {self.tokens:,} tokens",
                "use a finer precision, or allow more with --loss-bound",
            )

    def __str__(self) -> str:
        return (
            f"{self.precision}: loses {self.nats:.4f} ± {self.standard_error:.4f} nats per token against float32, "
            f"measured on {self.tokens:,} tokens"
        )
