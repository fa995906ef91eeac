"""The autoregressive head against enumeration of all answers, and against its factors one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from elman.errors import ShapeError, UsageError
from elman.heads import IGNORED, AutoregressiveBinaryHead, BinaryHead

K, M = 5, 7


def made(seed: int = 0) -> AutoregressiveBinaryHead:
    head = AutoregressiveBinaryHead(3, K, units=M, seed=seed).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return head


def all_answers() -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=K)), dtype=torch.float64)  # (2^K, K)


def total_probability(head: AutoregressiveBinaryHead, scores: torch.Tensor) -> float:
    answers = all_answers()
    return float(torch.exp(-head.steps(scores.expand(len(answers), -1), answers)).sum().detach())


def test_probabilities_of_all_answers_sum_to_one():
    head = made()
    scores = head(torch.randn(1, 3, dtype=torch.float64))
    assert total_probability(head, scores) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("mask", ["reads", "reaches", "before"])
def test_a_mask_that_lets_a_label_see_itself_would_be_found(mask):
    head = made()
    getattr(head, mask).fill_(True)
    scores = head(torch.randn(1, 3, dtype=torch.float64))
    assert abs(total_probability(head, scores) - 1.0) > 1e-6


def test_every_label_but_the_first_hears_of_those_before_it():
    head = made()
    scores = head(torch.randn(3, dtype=torch.float64))
    seen = torch.autograd.functional.jacobian(lambda y: head.logits(scores, y), torch.rand(K, dtype=torch.float64))
    assert torch.equal(seen != 0, torch.ones(K, K).tril(-1).bool())


@pytest.mark.parametrize(("labels", "units"), [(2, 1), (5, 4), (5, 7), (88, 256)])
def test_every_unit_reads_some_labels_and_reaches_all_that_come_after_them(labels, units):
    head = AutoregressiveBinaryHead(3, labels, units=units)
    degrees = head.reads.sum(1)
    assert torch.equal(degrees.unique(), torch.arange(1, labels)), "every degree from 1 to K - 1 has a unit"
    assert torch.equal(head.reaches.sum(0), labels - degrees)
    assert not head.S.any()


def test_loss_is_the_sum_of_factors_by_a_loop():
    head = made()
    a, y = torch.randn(2, 4, 3, dtype=torch.float64), torch.randint(0, 2, (2, 4, K))
    lengths = torch.tensor([4, 2])
    scores = head(a).detach()
    scores[1, 2:] = torch.nan
    total = 0.0
    for row, t in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]:
        for k in range(K):
            known = y[row, t].double()
            known[k:] = 0.5  # what is not known yet must not matter
            z = float(head.logits(scores[row, t], known)[k].detach())
            total += math.log1p(math.exp(-z if y[row, t, k] else z))
    loss = head.loss(scores, y, lengths)
    assert loss.items == 6
    assert float(loss.nats.detach()) == pytest.approx(total, rel=1e-12)
    assert float(loss.mean.detach()) == pytest.approx(total / 6, rel=1e-12)


def test_draws_have_the_probabilities_of_the_loss():
    head, count = made(), 20_000
    scores = head(torch.randn(1, 3, dtype=torch.float64))
    uniforms = torch.rand(count, K, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = head.draw(scores.expand(count, -1), uniforms)
    number = (drawn * 2 ** torch.arange(K - 1, -1, -1)).sum(dim=1).long()
    shares = torch.bincount(number, minlength=2**K) / count
    wanted = torch.exp(-head.steps(scores.expand(2**K, -1), all_answers())).detach()
    assert float((shares - wanted).abs().max()) < 5 * 0.5 / count**0.5


def test_a_draw_is_one_of_each_factor_at_its_temperature():
    head, count = made(), 200
    scores = head(torch.randn(1, 3, dtype=torch.float64)).expand(count, -1)
    uniforms = torch.rand(count, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for temperature in (0.5, 1.0, 4.0):
        drawn = head.draw(scores, uniforms, temperature)
        assert torch.equal(drawn.bool(), uniforms < torch.sigmoid(head.logits(scores, drawn) / temperature))


def test_independent_labels_draw_against_their_own_probability():
    scores = torch.tensor([[0.0, 2.0, -2.0]])
    p = 1 / (1 + math.exp(-1.0))
    drawn = BinaryHead(3, 3).draw(scores, torch.tensor([[0.49, p + 0.01, 1 - p - 0.01]]), temperature=2.0)
    assert drawn.tolist() == [[1.0, 0.0, 1.0]]


def test_it_learns_what_independent_labels_cannot():
    """Exactly one of K labels holds: ln K nats; independent ones need K H(1 / K)."""
    y = torch.eye(K).repeat(4, 1)
    a = torch.ones(len(y), 1)
    head = AutoregressiveBinaryHead(1, K, units=16)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(head(a), y).mean.backward()
        optimizer.step()
    independent = -math.log(1 / K) - (K - 1) * math.log(1 - 1 / K)
    assert float(head.loss(head(a), y).mean.detach()) < math.log(K) + 0.02 < independent


def test_refusals():
    with pytest.raises(UsageError, match="labels must be a whole number of at least 2"):
        AutoregressiveBinaryHead(3, 1)
    with pytest.raises(ShapeError, match=r"targets must have shape \(2, 5\); got \(2, 4\)"):
        made().loss(torch.zeros(2, K + M, dtype=torch.float64), torch.zeros(2, 4))


def test_every_label_must_be_known():
    head, targets = made(), torch.ones(1, 2, K)
    targets[0, 1, 3] = IGNORED
    scores = head(torch.randn(1, 2, 3, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r"targets must be 0 or 1; got -100 at targets\[0, 1, 3\]"):
        head.loss(scores, targets)
    head.loss(scores, targets, torch.tensor([1]))
