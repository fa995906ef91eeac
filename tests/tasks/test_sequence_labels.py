"""Labels of sequences and of steps: DNA on one strand and both, series, clips; by hand and by what must not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.architectures import Ragged
from elman.cells import cells
from elman.codecs.dna import reverse_complement
from elman.errors import DataError, UsageError
from elman.heads.head import IGNORED
from elman.randomness import drawing, generator
from elman.readers import Example
from elman.readers.series import Series
from elman.readers.videos import Clip
from elman.tasks.dna import Dna, DnaOptions, saliency
from elman.tasks.sequence_labels import runs
from elman.tasks.series_classification import SeriesClassification, SeriesClassificationOptions
from elman.tasks.supervised import Setting, padded
from elman.tasks.supervised_measure import judge
from elman.tasks.supervised_model import SupervisedModel
from elman.tasks.video import Video, VideoOptions

WHOLE = [Example("a:1", "ACGTTGAN", "yes"), Example("a:2", "GGC", "no"), Example("a:3", "TTTTT", "no")]
STEPS = [Example("a:1", "ACGTTGAN", tuple("xxyyzzxx")), Example("a:2", "GGC", tuple("xyz"))]


def dna(examples: list[Example], **options: Any) -> tuple[Dna, Setting[DnaOptions], Any]:
    """A task with a network whose parameters are all drawn."""
    task, config = Dna(), DnaOptions(hidden_size=5, filters=6, filter_width=3, **options)
    setting = Setting(config, task.fit(examples, config), cells["gru"])
    network = task.network(setting, 1, examples).eval()
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=draws))
    return task, setting, network


@torch.no_grad()
def said(task: Any, setting: Any, network: Any, *xs: str) -> list[dict[str, Any]]:
    items = [task.encode(Example("x", x), setting) for x in xs]
    return task.answers(network, task.collate(items, setting)[0], setting)


@pytest.mark.parametrize("strands", ["one", "both"])
def test_an_answer_is_that_of_the_sequence_alone(strands: str) -> None:
    made = dna(WHOLE, strands=strands)
    for alone, together in zip(WHOLE, said(*made, *(e.x for e in WHOLE)), strict=True):
        (own,) = said(*made, alone.x)
        assert own["probabilities"] == pytest.approx(together["probabilities"], abs=1e-5)


def test_with_both_strands_it_does_not_matter_which_is_read() -> None:
    both, one = dna(WHOLE, strands="both"), dna(WHOLE)
    for example in WHOLE:
        own, other = said(*both, example.x, reverse_complement(example.x))
        assert own["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
        each = said(*one, example.x, reverse_complement(example.x))
        mean = (each[0]["probabilities"]["yes"] + each[1]["probabilities"]["yes"]) / 2
        assert own["probabilities"]["yes"] == pytest.approx(mean, abs=1e-6)
        assert each[0]["probabilities"] != pytest.approx(each[1]["probabilities"], abs=1e-3), (
            "one strand has a direction"
        )


def test_labels_of_bases_on_both_strands_meet_at_their_bases() -> None:
    made = dna(STEPS, strands="both")
    own, other = said(*made, "ACGTTGAN", reverse_complement("ACGTTGAN"))
    assert own["probabilities"] == pytest.approx(other["probabilities"][::-1], abs=1e-6)
    assert own["labels"] == other["labels"][::-1]


@pytest.mark.parametrize("examples", [WHOLE, STEPS])
def test_the_loss_of_both_strands_is_that_of_the_mean_which_is_answered(examples: list[Example]) -> None:
    task, setting, network = dna(examples, strands="both")
    items = [task.encode(example, setting) for example in examples]
    nats, steps = 0.0, examples is STEPS
    with torch.no_grad():
        for item in items:
            own, other = (network(padded([x])) for x in (item.x, item.x.flip(0, 1)))
            own, other = (own[0], other[0].flip(1)) if steps else (own, other)
            mean = (own.softmax(dim=-1) + other.softmax(dim=-1))[0] / 2  # (K,) or (T, K)
            nats -= float(mean[torch.arange(len(item.x)) if steps else ..., item.y].log().sum())
    truths = [example.y for example in examples]
    loss = judge(task, network, items, truths, setting)[0]["loss"]
    assert loss == pytest.approx(nats / (sum(map(len, truths)) if steps else len(truths)), rel=1e-5)


@pytest.mark.parametrize("examples", [WHOLE, STEPS])
def test_training_on_both_strands_sees_each_as_often(examples: list[Example]) -> None:
    task, setting, _ = dna(examples, strands="both")
    item = task.encode(examples[0], setting)
    other = task.encode(Example("", reverse_complement(examples[0].x), examples[0].y), setting)
    flipped = 0
    with drawing(0, "augment", 0, 0):
        for _ in range(200):
            seen = task.augmented(item, setting)
            turned = bool(torch.equal(seen.x, other.x))
            assert turned or torch.equal(seen.x, item.x)
            if isinstance(item.y, torch.Tensor):
                assert torch.equal(seen.y, item.y.flip(0) if turned else item.y)
            flipped += turned
    assert 70 < flipped < 130
    alone, one, _ = dna(examples)
    assert alone.augmented(item, one) is item


def test_steps_have_labels_of_their_own() -> None:
    task, setting, network = dna(STEPS)
    x, y = task.collate([task.encode(example, setting) for example in STEPS], setting)
    assert y is not None and y.tolist() == [[0, 0, 1, 1, 2, 2, 0, 0], [0, 1, 2, *[IGNORED] * 5]]
    assert network.loss(x, y).items == 11
    answers = said(task, setting, network, "ACGTTGAN", "GGC")
    assert [len(answer["labels"]) for answer in answers] == [8, 3]
    right = sum(
        a == b for answer, e in zip(answers, STEPS, strict=True) for a, b in zip(answer["labels"], e.y, strict=True)
    )
    assert task.measure(answers, [e.y for e in STEPS])["accuracy"] == right / 11
    model = SupervisedModel(task, network, setting)
    assert task.show(model, "GGC", {"labels": list("xxy")}) == "1-2:x 3-3:y\tGGC"
    placed = {"labels": list("xxy"), "where": "a.fa:3"}
    assert task.show(model, "GGC", placed) == "1-2:x 3-3:y\ta.fa:3\tGGC"
    assert task.show(model, "GGC", {**placed, "id": "r1"}) == "1-2:x 3-3:y\tr1\tGGC"
    assert runs("") == [] and runs("abb") == [("a", 0, 1), ("b", 1, 3)]


def test_what_training_counts_is_named() -> None:
    for task, steps in ((Dna(), "bases"), (Video(), "frames"), (SeriesClassification(), "steps")):
        each, whole = (Setting(DnaOptions(), {name: None}, cells["gru"]) for name in ("step_labels", "labels"))
        assert (task.counted(each), task.counted(whole)) == (steps, "examples")


def test_metrics_of_whole_sequences_include_areas() -> None:
    task, setting, network = dna(WHOLE)
    answers = said(task, setting, network, *(e.x for e in WHOLE))
    found = task.measure(answers, [e.y for e in WHOLE])
    assert set(found) == {"accuracy", "macro_f1", "mcc", "auroc", "auprc"}
    yes = [answer["probabilities"]["yes"] for answer in answers]
    assert found["auroc"] == ((yes[0] > yes[1]) + (yes[0] > yes[2])) / 2


@pytest.mark.parametrize("strands", ["one", "both"])
@pytest.mark.parametrize("letters", ["ACGTACGG", "AGGAGCGT"])
def test_saliency_is_what_a_base_adds(letters: str, strands: str) -> None:
    """x<t> times its corrected gradient is how fast the logit falls as x<t> becomes the mean of all bases."""
    task, setting, network = dna(WHOLE, strands=strands)
    weights = saliency(SupervisedModel(task, network, setting), letters)
    x = setting.codecs["bases"].encode(letters)[None].double()
    network.double()

    @torch.no_grad()
    def logits(values: torch.Tensor) -> torch.Tensor:
        found = network(Ragged(values, torch.tensor([8]))).softmax(dim=1)
        if strands == "both":
            found = (found + network(Ragged(values.flip(1, 2), torch.tensor([8]))).softmax(dim=1)) / 2
        logs: torch.Tensor = found[0].log()
        return logs - logs.mean()

    best, small = int(logits(x).argmax()), 1e-6
    for t in range(8):
        less = x.clone()
        less[0, t] += small * (0.25 - x[0, t])
        assert float(weights[t]) == pytest.approx(float((logits(x) - logits(less))[best]) / small, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("examples", "options", "error", "message"),
    [
        ([*WHOLE, STEPS[0]], {}, DataError, "a:1: must have one label a step, as other examples do; got one for all"),
        (WHOLE[1:], {}, DataError, r"labels: must be at least 2 to tell apart; training data has \['no'\] only"),
        (STEPS, {"pooling": "last"}, UsageError, "pooling: has an effect on one label a sequence only; got 'last'"),
    ],
)
def test_labels_that_do_not_fit_are_told(examples: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        dna(examples, **options)


def test_what_a_model_was_not_trained_for_is_told() -> None:
    whole, setting, _ = dna(WHOLE)
    _, steps, _ = dna(STEPS)
    for example, made, message in (
        (STEPS[0], setting, "a:1: must have one label a sequence, as the model was trained; got one a step"),
        (WHOLE[0], steps, "a:1: must have one label a step, as the model was trained; got one a sequence"),
        (Example("b:7", "ACG", "maybe"), setting, "b:7: label must be one that training met, no, yes; got 'maybe'"),
        (Example("b:7", "", "yes"), setting, "b:7: must be letters of DNA; got ''"),
    ):
        with pytest.raises(DataError, match=message):
            whole.encode(example, made)


def test_series_are_cropped_and_noisy_in_training_only() -> None:
    task, config = SeriesClassification(), SeriesClassificationOptions(noise=0.5, crop=0.5)
    examples = [Example(f"s:{n}", Series("", ("a",), np.arange(40.0)[:, None] + n), "ab"[n]) for n in range(2)]
    setting = Setting(config, task.fit(examples, config), cells["gru"])
    item = task.encode(examples[0], setting)
    with drawing(0, "augment", 0, 0):
        seen = task.augmented_batch([item] * 100, setting)
    assert {len(s.x) for s in seen} == {s.length for s in seen} >= {21, 30, 39}
    assert min(len(s.x) for s in seen) == 20
    plain = Setting(SeriesClassificationOptions(noise=0.0), setting.codecs, setting.cell)
    assert all(same is item for same in task.augmented_batch([item] * 2, plain))
    quiet = Setting(SeriesClassificationOptions(noise=0.5), setting.codecs, setting.cell)
    short = replace(item, x=item.x[:7], y=1, length=7)
    with drawing(0, "augment", 0, 0):
        noisy = task.augmented_batch([item, short], quiet)
    for n, (before, after) in enumerate(zip((item, short), noisy, strict=True)):
        draws = torch.randn(before.x.shape, generator=generator(0, "augment", 0, 0, "noise", n))
        assert torch.equal(after.x, before.x + 0.5 * draws)
        assert (after.y, after.length) == (before.y, before.length)


def test_inputs_of_another_kind_are_told() -> None:
    series, config = SeriesClassification(), SeriesClassificationOptions()
    with pytest.raises(DataError, match="s:1: must be a series of at least one step; got str"):
        series.encode(Example("s:1", "abc"), Setting(config, {}, cells["gru"]))
    clip = Clip(Path("x.mp4"), np.zeros((2, 8, 8, 1), dtype=np.uint8))
    with pytest.raises(DataError, match=r"m:2: must be frames of 32 x 32 x 1; got \(8, 8, 1\)"):
        Video().encode(Example("m:2", clip), Setting(VideoOptions(), {}, cells["gru"]))
    with pytest.raises(DataError, match="m:2: must be frames of 32 x 32 x 3; got str"):
        Video().encode(Example("m:2", "x.mp4"), Setting(VideoOptions(colour=True), {}, cells["gru"]))


def test_batches_of_few_examples_are_small() -> None:
    config = SeriesClassificationOptions()
    sizes = [SeriesClassification().batch_size(count, config) for count in (1, 30, 200, 639, 640, 10_000)]
    assert sizes == [2, 2, 10, 31, 32, 32]
    assert SeriesClassification().batch_size(30, SeriesClassificationOptions(least_batches=1)) == 30
