"""The conditional random field against enumeration of all paths, and finite differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from elman.errors import ShapeError, UsageError
from elman.heads import IGNORED, CrfHead
from elman.heads.linear_chain import Chain, best_paths, log_partition, path_scores
from tests.oracles import relative_error, slopes

K, LENGTHS = 3, (4, 1, 3)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(allowed: torch.Tensor | None = None) -> CrfHead:
    head = CrfHead(5, K, allowed=allowed).double()
    with torch.no_grad():
        for number, weight in enumerate(head.parameters()):
            weight.copy_(drawn(*weight.shape, seed=number))
    return head


def scores_of_all(head: CrfHead, emissions: torch.Tensor, allowed: torch.Tensor | None) -> dict[tuple[int, ...], float]:
    """Every path of one sequence (T, K) with its score, by the definition; forbidden ones left out."""
    trans, start, end = head.transitions.tolist(), head.start.tolist(), head.end.tolist()
    found = {}
    for path in itertools.product(range(K), repeat=len(emissions)):
        steps = [K, *path, K + 1]
        if allowed is not None and not all(bool(allowed[a, b]) for a, b in itertools.pairwise(steps)):
            continue
        score = start[path[0]] + end[path[-1]] + sum(float(emissions[t, k].detach()) for t, k in enumerate(path))
        found[path] = score + sum(trans[a][b] for a, b in itertools.pairwise(path))
    return found


def rules() -> torch.Tensor:
    """No start with 1, no end with 0, no 2 after 0."""
    allowed = torch.ones(K + 2, K + 2, dtype=torch.bool)
    allowed[K, 1] = allowed[0, K + 1] = allowed[0, 2] = False
    return allowed


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (B, T, 5), zero beyond each length as those of layers are, and lengths."""
    a = drawn(len(LENGTHS), max(LENGTHS), 5, seed=9)
    for row, length in enumerate(LENGTHS):
        a[row, length:] = 0.0
    return a, torch.tensor(LENGTHS)


def poisoned(emissions: torch.Tensor) -> torch.Tensor:
    """Emissions with NaN beyond each length."""
    real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    return torch.where(real.unsqueeze(2), emissions, torch.nan)


@pytest.mark.parametrize("constrained", [False, True])
def test_loss_marginals_and_paths_are_those_of_all_paths(constrained):
    allowed = rules() if constrained else None
    head, (a, lengths) = made(allowed), batch()
    emissions = poisoned(head(a))
    probabilities = head.probabilities(emissions, lengths)
    best = head.best(emissions, lengths)
    paths, logs = head.n_best(emissions, 5, lengths)
    targets, expected = torch.full((len(LENGTHS), max(LENGTHS)), -100), 0.0
    for row, length in enumerate(LENGTHS):
        every = scores_of_all(head, emissions[row, :length], allowed)
        log_z = math.log(math.fsum(math.exp(s) for s in every.values()))
        ranked = sorted(every, key=lambda path: -every[path])
        assert tuple(best[row, :length].tolist()) == ranked[0]
        for n, path in enumerate(ranked[:5]):
            assert tuple(paths[row, n, :length].tolist()) == path
            assert float(logs[row, n]) == pytest.approx(every[path] - log_z, rel=1e-10)
        assert all(float(log) == -math.inf for log in logs[row, len(every) :])
        assert not best[row, length:].any() and not paths[row, :, length:].any()
        for t, k in itertools.product(range(length), range(K)):
            share = math.fsum(math.exp(s - log_z) for path, s in every.items() if path[t] == k)
            assert float(probabilities[row, t, k]) == pytest.approx(share, abs=1e-12)
        assert not probabilities[row, length:].any()
        gold = ranked[len(ranked) // 2]
        targets[row, :length] = torch.tensor(gold)
        expected += log_z - every[gold]
    loss = head.loss(emissions, targets, lengths)
    assert float(loss.nats.detach()) == pytest.approx(expected, rel=1e-10)
    assert (loss.items, float(loss.mean.detach())) == (8, pytest.approx(expected / 8, rel=1e-10))


@pytest.mark.parametrize("constrained", [False, True])
def test_gradients_are_finite_differences(constrained):
    head, (a, lengths) = made(rules() if constrained else None), batch()
    targets = torch.tensor([[2, 1, 1, 2], [2, 0, 0, 0], [0, 1, 2, 0]])
    loss = head.loss(poisoned(head(a)), targets, lengths).nats
    loss.backward()
    for name, weight in head.named_parameters():
        numbers = weight.detach().numpy()
        found = slopes(lambda: float(head.loss(head(a), targets, lengths).nats.detach()), numbers)
        assert relative_error(weight.grad.numpy(), found) < 1e-7, name


def test_a_forbidden_target_is_seen():
    head, (a, lengths) = made(rules()), batch()
    targets = torch.tensor([[0, 2, 2, 2], [2, 0, 0, 0], [0, 1, 2, 0]])
    assert float(head.loss(head(a), targets, lengths).nats.detach()) > 9000


def test_fewer_paths_than_asked_for_end_in_minus_infinity():
    head = made()
    paths, logs = head.n_best(drawn(1, 1, K), 5)
    assert sorted(paths[0, :3, 0].tolist()) == [0, 1, 2]
    assert torch.isfinite(logs[0, :3]).all() and (logs[0, 3:] == -torch.inf).all()
    assert float(logs[0, :3].exp().sum()) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_probabilities_come_without_gradients_switched_on(mode):
    head, (a, lengths) = made(), batch()
    with mode():
        found = head.probabilities(head(a), lengths)
    assert torch.allclose(found.sum(dim=2)[0], torch.ones(4, dtype=torch.float64))
    assert not found.requires_grad


def test_a_wrong_sum_would_be_seen():
    """The comparison above tells the maximum from the sum, and one order of transitions from the other."""
    emissions = drawn(1, 3, K)
    chain = Chain(emissions, drawn(K, K, seed=1), drawn(K, seed=2), drawn(K, seed=3))
    turned = Chain(emissions, chain.transitions.T, chain.start, chain.end)
    assert float(log_partition(chain)[0]) - float(best_paths(chain)[1][0, 0]) > 1e-3
    assert abs(float(log_partition(chain)[0] - log_partition(turned)[0])) > 1e-3
    path = torch.tensor([[0, 1, 2]])
    assert abs(float(path_scores(chain, path)[0] - path_scores(turned, path)[0])) > 1e-3


def test_crf_refuses_rules_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"bool of shape \(5, 5\); got torch.bool \(3, 3\)"):
        CrfHead(5, K, allowed=torch.ones(3, 3, dtype=torch.bool))
    for nothing in ((K, slice(0, K)), (slice(0, K), K + 1)):
        allowed = torch.ones(K + 2, K + 2, dtype=torch.bool)
        allowed[nothing] = False
        with pytest.raises(UsageError, match="must let some label begin a sequence and some label end one"):
            CrfHead(5, K, allowed=allowed)
    with pytest.raises(ShapeError, match=r"got torch.float32 \(5, 5\)"):
        CrfHead(5, K, allowed=torch.ones(5, 5))


@pytest.mark.parametrize("constrained", [False, True])
def test_labels_that_nobody_knows_are_summed_over(constrained):
    """-ln P(known labels) by enumeration: the share of all paths that agree with them."""
    allowed = rules() if constrained else None
    head, (a, lengths) = made(allowed), batch()
    targets = torch.tensor([[IGNORED, 1, IGNORED, 2], [IGNORED, 7, 7, 7], [0, 1, IGNORED, 7]])
    emissions, expected = head(a), 0.0
    for row, length in enumerate(LENGTHS):
        every, wanted = scores_of_all(head, emissions[row, :length], allowed), targets[row, :length].tolist()
        agree = [p for p in every if all(y in (k, IGNORED) for k, y in zip(p, wanted, strict=True))]
        log_z = math.log(math.fsum(math.exp(s) for s in every.values()))
        expected += log_z - math.log(math.fsum(math.exp(every[p]) for p in agree))
    loss = head.loss(poisoned(emissions), targets, lengths)
    assert float(loss.nats.detach()) == pytest.approx(expected, rel=1e-10)
    assert (loss.items, float(loss.mean.detach())) == (4, pytest.approx(expected / 4, rel=1e-10))
    loss.nats.backward()
    for name, weight in head.named_parameters():
        found = slopes(lambda: float(head.loss(head(a), targets, lengths).nats.detach()), weight.detach().numpy())
        assert relative_error(weight.grad.numpy(), found) < 1e-7, name


def test_a_chain_without_any_known_label_costs_nothing():
    head, (a, lengths) = made(), batch()
    loss = head.loss(head(a), torch.full((3, 4), IGNORED), lengths)
    loss.mean.backward()
    assert (float(loss.mean.detach()), loss.items) == (0.0, 0)
    assert all(float(p.grad.abs().max()) < 1e-15 for p in head.parameters())


def test_labels_that_do_not_exist_are_refused_and_named():
    head, (a, lengths) = made(), batch()
    targets = torch.zeros(3, 4, dtype=torch.int64)
    targets[1, 1:] = 99  # beyond the length
    head.loss(head(a), targets, lengths)
    for wrong in (3, -1):
        targets[2, 1] = wrong
        message = rf"targets must be class numbers from 0 to 2, or IGNORED \(-100\); got {wrong} at targets\[2, 1\]"
        with pytest.raises(ShapeError, match=message):
            head.loss(head(a), targets, lengths)
    with pytest.raises(ShapeError, match=r"targets must have shape \(3, 4\); got \(3, 2\)"):
        head.loss(head(a), targets[:, :2], lengths)
    with pytest.raises(ShapeError, match=r"targets must be whole numbers; got torch\.float32"):
        head.loss(head(a), targets.float(), lengths)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_are_whole_numbers_of_any_type(kind):
    head, emissions = made(), drawn(2, 3, K)
    labels = torch.tensor([[0, 1, 2], [2, 1, 0]])
    assert torch.equal(head.loss(emissions, labels.to(kind)).nats, head.loss(emissions, labels).nats)


def test_long_paths_are_improbable_and_not_forbidden():
    """Each of the 2^T paths of T steps without evidence has ln P = -T ln 2, less than a forbidden step costs."""
    steps = 20_000
    _, logs = CrfHead(1, 2).n_best(torch.zeros(1, steps, 2, dtype=torch.float64), 2)
    assert logs[0].tolist() == pytest.approx([-steps * math.log(2)] * 2, rel=1e-9)


def test_where_no_path_is_allowed_none_has_a_probability():
    allowed = torch.ones(K + 2, K + 2, dtype=torch.bool)
    allowed[K, 1:K], allowed[:K, K + 1] = False, torch.tensor([False, True, True])  # begin with 0, end with another
    _, logs = made(allowed).n_best(drawn(2, 2, K), 4, torch.tensor([1, 2]))
    assert torch.isinf(logs).tolist() == [[True] * 4, [False, False, True, True]]
