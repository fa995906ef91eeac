"""Text classification: learns, answers alone as in a batch, comes back from its folder, explains itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score

from elman.errors import DataError, DivergedError, ModelFileError, UsageError
from elman.model_folder import read_model_folder, write_model_folder
from elman.readers import Example
from elman.tasks import TASKS, load
from elman.tasks.classes import class_answers, class_metrics
from elman.tasks.generated import write_reviews
from elman.tasks.supervised import padded
from elman.tasks.supervised_model import SupervisedModel
from elman.tasks.supervised_problem import CODECS
from elman.tasks.text_classification import TextClassification, TextClassificationOptions, TextClassificationTraining
from elman.tasks.words_that_mattered import coloured, weighed, write_weighed_texts
from elman.training import RunFolder, train

SMALL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "dropout": 0.1, "input_dropout": 0.1}


def problem_of(folder: Path, count: int = 200, **options: Any) -> Any:
    write_reviews(folder / "reviews.csv", count)
    config = TextClassificationOptions(**{**SMALL, **options})
    return TASKS["text-classification"].problem(folder / "reviews.csv", config, 0, folder)


def saved(folder: Path, **options: Any) -> SupervisedModel:
    problem = problem_of(folder, **options)
    problem.model.eval()
    problem.save_model(folder / "model")
    model = load(folder / "model")
    assert isinstance(model, SupervisedModel)
    return model


def test_it_learns_what_the_reviews_mean(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 300, cell="gru", pooling="last", batch_size=16)
    before = problem.evaluate()
    training = TextClassificationTraining(epochs=8, learning_rate=0.02, warmup_steps=5)
    with RunFolder.create(tmp_path / "run", task="text-classification", config={"seed": 0}, data={}) as run:
        result = train(problem, training, run)
    assert before["accuracy"] < 0.75 < 0.97 <= result.best["accuracy"]
    model = load(tmp_path / "run")
    assert isinstance(model, SupervisedModel)
    # Which word stands where decides: both opinions occur in both.
    texts = ["the film was not dull , it was a joy", "the film was not a joy , it was dull"]
    assert [answer["label"] for answer in model.predict(texts)] == ["positive", "negative"]


@pytest.mark.parametrize("pooling", ["last", "max", "attention"])
def test_the_folder_gives_back_the_same_answers(pooling: str, tmp_path: Path) -> None:
    problem = problem_of(tmp_path, pooling=pooling, dense=(6,), level="character")
    problem.save_model(tmp_path / "model")
    model = load(tmp_path / "model")
    assert isinstance(model, SupervisedModel)
    judged = model.judge(tmp_path / "reviews.csv")
    problem.model.eval()
    items = [problem.task.encode(example, problem.setting) for example in judged.examples]
    x, _ = problem.task.collate(items, problem.setting)
    with torch.no_grad():
        wanted = problem.task.answers(problem.model, x, problem.setting)
    assert [a["label"] for a in judged.answers] == [a["label"] for a in wanted]


def test_an_answer_does_not_depend_on_what_else_is_asked(tmp_path: Path) -> None:
    model = saved(tmp_path)
    texts = [example.x for example in model.read(tmp_path / "reviews.csv", model.reading())][:20]
    together = model.predict(texts)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = model.predict([text])
        assert alone["label"] == answer["label"]
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)


def test_metrics_equal_those_of_another_library() -> None:
    draws = torch.Generator().manual_seed(0)
    truth, said = (["abc"[n] for n in torch.randint(3, (50,), generator=draws).tolist()] for _ in range(2))
    found = class_metrics([{"label": label} for label in said], truth)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in zip(said, truth, strict=True)) / 50)


def test_rare_labels_weigh_more_where_asked(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("label,text\n" + "a,x\n" * 30 + "b,y\n" * 10, encoding="utf-8")
    config = TextClassificationOptions(**SMALL, balance=1.0, validation_fraction=0.2)
    problem = TASKS["text-classification"].problem(tmp_path / "few.csv", config, 0, tmp_path)
    head: Any = problem.model.head
    assert float(head.class_weights[1] / head.class_weights[0]) == pytest.approx(3.0)


# ---- words that mattered


def test_words_that_mattered_are_gradient_times_input(tmp_path: Path) -> None:
    """The derivative along the vectors themselves, by central differences of the logits."""
    model = saved(tmp_path)
    network: Any = model.network.double()
    text = "the film was dull"
    weights = [weight for _, weight in weighed(model, text)]
    numbers = torch.tensor(model.setting.codecs["vocabulary"].encode(text.split()))
    vectors = network.encoder.inputs(padded([numbers])).values.detach()

    def margin(x: torch.Tensor) -> float:
        y, _ = network.encoder.recurrent(x, torch.tensor([4]))
        logits = network.head(network.top(network.pooling(y, torch.tensor([4]))))[0]
        return float((logits.max() - logits.mean()).detach())

    slopes = []
    for t in range(4):
        step = torch.zeros_like(vectors)
        step[0, t] = 1e-5 * vectors[0, t]
        slopes.append((margin(vectors + step) - margin(vectors - step)) / 2e-5)
    largest = max(map(abs, slopes))
    assert weights == pytest.approx([slope / largest for slope in slopes], abs=1e-5)


def test_words_are_shown_where_they_stand(tmp_path: Path) -> None:
    model = saved(tmp_path)
    text = "a <b>dull</b>  film"
    plain = coloured(weighed(model, text), text)
    for code in ("\x1b[32m", "\x1b[31m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == text
    example = Example("x", text, "positive")
    page = write_weighed_texts(model, [example], model.predict([text]), tmp_path / "words.html").read_text("utf-8")
    assert "<b>dull" not in page and "dull</span>" in page


# ---- what cannot be used


def test_a_label_that_training_did_not_meet_is_told_with_its_line(tmp_path: Path) -> None:
    model = saved(tmp_path)
    (tmp_path / "more.csv").write_text("label,text\npositive,fine\nneutral,so so\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"more\.csv:3: label must be one that training met"):
        model.judge(tmp_path / "more.csv")
    how = model.reading({"on_error": "skip"})
    assert len(model.judge(tmp_path / "more.csv", how).examples) == 1
    assert [row["where"] for row in how.rejects.rows] == [f"{tmp_path / 'more.csv'}:3"]


def test_a_column_that_is_named_for_lines_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path)
    (tmp_path / "lines.txt").write_text("so so\n", encoding="utf-8")
    with pytest.raises(UsageError, match="column: has no effect on format lines, which has no columns; got 'text'"):
        model.read(tmp_path / "lines.txt", model.reading({"column": {"text": "review"}}, labelled=False))
    assert len(model.read(tmp_path / "lines.txt", model.reading(labelled=False))) == 1


def test_a_vocabulary_that_could_not_be_read_again_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.model_folder.JSON_LIMIT", 300)
    with pytest.raises(UsageError, match=rf"{CODECS}: must have at most 300 bytes, or it could not be read"):
        problem_of(tmp_path)


def test_one_label_is_nothing_to_learn(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("label,text\n" + "a,x\n" * 30, encoding="utf-8")
    with pytest.raises(DataError, match="must be at least 2"):
        TASKS["text-classification"].problem(tmp_path / "one.csv", TextClassificationOptions(), 0, tmp_path)


def test_word_vectors_begin_the_matrix_and_must_fit(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("film 1 2 3\nunseen 4 5 6\n", encoding="utf-8")
    problem = problem_of(tmp_path, vectors=tmp_path / "v.txt", embedding_size=3)
    vocabulary, weight = problem.setting.codecs["vocabulary"], problem.model.encoder.inputs.weight
    assert weight[vocabulary.encode(["film", "unseen"])].tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(UsageError, match="embedding_size: must be 3"):
        problem_of(tmp_path, vectors=tmp_path / "v.txt")
    problem.save_model(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "nothing but the examples it was trained on and the word vectors that it began with." in card


SPOILT = [
    "other labels",
    "no labels",
    "labels are no codec",
    "labels of no kind",
    "a task of chess",
    "an init of lists",
]


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_model_folder_is_told(spoilt: str, tmp_path: Path) -> None:
    saved(tmp_path)
    config, tensors = read_model_folder(tmp_path / "model")
    codecs = json.loads((tmp_path / "model" / CODECS).read_text("utf-8"))
    if spoilt == "no labels":
        del codecs["labels"]
    if spoilt == "labels of no kind":
        codecs["labels"] = {"kind": ["labels"]}
    if spoilt == "an init of lists":
        config["cell"]["init"] = {"b_f": [1]}
    if spoilt == "other labels":
        codecs["labels"] = {"kind": "labels", "names": ["positive"]}
    if spoilt == "labels are no codec":
        codecs["labels"] = {"kind": "os.system"}
    if spoilt == "a task of chess":
        config["task"] = "chess"
    write_model_folder(tmp_path / "spoilt", config, tensors, {CODECS: json.dumps(codecs)})
    with pytest.raises(ModelFileError):
        load(tmp_path / "spoilt")


def test_a_model_that_diverged_gives_no_answer(tmp_path: Path) -> None:
    """Training never writes one; a folder of elsewhere may hold it, and its answer was the first label."""
    saved(tmp_path)
    config, tensors = read_model_folder(tmp_path / "model")
    tensors["head.bias"][0] = torch.nan
    codecs = (tmp_path / "model" / CODECS).read_bytes()
    write_model_folder(tmp_path / "model", config, tensors, {CODECS: codecs})
    with pytest.raises(DivergedError, match=r"tensor 'head\.bias' must hold finite numbers; got nan"):
        load(tmp_path / "model")


def test_the_most_probable_label_is_the_answer() -> None:
    from elman.codecs.labels import Labels

    (answer,) = class_answers(torch.tensor([[0.2, 0.5, 0.3]]), Labels(["a", "b", "c"]))
    assert answer["label"] == "b"
    assert answer["probabilities"] == pytest.approx({"a": 0.2, "b": 0.5, "c": 0.3})


def test_training_alone_forgets_words(tmp_path: Path) -> None:
    problem = problem_of(tmp_path)
    assert problem.model.encoder.inputs.forgetting is not None
    task = TextClassification()
    assert task.network(problem.setting, 0).encoder.inputs.forgetting is None


@pytest.mark.parametrize(("form", "mark"), [("label-first", ""), ("fasttext", "__label__")])
def test_the_form_of_lines_with_labels_is_that_of_training(form: str, mark: str, tmp_path: Path) -> None:
    """New texts have no label, whose place their first word would take."""
    (tmp_path / "d.txt").write_text(f"{mark}a good film\n{mark}b bad film\n" * 5, encoding="utf-8")
    config = TextClassificationOptions(**SMALL, format=form)
    TASKS["text-classification"].problem(tmp_path / "d.txt", config, 0, tmp_path).save_model(tmp_path / "model")
    (tmp_path / "new.txt").write_text("good film\nbad\n", encoding="utf-8")
    model = load(tmp_path / "model")
    assert isinstance(model, SupervisedModel)
    for path, given, texts in (
        ("new.txt", {}, ["good film", "bad"]),
        ("d.txt", {"format": form}, ["good film", "bad film"] * 5),
    ):
        assert [e.x for e in model.read(tmp_path / path, model.reading(given, labelled=False))] == texts
    assert model.evaluate(tmp_path / "d.txt")["examples"] == 10
