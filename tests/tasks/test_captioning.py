"""Captioning: several captions of an image, BLEU against all of them, and it learns made-up images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.cells import cells
from elman.cli import main
from elman.errors import DataError
from elman.metrics import bleu
from elman.randomness import drawing
from elman.readers import Example
from elman.readers.videos import Clip
from elman.tasks import load
from elman.tasks.captioning import Captioning, CaptioningOptions
from elman.tasks.generated_images import write_shapes
from elman.tasks.supervised import Setting
from elman.tasks.supervised_model import SupervisedModel


def image(n: int, *captions: str) -> Example:
    frames = np.random.default_rng(n).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    return Example(f"image {n}", Clip(Path(f"{n}.png"), frames), captions or None)


EXAMPLES = [image(0, "a cat", "one cat , asleep"), image(1, "a dog"), image(2, "Two dogs", "a dog", "dogs")]


def setting() -> Setting[CaptioningOptions]:
    config = CaptioningOptions(size=8, filters=(4, 4), image_size=6, hidden_size=5, embedding_size=4, dropout=0)
    return Setting(config, Captioning().fit(EXAMPLES, config), cells["lstm"])


def test_loss_is_that_of_every_caption_of_every_image():
    made, task = setting(), Captioning()
    network = task.network(made, seed=0).eval()
    together = network.loss(*task.collate([task.encode(e, made) for e in EXAMPLES], made))
    alone = [
        network.loss(*task.collate([task.encode(Example("", e.x, (caption,)), made)], made))
        for e in EXAMPLES
        for caption in e.y
    ]
    assert together.items == sum(loss.items for loss in alone) == 3 + 5 + 3 + 3 + 3 + 2
    assert float(together.nats.detach()) == pytest.approx(sum(float(loss.nats.detach()) for loss in alone), rel=1e-5)


def test_training_takes_one_caption_after_the_other():
    made, task = setting(), Captioning()
    item = task.encode(EXAMPLES[2], made)
    taken = []
    for step in range(40):
        with drawing(0, step):
            (caption,) = task.augmented(item, made).y
        taken.append(next(n for n, known in enumerate(item.y) if torch.equal(known, caption)))
    assert set(taken) == {0, 1, 2}


def test_images_without_captions_get_some():
    made, task = setting(), Captioning()
    x, y = task.collate([task.encode(image(n), made) for n in range(3)], made)
    with torch.no_grad():
        answers = task.answers(task.network(made, seed=0).eval(), x, made)
    assert y is None
    assert [len(answer["n_best"]) for answer in answers] == [3, 3, 3]
    assert not any("<unk>" in found["text"] for answer in answers for found in answer["n_best"])
    model = SupervisedModel(task, task.network(made, seed=0), made)
    model.search(n_best=2)
    lines = task.show(model, image(0).x, answers[0]).splitlines()
    assert [line.split("\t")[2] for line in lines] == [found["text"] for found in answers[0]["n_best"][:2]]


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        (Example("x.csv:2", EXAMPLES[0].x, (" ",)), "x.csv:2: every caption must hold a word"),
        (Example("x.csv:3", "text"), r"x.csv:3: must be an image of shape \(1, 8, 8, 3\); got str"),
    ],
)
def test_what_cannot_be_used(example, problem):
    with pytest.raises(DataError, match=problem):
        Captioning().encode(example, setting())


def test_bleu_takes_the_best_of_several_references():
    references = [["the cat sat on the mat today", "a cat lay there"], ["dogs bark at night all the time"]]
    written = ["a cat lay there", "dogs bark at night all the time"]
    assert bleu(written, references) == pytest.approx(100)
    assert bleu(written, [row[:1] for row in references]) < 70
    assert bleu(["nothing of it", "at all"], references) < 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    write_shapes(folder / "shapes", 300)
    words = ["train", "captioning", folder / "shapes" / "captions.csv", "-o", folder / "model", "--quiet"]
    words += [
        "--column",
        "part=part",
        "--hidden-size",
        "64",
        "--image-size",
        "64",
        "--epochs",
        "20",
        "--batch-size",
        "10",
    ]
    words += ["--learning-rate", "0.005"]
    for filters in ("12", "24", "24"):
        words += ["--filters", filters]
    assert main([str(word) for word in words]) == 0
    return folder


def test_it_learns_made_up_images(trained):
    """Captions of other images have the right form; what is said of an image must be far nearer to its own."""
    model = load(trained / "model")
    judged = model.judge(trained / "shapes" / "captions.csv")
    truths = [example.y for example in judged.examples]
    others = [caption for (caption,) in truths[1:] + truths[:1]]
    assert judged.metrics["bleu"] > bleu(others, truths) + 30


def test_images_of_a_folder_get_captions_and_a_sheet(trained, tmp_path, capsys):
    words = ["predict", trained / "model", trained / "shapes", "-o", tmp_path / "said", "--json"]
    assert main([str(word) for word in words]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert len(answers) == 300 and all(answer["text"].startswith("a ") for answer in answers)
    assert (tmp_path / "said" / "captions.png").read_bytes().startswith(b"\x89PNG")


def test_a_broken_image_is_named(trained, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"\x89PNG broken")
    assert main(["predict", str(trained / "model"), str(tmp_path / "a.png")]) == 65
    assert "a.png: must be a video or image that FFmpeg can read" in capsys.readouterr().err
