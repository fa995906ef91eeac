"""Tagging: spans and plain tags are learnt, judged as conlleval does, and shown."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.cli.answers import documents
from elman.errors import DataError, UsageError
from elman.heads import CrfHead, SoftmaxHead
from elman.readers import Example
from elman.readers.words import with_places
from elman.tasks import TASKS, load
from elman.tasks.generated import write_entities
from elman.tasks.shown_spans import coloured, write_marked_texts
from elman.tasks.supervised_model import SupervisedModel
from elman.tasks.tagging import TaggingOptions, TaggingTraining
from elman.training import RunFolder, train

SMALL: dict[str, Any] = {
    "hidden_size": 12,
    "embedding_size": 8,
    "letter_size": 4,
    "letter_hidden_size": 6,
    "dropout": 0.1,
    "input_dropout": 0.1,
    "batch_size": 8,
}
PLAIN = "the DET\ncat NOUN\nsleeps VERB\n\na DET\ndog NOUN\nruns VERB\n\n" * 20


def problem_of(folder: Path, text: str | None = None, **options: Any) -> Any:
    path = folder / "data.conll"
    write_entities(path, 150) if text is None else path.write_text(text, encoding="utf-8")
    return TASKS["tagging"].problem(path, TaggingOptions(**{**SMALL, **options}), 0, folder)


def trained(folder: Path, problem: Any, epochs: int = 8) -> tuple[SupervisedModel, dict[str, Any]]:
    training = TaggingTraining(epochs=epochs, learning_rate=0.02, warmup_steps=5)
    with RunFolder.create(folder / "run", task="tagging", config={"seed": 0}, data={}) as run:
        result = train(problem, training, run)
    model = load(folder / "run")
    assert isinstance(model, SupervisedModel)
    return model, result.best


def test_names_of_people_and_places_are_found(tmp_path: Path) -> None:
    problem = problem_of(tmp_path)
    assert problem.selection == "span_f1" and isinstance(problem.model.head, CrfHead)
    model, best = trained(tmp_path, problem)
    assert best["span_f1"] > 0.95
    words = ["in", "New", "York", ",", "Emmy", "Noether", "met", "an", "old", "friend", "."]
    (answer,) = model.predict([words])
    assert answer["spans"] == [
        {"first": 1, "last": 2, "label": "place", "start": 3, "end": 11, "text": "New York"},
        {"first": 4, "last": 5, "label": "person", "start": 14, "end": 26, "text": "Emmy Noether"},
    ]
    assert answer["tags"][:6] == ["O", "B-place", "I-place", "O", "B-person", "I-person"]


def test_plain_tags_are_learnt_one_by_one(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, PLAIN)
    assert problem.selection == "accuracy" and isinstance(problem.model.head, SoftmaxHead)
    model, best = trained(tmp_path, problem, epochs=4)
    assert best["accuracy"] == 1.0
    (answer,) = model.predict([["a", "cat", "runs"]])
    assert answer["tags"] == ["DET", "NOUN", "VERB"] and all(1 / 3 < p < 1 for p in answer["probabilities"])
    judged = model.judge(tmp_path / "data.conll")
    assert [path.name for path in model.task.draw(model, judged.examples, judged.answers, tmp_path)] == [
        "confusion.png"
    ]
    model.search(n_best=2)
    with pytest.raises(UsageError, match="n_best: needs tags that are judged together"):
        model.predict([["a", "cat", "runs"]])


def untrained(folder: Path, text: str | None = None, **options: Any) -> SupervisedModel:
    """A model whose parameters are all drawn, so that every tag depends on everything."""
    problem = problem_of(folder, text, **options)
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return SupervisedModel(problem.task, problem.model, problem.setting)


def test_ways_to_tag_a_sentence_are_told_with_their_probabilities(tmp_path: Path) -> None:
    """All ways of two words in the order of their probability; what is said of a word sums over them."""
    model = untrained(tmp_path)
    words, longer = ["Ada", "Oslo"], ["Oslo", "met", "Ada", "."]
    plain = model.predict([longer, words])[1]
    model.search(n_best=50)
    answer = model.predict([longer, words])[1]
    ways = answer["n_best"]
    assert plain == {name: value for name, value in answer.items() if name != "n_best"}
    assert len(ways) == 11, "two words of O, person and place: one span of two kinds on both, or three ways each"
    assert len({tuple(way["tags"]) for way in ways}) == 11
    chances = [math.exp(way["log_probability"]) for way in ways]
    assert sum(chances) == pytest.approx(1, abs=1e-5) and chances == sorted(chances, reverse=True)
    assert ways[0]["tags"] == answer["tags"] and ways[0]["spans"] == answer["spans"]
    begins = [{(s["first"], s["last"] + 1, s["label"]) for s in way["spans"]} for way in ways]
    for n, p in enumerate(answer["probabilities"]):
        own = {s for s in begins[0] if s[0] <= n < s[1]}
        alike = [{s for s in way if s[0] <= n < s[1]} == own for way in begins]
        assert p == pytest.approx(sum(c for c, same in zip(chances, alike, strict=True) if same), abs=1e-5)
    lines = model.task.show(model, words, answer).split("\n")
    assert len(lines) == 12 and lines[0].startswith(f"{ways[0]['log_probability']:.4f}\t")


def test_rare_tags_weigh_more_where_asked(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, PLAIN + "stop X\n\n" * 9, balance=1.0, label_smoothing=0.2)
    head, counts = problem.model.head, Counter(tag for e in problem.examples["train"] for tag in e.y)
    assert head.label_smoothing == 0.2 and counts["X"] < counts["DET"] / 3
    weights = [counts.total() / 4 / counts[tag] for tag in ("DET", "NOUN", "VERB", "X")]
    assert head.class_weights.tolist() == pytest.approx(weights)
    spans = problem_of(tmp_path, balance=0.5, crf=False)
    assert torch.isfinite(spans.loss(spans.batch(0, 0), None).loss), "tags that training never met weigh something"
    for given in ({"balance": 0.5}, {"label_smoothing": 0.1}):
        with pytest.raises(UsageError, match=r"effect on tags judged one by one only[^?]*--no-crf"):
            problem_of(tmp_path, **given)


@pytest.mark.parametrize(
    "options", [{"letter_hidden_size": 0, "letter_size": 32}, {"crf": False}, {"bidirectional": False}]
)
def test_variants_train_and_come_back(options: dict[str, Any], tmp_path: Path) -> None:
    problem = problem_of(tmp_path, **options)
    batch = problem.batch(0, 0)
    problem.loss(batch, None).loss.backward()
    silent = [name for name, p in problem.model.named_parameters() if p.grad is None]
    assert silent == []
    problem.save_model(tmp_path / "model")
    model = load(tmp_path / "model")
    assert isinstance(model, SupervisedModel)
    assert model.evaluate(tmp_path / "data.conll")["examples"] == 150


def test_a_tag_that_states_no_span_is_never_answered(tmp_path: Path) -> None:
    """An untrained CRF with its rules: I never follows O, and every span that begins ends."""
    problem = problem_of(tmp_path)
    problem.model.eval()
    problem.save_model(tmp_path / "model")
    model = load(tmp_path / "model")
    assert isinstance(model, SupervisedModel)
    for answer in model.judge(tmp_path / "data.conll").answers:
        for before, tag in zip(["O", *answer["tags"]], answer["tags"], strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_metrics_by_hand() -> None:
    task: Any = TASKS["tagging"]
    answers = [{"tags": ["B-per", "O", "B-loc", "I-loc"], "spans": []}, {"tags": ["O"], "spans": []}]
    found = task.measure(answers, [["B-per", "O", "B-loc", "O"], ["B-per"]])
    # Found (0,1 per), (2,4 loc); true (0,1 per), (2,3 loc), (0,1 per): one of two is right, one of three is found.
    assert found == pytest.approx({"span_f1": 0.4, "precision": 0.5, "recall": 1 / 3, "accuracy": 0.6})


def test_spans_are_shown() -> None:
    words, spans = (
        ["Ada", "<", "New", "York"],
        [{"first": 0, "last": 0, "label": "per"}, {"first": 2, "last": 3, "label": "loc"}],
    )
    assert coloured(words, spans, colour=False) == "[Ada](per) < [New York](loc)"
    assert coloured(words, spans, colour=True).count("\x1b[0m") == 2


def test_the_page_shows_words_as_text(tmp_path: Path) -> None:
    examples = [Example("x", ("<i>", "Oslo"))]
    page = write_marked_texts(examples, [{"spans": [{"first": 1, "last": 1, "label": "a&b"}]}], tmp_path / "p.html")
    text = page.read_text("utf-8")
    assert "<i>" not in text and "a&amp;b" in text and "Oslo<small>" in text
    assert "class=" not in text.split("<h1>")[1], "nobody knows what is right"


def test_the_page_marks_right_wrong_and_missed_spans(tmp_path: Path) -> None:
    words = ("Ada", "saw", "New", "York", "and", "Bob", "Lee", "in", "Rome")
    true = ("B-per", "O", "B-loc", "I-loc", "O", "B-per", "I-per", "O", "B-loc")
    said = [(0, 0, "per"), (2, 3, "org"), (6, 6, "per"), (7, 7, "loc")]
    spans = [dict(zip(("first", "last", "label"), span, strict=True)) for span in said]
    page = write_marked_texts([Example("x", words, true)], [{"spans": spans}], tmp_path / "p.html").read_text("utf-8")
    text = re.sub(r' style="[^"]*"', "", page.split("<p>")[-1])
    assert "<mark class=right>Ada<small>per</small></mark>" in text
    assert "<mark class=wrong>New York<small>org</small><small class=not>true: New York loc</small></mark>" in text
    assert "and Bob <mark class=wrong>Lee<small>per</small><small class=not>true: Bob Lee per</small></mark>" in text
    assert "<mark class=wrong>in<small>loc</small></mark> <mark class=missed>Rome<small>loc</small></mark></p>" in text
    assert "answered, but wrong" in page


def test_rows_lead_back_to_the_text_and_are_read_again(tmp_path: Path) -> None:
    model = untrained(tmp_path)
    spans = [{"start": 3, "end": 6, "label": "person"}, {"start": 17, "end": 21, "label": "place"}]
    row = {"text": "\U0001f600  Ada's dog met Oslo.", "spans": spans}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    judged = model.judge(tmp_path / "a.jsonl")
    (said,) = documents(model.task, judged.examples, judged.answers, ("a.jsonl", tmp_path / "a.jsonl"))
    assert said["text"] == row["text"] and said["tokens"] == ["\U0001f600", "Ada", "'s", "dog", "met", "Oslo", "."]
    assert said["truth"] == ["O", "B-person", "O", "O", "O", "B-place", "O"]
    assert said["spans"], "an untrained model that says something"
    for span in said["spans"]:
        words = said["tokens"][span["first"] : span["last"] + 1]
        assert said["text"][span["start"] : span["end"]] == span["text"] and "".join(words) == span["text"].replace(
            " ", ""
        )
    (tmp_path / "predictions.jsonl").write_text(json.dumps(said) + "\n", encoding="utf-8")
    (again,) = model.read(tmp_path / "predictions.jsonl", model.reading())
    assert again.x == judged.examples[0].x and list(again.y) == said["tags"]
    assert with_places(again.x).places == with_places(judged.examples[0].x).places


def test_plain_tags_that_look_like_spans_stay_as_they_are_in_rows(tmp_path: Path) -> None:
    text = "a B-nn\nb E-nn\n\nx B-vv\ny M-vv\nz E-vv\n\n" * 4  # words of characters: M-vv is no tag of a span
    model = untrained(tmp_path, text)
    judged = model.judge(tmp_path / "data.conll")
    rows = documents(model.task, judged.examples, judged.answers, ("data.conll", tmp_path / "data.conll"))
    assert [row["truth"] for row in rows[:2]] == [["B-nn", "E-nn"], ["B-vv", "M-vv", "E-vv"]]
    pairs = [pair for row in rows for pair in zip(row["tags"], row["truth"], strict=True)]
    assert sum(said == true for said, true in pairs) / len(pairs) == judged.metrics["accuracy"]


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letter_size has no effect"):
        TaggingOptions(letter_hidden_size=0, letter_size=5)
    problem = problem_of(tmp_path)
    problem.save_model(tmp_path / "model")
    model = load(tmp_path / "model")
    assert isinstance(model, SupervisedModel)
    with pytest.raises(DataError, match="input 1: must be a sequence of words"):
        model.predict(["one text"])
    (tmp_path / "more.conll").write_text("x B-ship\n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"more\.conll:1: label must be one that training met"):
        model.judge(tmp_path / "more.conll")


def test_a_tag_that_states_no_span_among_those_that_do_is_told_or_skipped(tmp_path: Path) -> None:
    for tag in ("X-person", "B-"):
        write_entities(tmp_path / "good.conll", 30)
        text = (tmp_path / "good.conll").read_text("utf-8") + f"\nAda O\nmet {tag}\n"
        first = text.count("\n") - 1
        where = rf"data\.conll:{first}: tag of 'met', word 2 of the sentence, must be O, or B-.*{tag}"
        with pytest.raises(DataError, match=where):
            problem_of(tmp_path, text, validation_fraction=0.2)
        problem = problem_of(tmp_path, text, on_error="skip")
        assert isinstance(problem.model.head, CrfHead) and len(problem.rejects) == 1
        assert problem.setting.codecs["tags"].size == 9, "O, and four tags of two kinds"
    (tmp_path / "one.conll").write_text("Oslo X-place\n", encoding="utf-8")
    model = SupervisedModel(problem.task, problem.model, problem.setting)
    with pytest.raises(DataError, match=r"one\.conll:1: tag of 'Oslo'"):
        model.judge(tmp_path / "one.conll", model.reading({"on_error": "stop"}))


def test_what_training_prints_tells_a_crf_from_a_softmax(tmp_path: Path) -> None:
    assert ", crf, " in problem_of(tmp_path).summary()[1]
    assert ", softmax a word, " in problem_of(tmp_path, crf=False).summary()[1]
    odd = "the O\ncat X-FOO\n\na O\ndog S\n\n" * 9
    assert ", softmax a word, " in problem_of(tmp_path, odd).summary()[1], "legal, though it looks like spans"


def test_one_tag_is_nothing_to_learn(tmp_path: Path) -> None:
    for tag in ("NN", "O", "B-x"):
        with pytest.raises(DataError, match=rf"labels: must be at least 2 to tell apart.*{tag}"):
            problem_of(tmp_path, f"the {tag}\ncat {tag}\n\n" * 9)
