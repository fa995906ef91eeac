"""The sampler of the engine: the same choice as the reference for the same number, and the right distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from elman.decoding import Choice, choose
from elman.plans.native import available
from elman.randomness import generator
from elman.runtime.stepper import Stepper, draws_of
from tests.runtime.models import model_of, stepper_of

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

CHOICES = [
    Choice(),
    Choice(0.3),
    Choice(5.0),
    Choice(1e-308),
    Choice(5e-324),
    Choice(top_k=1),
    Choice(top_k=50),
    Choice(top_k=10**6),
    Choice(top_p=5e-324),
    Choice(top_p=0.05),
    Choice(top_p=0.9),
    Choice(top_p=1.0),
    Choice(1.5, 40, 0.7),
    Choice(greedy=True),
]


def stepper(vocabulary: int) -> Stepper:
    return stepper_of(model_of("rnn", vocabulary, 2, 2, 1))


def chosen(stepper: Stepper, logits: np.ndarray, choice: Choice) -> np.ndarray:
    """The first token of each row of logits, with the numbers of as many samples."""
    streams = len(logits)
    tokens, _, _ = stepper.write(logits, stepper.initial_state(streams), 1, draws_of(0, streams), choice)
    return tokens[:, 0]


def uniforms(streams: int) -> torch.Tensor:
    draws = [generator(0, "sample", i) for i in range(streams)]
    return torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in draws])


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("vocabulary", [2, 31, 1500])
def test_every_choice_is_that_of_the_reference(vocabulary: int, choice: Choice) -> None:
    """Flat and peaked rows, rows with many equal logits, and tokens that cannot be drawn."""
    source = torch.Generator().manual_seed(vocabulary)
    scale = torch.rand(300, 1, generator=source) * 8
    logits = torch.randn(300, vocabulary, generator=source) * scale
    logits[::3] = logits[::3].round()
    logits[1::3, vocabulary // 2] = -torch.inf
    wanted = choose(logits, uniforms(300), choice)
    assert chosen(stepper(vocabulary), logits.numpy(), choice).tolist() == wanted.tolist()


def probability(logits: np.ndarray, choice: Choice) -> np.ndarray:
    """The distribution by its definition."""
    p = np.exp(logits.astype(np.float64) / choice.temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    keep = np.arange(len(p)) < (choice.top_k or len(p))
    kept = np.where(keep, p[order], 0.0)
    kept[np.cumsum(kept) - kept >= (choice.top_p or 2.0)] = 0.0
    p[order] = kept / kept.sum()
    return p


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Of a chi-square test; tokens of which fewer than 10 are expected stand together."""
    assert counts[expected == 0].sum() == 0
    rare = expected < 10
    seen = np.append(counts[~rare], counts[rare].sum())
    wanted = np.append(expected[~rare], expected[rare].sum())
    return float(chisquare(seen[wanted > 0], wanted[wanted > 0]).pvalue)


STREAMS, ROUNDS = 200, 200
DRAWN = STREAMS * ROUNDS
ALPHA = 1e-5
"""A right sampler fails one test in 100,000; the seeds are fixed."""


def counted(logits: np.ndarray, choice: Choice) -> np.ndarray:
    """How often each token is drawn from a row of logits."""
    vocabulary = len(logits)
    own, rows, draws = stepper(vocabulary), np.tile(logits, (STREAMS, 1)), draws_of(7, STREAMS)
    state = own.initial_state(STREAMS)
    tokens = [own.write(rows, state, 1, draws, choice)[0] for _ in range(ROUNDS)]
    return np.bincount(np.concatenate(tokens, axis=None), minlength=vocabulary)


@pytest.mark.parametrize("choice", [Choice(), Choice(0.6), Choice(1.4, top_k=9), Choice(top_p=0.8)], ids=str)
@pytest.mark.parametrize("vocabulary", [12, 400])
def test_draws_follow_the_distribution(vocabulary: int, choice: Choice) -> None:
    logits = np.random.Generator(np.random.PCG64(vocabulary)).normal(0, 1.5, vocabulary).astype(np.float32)
    assert p_value(counted(logits, choice), DRAWN * probability(logits, choice)) > ALPHA


def test_a_wrong_distribution_is_seen() -> None:
    logits = np.random.Generator(np.random.PCG64(12)).normal(0, 1.5, 12).astype(np.float32)
    assert p_value(counted(logits, Choice(1.05)), DRAWN * probability(logits, Choice())) < ALPHA
