"""Losses of heads, by hand: softmax with smoothing and weights, the notes' step loss, regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from elman.errors import ShapeError, UsageError
from elman.heads import IGNORED, AutoregressiveBinaryHead, BinaryHead, CrfHead, CtcHead, RegressionHead, SoftmaxHead

K = 4


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_softmax(row: list[float]) -> list[float]:
    total = math.fsum(math.exp(value) for value in row)
    return [math.log(math.exp(value) / total) for value in row]


# ---- softmax


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 4.0]])
def test_softmax_loss_is_its_definition(smoothing, weights):
    head = SoftmaxHead(
        3, K, label_smoothing=smoothing, class_weights=None if weights is None else torch.tensor(weights)
    )
    scores, targets = drawn(2, 3, K), torch.tensor([[0, 3, IGNORED], [1, 2, 2]])
    total, share, nats = 0.0, 0.0, 0.0
    for row, wanted in zip(scores.reshape(-1, K).tolist(), targets.flatten().tolist(), strict=True):
        if wanted == IGNORED:
            continue
        logs, weight = log_softmax(row), 1.0 if weights is None else weights[wanted]
        q = [(1 - smoothing) * (k == wanted) + smoothing / K for k in range(K)]
        total -= weight * math.fsum(a * b for a, b in zip(q, logs, strict=True))
        share, nats = share + weight, nats - logs[wanted]
    loss = head.loss(scores, targets)
    assert float(loss.mean) == pytest.approx(total / share, rel=1e-12)
    assert float(loss.nats) == pytest.approx(nats, rel=1e-12)
    assert loss.items == 5


def test_softmax_leaves_out_what_is_beyond_a_length():
    head = SoftmaxHead(3, K, label_smoothing=0.1)
    scores, targets = drawn(2, 3, K), torch.tensor([[0, 3, 1], [1, 2, 2]])
    padded = scores.clone()
    padded[0, 1:] = torch.nan
    found = head.loss(padded, targets, torch.tensor([1, 3]))
    rows = torch.cat([scores[0, :1], scores[1]])
    alone = head.loss(rows, torch.tensor([0, 1, 2, 2]))
    assert float(found.mean) == pytest.approx(float(alone.mean), rel=1e-12)
    assert found.items == alone.items == 4


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weights": torch.ones(K)}])
def test_softmax_of_nothing_costs_nothing(options):
    scores = drawn(1, 2, K).requires_grad_()
    loss = SoftmaxHead(3, K, **options).loss(scores, torch.full((1, 2), IGNORED))
    loss.mean.backward()
    assert (float(loss.mean.detach()), loss.items) == (0.0, 0)
    assert scores.grad is not None and not scores.grad.any()


def test_class_weights_are_no_part_of_what_is_saved():
    assert set(SoftmaxHead(3, K, class_weights=torch.ones(K)).state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": 1.0}, UsageError, "label_smoothing: must be from 0"),
        ({"class_weights": torch.ones(3)}, ShapeError, r"must have shape \(4,\), one a class; got \(3,\)"),
        ({"class_weights": torch.tensor([1.0, 0.0, 1.0, 1.0])}, UsageError, "must be finite and more than 0"),
        ({"class_weights": torch.tensor([1.0, math.inf, 1.0, 1.0])}, UsageError, "must be finite and more than 0"),
    ],
)
def test_softmax_refuses(options, error, message):
    with pytest.raises(error, match=message):
        SoftmaxHead(3, K, **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_softmax_names_a_class_that_does_not_exist(smoothing):
    head, lengths = SoftmaxHead(3, K, label_smoothing=smoothing), torch.tensor([2, 3])
    targets = torch.tensor([[0, 3, 99], [1, IGNORED, 2]])  # 99 is beyond its length
    assert head.loss(drawn(2, 3, K), targets, lengths).items == 4
    for wrong in (4, 9, -1):
        targets[1, 2] = wrong
        message = rf"targets must be class numbers from 0 to 3, or IGNORED \(-100\); got {wrong} at targets\[1, 2\]"
        with pytest.raises(ShapeError, match=message):
            head.loss(drawn(2, 3, K), targets, lengths)
        with pytest.raises(ShapeError, match=rf"got {wrong} at targets\[0\]"):
            head.nats(drawn(2, K), torch.tensor([wrong, 1]))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0.0, 1.0]), "targets must be whole numbers; got torch.float32\n\nhint: use targets.long()"),
        (torch.tensor([True, False]), "targets must be whole numbers; got torch.bool"),
        (torch.tensor([0]), r"targets must have shape \(2,\); got \(1,\)"),
        ([0, 1], "targets must be a tensor of whole numbers; got list"),
    ],
)
def test_softmax_refuses_targets_that_do_not_fit(targets, message):
    with pytest.raises(ShapeError, match=message):
        SoftmaxHead(3, K).loss(drawn(2, K), targets)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_softmax_takes_whole_numbers_of_any_type(kind):
    scores, targets = drawn(2, K), torch.tensor([0, 3])
    assert SoftmaxHead(3, K).loss(scores, targets.to(kind)).nats == SoftmaxHead(3, K).loss(scores, targets).nats


# ---- yes or no


def test_step_loss_of_the_notes_is_summed_over_steps():
    """L(y^<t>, y<t>) = -y log y^ - (1 - y) log(1 - y^), and L is the sum over t = 1..T_y of each sequence."""
    scores, targets = drawn(2, 3, 1), torch.tensor([[[1.0], [0.0], [1.0]], [[0.0], [1.0], [1.0]]])
    lengths = torch.tensor([3, 2])
    expected = 0.0
    for b in range(2):
        for t in range(int(lengths[b])):
            guess, y = 1 / (1 + math.exp(-float(scores[b, t, 0]))), float(targets[b, t, 0])
            step = -y * math.log(guess) - (1 - y) * math.log(1 - guess)
            assert float(BinaryHead(3).steps(scores[b, t], targets[b, t])) == pytest.approx(step, rel=1e-12)
            expected += step
    scores[1, 2] = torch.nan
    loss = BinaryHead(3).loss(scores, targets, lengths)
    assert float(loss.nats) == pytest.approx(expected, rel=1e-12)
    assert float(loss.mean) == pytest.approx(expected / 5, rel=1e-12)


def test_88_keys_are_summed_and_a_yes_can_weigh_more():
    scores, targets = drawn(2, 3, 88), (drawn(2, 3, 88, seed=1) > 1).double()
    guess = torch.sigmoid(scores)
    yes, no = -targets * guess.log(), -(1 - targets) * (1 - guess).log()
    loss = BinaryHead(5, 88, positive_weight=7.0).loss(scores, targets)
    assert float(loss.nats) == pytest.approx(float((yes + no).sum()), rel=1e-10)
    assert float(loss.mean) == pytest.approx(float((7 * yes + no).sum()) / 6, rel=1e-10)


def test_ignored_labels_cost_nothing():
    scores = drawn(1, 2, 2)
    known = BinaryHead(5, 2).loss(scores, torch.tensor([[[1.0, IGNORED], [IGNORED, 0.0]]]))
    alone = BinaryHead(5).steps(scores[0, [0, 1], [0, 1]].unsqueeze(1), torch.tensor([[1.0], [0.0]]))
    assert float(known.nats) == pytest.approx(float(alone.sum()), rel=1e-12)


@pytest.mark.parametrize("wrong", [2.0, -1.0, 0.5, math.nan])
def test_a_label_that_is_neither_yes_nor_no_is_named_within_lengths_only(wrong):
    scores, targets, lengths = drawn(2, 3, 2), torch.ones(2, 3, 2), torch.tensor([3, 2])
    targets[1, 2, 0] = wrong
    BinaryHead(5, 2).loss(scores, targets, lengths)
    message = rf"targets must be 0 or 1, or IGNORED \(-100\); got {wrong:g} at targets\[1, 2, 0\]"
    with pytest.raises(ShapeError, match=message):
        BinaryHead(5, 2).loss(scores, targets)
    with pytest.raises(ShapeError, match=message):
        BinaryHead(5, 2).steps(scores, targets)


def test_losses_of_labels_can_be_mapped_over_examples():
    scores, targets = drawn(3, 2), torch.tensor([[0, 1], [1, 1], [0, 0]])
    mapped = torch.vmap(lambda s, y: BinaryHead(5, 2).loss(s.unsqueeze(0), y.unsqueeze(0)).mean)(scores, targets)
    torch.testing.assert_close(mapped, BinaryHead(5, 2).steps(scores, targets))


# ---- numbers


@pytest.mark.parametrize("kind", ["mse", "mae", "quantile", "gaussian"])
def test_regression_loss_is_its_definition(kind):
    head = RegressionHead(5, 2, kind=kind, quantiles=(0.2, 0.5, 0.9) if kind == "quantile" else None)
    a = drawn(2, 3, 5)
    with torch.no_grad():
        head = head.double()
        head.weight.copy_(drawn(*head.weight.shape, seed=2))
    scores, targets = head(a), drawn(2, 3, 2, seed=3)
    targets[0, 1, 1] = torch.nan
    expected = 0.0
    places = [(b, t, k) for b in range(2) for t in range(2 + b) for k in range(2)]
    for b, t, k in places:
        y, found = float(targets[b, t, k]), scores[b, t, k].tolist()
        if math.isnan(y):
            continue
        expected += {
            "mse": lambda y, f: (y - f[0]) ** 2,
            "mae": lambda y, f: abs(y - f[0]),
            "quantile": lambda y, f: sum(
                q * (y - g) if y >= g else (1 - q) * (g - y) for q, g in zip((0.2, 0.5, 0.9), f, strict=True)
            ),
            "gaussian": lambda y, f: (
                -math.log(math.exp(-((y - f[0]) ** 2) / (2 * math.exp(f[1]))) / math.sqrt(2 * math.pi * math.exp(f[1])))
            ),
        }[kind](y, found)
    loss = head.loss(scores, targets, torch.tensor([2, 3]))
    assert loss.items == 9
    assert float(loss.nats.detach()) == pytest.approx(expected, rel=1e-10)
    assert float(loss.mean.detach()) == pytest.approx(expected / 9, rel=1e-10)
    middle = {"quantile": 1}.get(kind, 0)
    assert torch.equal(head.centre(scores), scores[..., middle])


def test_normal_finds_mean_and_deviation_of_a_sample():
    """At the minimum the two numbers are those of the sample: the maximum likelihood."""
    sample = 3 + 2 * drawn(500)
    head = RegressionHead(1, 1, kind="gaussian").double()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = head.loss(head(torch.ones(500, 1, dtype=torch.float64)), sample.unsqueeze(1)).mean
        loss.backward()
        return loss

    optimizer.step(closure)
    scores = head(torch.ones(1, 1, dtype=torch.float64)).detach()
    assert float(head.centre(scores)) == pytest.approx(float(sample.mean()), rel=1e-4)
    assert float(head.deviation(scores)) == pytest.approx(float(sample.std(correction=0)), rel=1e-4)


def test_regression_refuses():
    with pytest.raises(UsageError, match="did you mean 'quantile'"):
        RegressionHead(3, 1, kind="quantil")
    for quantiles in ((0.5, 0.1), (), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(UsageError, match="quantiles: must rise and lie between 0 and 1"):
            RegressionHead(3, 1, kind="quantile", quantiles=quantiles)
    with pytest.raises(ShapeError, match=r"targets must have shape \(2, 1\); got \(2,\)"):
        RegressionHead(3).loss(torch.zeros(2, 1, 1), torch.zeros(2))
    with pytest.raises(UsageError, match="kind 'gaussian'"):
        RegressionHead(3).deviation(torch.zeros(2, 1, 1))


# ---- of all heads


@pytest.mark.parametrize(
    ("head", "shape", "targets"),
    [
        (SoftmaxHead(2, K), (1, K), torch.tensor([2])),
        (BinaryHead(2, K), (1, K), torch.eye(1, K)),
        (AutoregressiveBinaryHead(2, 2, units=2), (1, 4), torch.eye(1, 2)),
        (RegressionHead(2), (1, 1, 1), torch.ones(1, 1)),
        (CrfHead(2, K), (1, 1, K), torch.tensor([[2]])),
        (CtcHead(2, K - 1), (1, 1, K), (torch.tensor([[2]]), torch.tensor([1]))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_mean_of_one_item_is_what_it_costs(head, shape, targets):
    loss = head.loss(drawn(*shape).float(), targets)
    assert loss.items == 1 and loss.mean > 0 and torch.equal(loss.mean, loss.nats)


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (SoftmaxHead(2, 6), torch.tensor([0, 5, 2])),
        (SoftmaxHead(2, 6, label_smoothing=0.1), torch.tensor([0, 5, 2])),
        (BinaryHead(2, 6), torch.eye(3, 6)),
        (BinaryHead(2, 6, positive_weight=3.0), torch.eye(3, 6)),
        (AutoregressiveBinaryHead(2, 2, units=4), torch.eye(3, 2)),
        (RegressionHead(2, 3, kind="gaussian"), torch.eye(3)),
        (CrfHead(2, 6), torch.tensor([[0, 5, 2]])),
        (CtcHead(2, 5), (torch.tensor([[1, 5]]), torch.tensor([2]))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_coarse_scores_cost_what_the_same_numbers_cost_in_float32(head, targets):
    shape = {RegressionHead: (3, 3, 2), CrfHead: (1, 3, 6), CtcHead: (1, 3, 6)}.get(type(head), (3, 6))
    coarse = (3 * drawn(*shape)).bfloat16()
    found, wanted = head.loss(coarse, targets), head.loss(coarse.float(), targets)
    assert torch.equal(found.mean, wanted.mean) and torch.equal(found.nats, wanted.nats)
    if hasattr(head, "probabilities"):
        assert torch.equal(head.probabilities(coarse), head.probabilities(coarse.float()))
    if hasattr(head, "draw"):
        uniforms = torch.rand(3, targets.shape[1])
        assert torch.equal(head.draw(coarse, uniforms), head.draw(coarse.float(), uniforms))


# ---- what cannot be meant


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize(
    ("head", "name"),
    [
        (SoftmaxHead, "classes"), (BinaryHead, "labels"), (CtcHead, "labels"), (CrfHead, "labels"),
        (RegressionHead, "outputs"), (AutoregressiveBinaryHead, "labels"),
    ],
)  # fmt: skip
def test_a_head_of_no_size_is_refused_by_name(head, name, size):
    with pytest.raises(UsageError, match=f"{head.__name__}: {name} must be a whole number of at least"):
        head(3, size)
    with pytest.raises(UsageError, match=f"{head.__name__}: input_size must be a whole number of at least 1"):
        head(size, 2)


def test_sizes_may_be_numbers_of_numpy():
    assert SoftmaxHead(3, np.int64(4)).weight.shape == (4, 3)


@pytest.mark.parametrize("kind", ["mse", "mae", "gaussian"])
def test_quantiles_without_effect_are_refused(kind):
    with pytest.raises(UsageError, match=f"quantiles: have an effect with kind 'quantile' only; got kind '{kind}'"):
        RegressionHead(3, kind=kind, quantiles=(0.1,))
    assert RegressionHead(3, kind="quantile").quantiles == (0.1, 0.5, 0.9)


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (SoftmaxHead(3, 2), [0, 1]), (BinaryHead(3, 2), [[0, 1], [1, 1]]), (RegressionHead(3, 2), [[0.0, 1], [1, 1]]),
        (AutoregressiveBinaryHead(3, 2), [[0, 1], [1, 1]]), (CtcHead(3, 2), [[0, 1], [1, 1]]),
        (CtcHead(3, 2), torch.tensor([[0, 1], [1, 1]])),
    ],
)  # fmt: skip
def test_lists_are_no_targets(head, targets):
    scores = head(torch.zeros(2, 4, 3) if isinstance(head, CtcHead) else torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="must be"):
        head.loss(scores, targets)
