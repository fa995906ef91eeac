"""CTC against enumeration of all paths: loss, greedy and beam search, language model, alignment."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch

from elman.errors import DataError, ShapeError, UsageError
from elman.heads import CtcHead
from elman.heads.ctc import steps_needed
from elman.heads.ctc_decoding import PrefixBeam, align, collapse, greedy

K, T = 3, 5


def logs_of(seed: int = 0, steps: int = T, scale: float = 1.5) -> torch.Tensor:
    draw = torch.randn(steps, K + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.log_softmax(scale * draw, dim=1)


def readings(logs: torch.Tensor) -> dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]]:
    """Every path with its ln P, by what it says."""
    found = defaultdict(list)
    for path in itertools.product(range(K + 1), repeat=len(logs)):
        merged = [k for k, _ in itertools.groupby(path)]
        labels = tuple(k for k in merged if k != 0)
        found[labels].append((math.fsum(float(logs[t, k]) for t, k in enumerate(path)), path))
    return found


def total(paths: list[tuple[float, tuple[int, ...]]]) -> float:
    return math.log(math.fsum(math.exp(log) for log, _ in paths))


def test_collapse_merges_first_and_drops_blanks_then():
    for path in itertools.product(range(K + 1), repeat=4):
        assert collapse(path) == tuple(k for k, _ in itertools.groupby(path) if k != 0)


def test_loss_is_the_sum_over_all_paths():
    head = CtcHead(2, K)
    scores = torch.stack([logs_of(0), logs_of(1)]) + 3.0  # a constant changes no probability
    lengths, targets, counts = torch.tensor([5, 3]), torch.tensor([[2, 2, 1], [3, 0, 0]]), torch.tensor([3, 1])
    expected = -total(readings(logs_of(0))[2, 2, 1]) - total(readings(logs_of(1)[:3])[(3,)])
    loss = head.loss(scores, (targets, counts), lengths)
    assert float(loss.nats) == pytest.approx(expected, rel=1e-10)
    assert (loss.items, float(loss.mean)) == (4, pytest.approx(expected / 4, rel=1e-10))


def test_an_empty_target_is_all_blanks():
    loss = CtcHead(2, K).loss(logs_of().unsqueeze(0), (torch.zeros(1, 1, dtype=torch.int64), torch.tensor([0])))
    assert float(loss.nats) == pytest.approx(-float(logs_of()[:, 0].sum()), rel=1e-10)


def test_too_few_steps_are_refused_and_named():
    assert [steps_needed(labels) for labels in ([], [1], [1, 2], [1, 1], [1, 1, 1])] == [0, 1, 2, 3, 5]
    targets = (torch.tensor([[1, 2, 3], [1, 1, 2]]), torch.tensor([3, 3]))
    with pytest.raises(ShapeError, match="sequence 1 must have at least 4 steps for its 3 labels; got 3"):
        CtcHead(2, K).loss(torch.zeros(2, 5, K + 1), targets, torch.tensor([3, 3]))


@pytest.mark.parametrize("seed", range(5))
def test_wide_beam_is_exact(seed):
    logs = logs_of(seed)
    every = {labels: total(paths) for labels, paths in readings(logs).items()}
    ranked = sorted(every, key=lambda labels: -every[labels])
    found = PrefixBeam(width=10_000).search(logs, count=len(every))
    assert [hypothesis.labels for hypothesis in found] == ranked
    for hypothesis in found:
        assert hypothesis.log_probability == pytest.approx(every[hypothesis.labels], rel=1e-9)
    assert math.fsum(math.exp(hypothesis.score) for hypothesis in found) == pytest.approx(1.0, rel=1e-9)


def test_greedy_says_what_the_best_path_says_and_beam_sums_paths():
    """P(blank) is highest at each step, and yet some label is more probable than silence."""
    logs = torch.log(torch.tensor([[0.6, 0.4, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0]], dtype=torch.float64))
    assert greedy(logs) == ()
    best = PrefixBeam().search(logs)[0]
    assert best.labels == (1,) and math.exp(best.log_probability) == pytest.approx(0.64)
    for seed in range(5):
        path = max((item for paths in readings(logs_of(seed)).values() for item in paths), key=lambda item: item[0])
        assert greedy(logs_of(seed)) == collapse(path[1])


class Bigrams:
    """A language model by a table; the state is the label before."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table, self.asked = table, 0

    def start(self):
        return 0

    def after(self, state, label):
        self.asked += 1
        return float(self.table[state, label]), label


@pytest.mark.parametrize("seed", range(3))
def test_language_model_and_bonus_rank_as_defined(seed):
    table, logs = logs_of(seed + 10, steps=K + 1), logs_of(seed, steps=4)
    beam = PrefixBeam(width=10_000, weight=0.7, bonus=0.4, language=Bigrams(table))
    found = beam.search(logs, count=10_000)
    expected = {}
    for labels, paths in readings(logs).items():
        language = math.fsum(float(table[a, b]) for a, b in itertools.pairwise((0, *labels)))
        expected[labels] = total(paths) + 0.7 * language + 0.4 * len(labels)
    assert {hypothesis.labels for hypothesis in found} == set(expected)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.labels], rel=1e-9)
    assert found[0].labels == max(expected, key=lambda labels: expected[labels])


def test_narrow_beam_keeps_its_width_and_is_never_better():
    logs = logs_of(3, steps=8)
    exact = PrefixBeam(width=100_000).search(logs)[0]
    for width in (1, 2, 4):
        found = PrefixBeam(width).search(logs, count=100)
        assert len(found) <= width
        assert found[0].log_probability <= exact.log_probability + 1e-12


def slow_search(
    logs: torch.Tensor, beam: PrefixBeam, table: torch.Tensor
) -> dict[tuple[int, ...], tuple[float, float]]:
    """The definition, path by path: of what the paths say at each step, the `width` of the highest scores are kept."""
    alive: dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]] = {(): [(0.0, ())]}
    for row in logs.tolist():
        grown: dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]] = {}
        for log, path in itertools.chain(*alive.values()):
            for k, step in enumerate(row):
                grown.setdefault(collapse((*path, k)), []).append((log + step, (*path, k)))
        adds = {
            said: beam.bonus * len(said)
            + beam.weight * math.fsum(float(table[pair]) for pair in itertools.pairwise((0, *said)))
            for said in grown
        }
        ranked = sorted(grown, key=lambda said: -(total(grown[said]) + adds[said]))
        alive = {said: grown[said] for said in ranked[: beam.width]}
    return {said: (total(paths), total(paths) + adds[said]) for said, paths in alive.items()}


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize(("weight", "bonus"), [(0.0, 0.0), (0.0, 1.5), (0.7, 0.4)])
def test_narrow_beams_follow_the_definition(width, weight, bonus):
    for seed in range(4):
        table, logs = logs_of(seed + 10, steps=K + 1), logs_of(seed)
        beam = PrefixBeam(width, weight, bonus, Bigrams(table) if weight else None)
        found = beam.search(logs, count=width)
        wanted = slow_search(logs, beam, table)
        assert [h.labels for h in found] == sorted(wanted, key=lambda said: -wanted[said][1])
        for h in found:
            assert (h.log_probability, h.score) == pytest.approx(wanted[h.labels], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_alignment_is_that_of_the_best_path(seed):
    logs = logs_of(seed)
    for labels, paths in readings(logs).items():
        _, path = max(paths)
        spans = align(logs, labels)
        said = [0] * T
        for label, (begin, end) in zip(labels, spans, strict=True):
            said[begin:end] = [label] * (end - begin)
        assert math.fsum(float(logs[t, k]) for t, k in enumerate(said)) == pytest.approx(max(paths)[0], rel=1e-9)
        assert collapse(said) == labels == collapse(path)


def test_alignment_needs_steps_enough():
    with pytest.raises(DataError, match="3 labels must have at least 5 steps; got 4"):
        align(logs_of(steps=4), [2, 2, 2])


def test_beam_refuses_what_has_no_effect():
    with pytest.raises(UsageError, match="width must be at least 1"):
        PrefixBeam(0)
    for options in ({"weight": 0.5}, {"language": Bigrams(torch.zeros(1))}):
        with pytest.raises(UsageError, match="together only"):
            PrefixBeam(**options)


@pytest.mark.parametrize("label", [-1, 0, 4, 10, 100])
def test_labels_that_do_not_exist_are_refused_and_named(label):
    head, counts = CtcHead(2, K), torch.tensor([1, 2])
    scores = torch.zeros(2, 6, K + 1)
    with pytest.raises(ShapeError, match=rf"labels must be from 1 to K = 3; got {label} at labels\[1, 1\]"):
        head.loss(scores, (torch.tensor([[1, 0], [2, label]]), counts))
    with pytest.raises(ShapeError, match=rf"align: labels must be from 1 to K = 3; got {label} at labels\[1\]"):
        align(logs_of(), [2, label])


def test_what_stands_beyond_the_length_of_a_target_is_not_read():
    head, counts, scores = CtcHead(2, K), torch.tensor([1, 2]), torch.stack([logs_of(0), logs_of(1)])
    found = [head.loss(scores, (torch.tensor([[1, pad], [2, 3]]), counts)).nats for pad in (0, 99, -100)]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("labels", "counts", "lengths", "message"),
    [
        (torch.tensor([[1.0]]), [1], [5], "labels must be whole numbers; got torch.float32"),
        (torch.tensor([1]), [1], [5], r"labels must have shape \(1, 1\); got \(1,\)"),
        ([[1]], [1], [5], "labels must be a tensor of whole numbers; got list"),
        (torch.tensor([[1]]), [1, 1], [5], r"lengths of labels must have shape \(1,\); got \(2,\)"),
        (torch.tensor([[1]]), [2], [5], "sequence 0 must have from 0 to 1 labels and from 1 to 5 steps; got 2 labels"),
        (torch.tensor([[1]]), [1], [6], "from 1 to 5 steps; got 1 labels and 6 steps"),
    ],
)
def test_targets_that_do_not_fit_are_refused(labels, counts, lengths, message):
    with pytest.raises(ShapeError, match=message):
        CtcHead(2, K).loss(torch.zeros(1, 5, K + 1), (labels, torch.tensor(counts)), torch.tensor(lengths))


def test_steps_beyond_a_length_reach_no_derivative():
    head, lengths = CtcHead(2, K), torch.tensor([5, 3])
    targets = torch.tensor([[2, 2, 1], [3, 0, 0]]), torch.tensor([3, 1])
    clean = torch.stack([logs_of(0), logs_of(1)])
    clean[1, 3:] = 0.0
    poisoned = clean.clone()
    poisoned[1, 3:] = torch.nan
    slopes = []
    for scores in (clean.requires_grad_(), poisoned.requires_grad_()):
        head.loss(scores, targets, lengths).mean.backward()
        slopes.append(scores.grad)
    assert torch.equal(*slopes) and bool((slopes[0][1, 3:] == 0).all()) and bool((slopes[0][1, :3] != 0).any())
