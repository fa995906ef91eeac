"""Translation: a text from a text is learnt, measured as sacrebleu does, searched for, shown and drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
from matplotlib.image import imread

from elman.cli import main
from elman.errors import UsageError
from elman.readers.pairs import read_pairs
from elman.tasks import TASKS, load
from elman.tasks.attention_picture import Look, draw_looks
from elman.tasks.supervised_model import SupervisedModel
from elman.tasks.translation import TranslationOptions, TranslationTraining, look
from elman.training import RunFolder, train

SMALL: dict[str, Any] = {
    "level": "character",
    "hidden_size": 24,
    "embedding_size": 16,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "label_smoothing": 0.0,
}
LETTERS = "abcde"


def strings(seed: int, count: int) -> Iterator[str]:
    draws = torch.Generator().manual_seed(seed)
    for _ in range(count):
        length = int(torch.randint(1, 5, (), generator=draws))
        yield "".join(LETTERS[n] for n in torch.randint(5, (length,), generator=draws).tolist())


def write(path: Path, seed: int, count: int) -> Path:
    path.write_text("".join(f"{text}\t{text[::-1]}\n" for text in strings(seed, count)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SupervisedModel:
    """A model that has learnt to reverse strings; its folder is model.folder."""
    folder = tmp_path_factory.mktemp("reverse")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    options = TranslationOptions(**SMALL, validation=write(folder / "validation.tsv", 1, 60))
    problem = TASKS["translation"].problem(write(folder / "train.tsv", 0, 1200), options, 0, folder)
    training = TranslationTraining(epochs=8, learning_rate=0.02, warmup_steps=10)
    with RunFolder.create(folder / "run", task="translation", config={"seed": 0}, data=problem.data) as run:
        train(problem, training, run)
    torch.set_num_threads(threads)
    loaded = load(folder / "run")
    assert isinstance(loaded, SupervisedModel)
    loaded.folder = folder  # type: ignore[attr-defined]
    return loaded


def test_strings_are_reversed(model: SupervisedModel, tmp_path: Path) -> None:
    metrics = model.evaluate(write(tmp_path / "test.tsv", 2, 100))
    assert metrics["exact_match"] >= 0.95
    assert set(metrics) == {"loss", "bleu", "chrf", "exact_match", "examples", "bleu_signature"}
    assert "tok:13a" in metrics["bleu_signature"] and "case:mixed" in metrics["bleu_signature"]


def test_metrics_are_those_of_sacrebleu() -> None:
    said, true = ["the cat sat on the mat .", "a dog"], ["the cat sat on a mat .", "The dog"]
    answers = [{"text": text} for text in said]
    metrics = TASKS["translation"].measure(answers, true)  # type: ignore[attr-defined]
    assert metrics["bleu"] == sacrebleu.corpus_bleu(said, [true], tokenize="13a", lowercase=False).score
    assert metrics["chrf"] == sacrebleu.corpus_chrf(said, [true]).score
    assert metrics["exact_match"] == 0.0


def test_answers_do_not_depend_on_who_else_is_asked(model: SupervisedModel) -> None:
    texts = ["abc", "e", "deab", "ccd"]
    together = model.predict(texts)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = model.predict([text])
        assert [b["text"] for b in alone["n_best"]] == [b["text"] for b in answer["n_best"]]
        assert alone["log_probability"] == pytest.approx(answer["log_probability"], abs=1e-4)
        assert len(answer["n_best"]) == 5 and answer["text"] == answer["n_best"][0]["text"]


def test_search_obeys_its_options(model: SupervisedModel) -> None:
    try:
        model.search(beam=3, n_best=2, normalisation="none")
        (answer,) = model.predict(["abcd"])
        assert len(answer["n_best"]) == 3
        assert all(best["score"] == best["log_probability"] for best in answer["n_best"])
        lines = model.task.show(model, "abcd", answer).splitlines()
        assert [line.split("\t")[1] for line in lines[:2]] == [b["text"] for b in answer["n_best"][:2]]
        model.search(n_best=6)
        with pytest.raises(UsageError, match="n_best: must be at most the beam, 5; got 6"):
            model.predict(["abcd"])
        with pytest.raises(UsageError, match="language_weight would have no effect on a model of translation"):
            model.search(language_weight=0.5)
        for wrong, message in (
            ({"beam": 0}, "search: beam: .*; got 0"),
            ({"alpha": 1.0, "normalisation": "none"}, "search: alpha has an effect with a normalisation only"),
        ):
            with pytest.raises(UsageError, match=message):
                model.search(**wrong)
    finally:
        model.search()


def test_the_decoder_looks_from_the_end_and_it_is_drawn(model: SupervisedModel, tmp_path: Path, capsys: Any) -> None:
    folder: Path = model.folder  # type: ignore[attr-defined]
    data = tmp_path / "strings.txt"
    data.write_text("abcd\n<b>\n", encoding="utf-8")
    assert main(["predict", str(folder / "run"), str(data), "--n-best", "2", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[0].split("\t")[1] == "dcba"
    assert (tmp_path / "out" / "attention-01.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "attention.html").read_text(encoding="utf-8")
    assert "dcba" in page and "&lt;b&gt;" in page and "<b>&lt;b" in page
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert rows[0]["text"] == "dcba" and rows[0]["where"].endswith("strings.txt:1")


def test_parallel_files_are_read_for_training_validation_and_evaluation(tmp_path: Path, capsys: Any) -> None:
    sides: dict[str, Path] = {}
    for part, seed, count in (("train", 0, 40), ("dev", 1, 10), ("test", 2, 10)):
        pairs = [(text, text[::-1]) for text in strings(seed, count)]
        for side, texts in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            sides[f"{part}.{side}"] = tmp_path / f"{part}.{side}"
            sides[f"{part}.{side}"].write_text("\n".join(texts) + "\n", encoding="utf-8")
    arguments = ["--level", "word", "--hidden-size", "4", "--embedding-size", "4", "--steps", "2", "-q"]
    for part, option in (("dev", "validation"), ("test", "test")):
        arguments += [f"--{option}", str(sides[f"{part}.en"]), f"--{option}-target", str(sides[f"{part}.de"])]
    run = tmp_path / "run"
    train_it = ["train", "translation", str(sides["train.en"]), "--target", str(sides["train.de"])]
    assert main([*train_it, *arguments, "-o", str(run)]) == 0
    kept = json.loads((run / "config.json").read_text())["model"]
    assert not {"target", "validation", "validation_target"} & set(kept)
    capsys.readouterr()
    asked = ["evaluate", str(run), str(sides["test.en"]), "--target", str(sides["test.de"]), "--json"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 10
    assert main(["evaluate", str(run), str(sides["test.en"])]) == 65
    said = capsys.readouterr().err
    assert "must be SOURCE<tab>TARGET; got 1 parts" in said and "name the file of targets: --target" in said
    assert main([*train_it, "--test-target", str(sides["test.de"]), "-o", str(tmp_path / "other")]) == 2
    assert "--test-target has an effect with --test only" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "attention": "multiplicative", "tied": False},
        {"layers": 3, "input_feeding": True, "bidirectional": False, "residual": True},
        {"level": "word", "min_count": 2, "scheduled_sampling": 0.3},
        {"level": "subword", "vocabulary_size": 270},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_has_a_network_that_learns(options: dict[str, Any], tmp_path: Path) -> None:
    small = {**SMALL, "hidden_size": 6, "embedding_size": 6, **options}
    if options.get("residual"):
        small["hidden_size"], small["embedding_size"] = 6, 12
    problem = TASKS["translation"].problem(write(tmp_path / "p.tsv", 0, 60), TranslationOptions(**small), 0, tmp_path)
    problem.loss(problem.batch(0, 0), None).loss.backward()
    assert all(p.grad is not None for p in problem.model.parameters())
    problem.model.eval()
    assert {"loss", "bleu", "chrf", "exact_match"} <= set(problem.evaluate())


@pytest.mark.data
def test_dates_of_the_public_set_are_read(data_folder: Path) -> None:
    how = TranslationOptions().reading()
    assert len(list(read_pairs(data_folder / "dates_synthetic" / "test.tsv", how))) == 1000


def test_a_decoder_of_words_never_writes_what_no_target_holds(tmp_path: Path) -> None:
    data = tmp_path / "pairs.tsv"
    data.write_text("ein Hund\ta dog\nein Haus\ta house\nder Hund\tthe dog\n" * 4, encoding="utf-8")
    options = TranslationOptions(**(SMALL | {"level": "word"}))
    problem = TASKS["translation"].problem(data, options, 0, tmp_path)
    with RunFolder.create(tmp_path / "run", task="translation", config={"seed": 0}, data=problem.data) as run:
        train(problem, TranslationTraining(steps=1), run)
    loaded: Any = load(tmp_path / "run")
    codec = loaded.setting.codecs["target"].codec
    with torch.no_grad():
        for token in (codec.unknown, codec.end):
            loaded.network.decoder.head.bias[token] = 20.0
    loaded.search(beam=8, n_best=8)
    (answer,) = loaded.predict(["ein Hund"])
    texts = [best["text"] for best in answer["n_best"]]
    assert len(texts) == 8 and not any("\n" in text or "<unk>" in text for text in texts)


def test_a_picture_shows_the_subwords_that_were_written(tmp_path: Path) -> None:
    """Without training the decoder cuts texts as nobody would; its picture is of these pieces all the same."""
    data = write(tmp_path / "pairs.tsv", 0, 200)
    options = TranslationOptions(**(SMALL | {"level": "subword", "vocabulary_size": 280}))
    problem = TASKS["translation"].problem(data, options, 0, tmp_path)
    with RunFolder.create(tmp_path / "run", task="translation", config={"seed": 0}, data=problem.data) as run:
        train(problem, TranslationTraining(steps=1), run)
    model: Any = load(tmp_path / "run")
    target = model.setting.codecs["target"]
    with torch.no_grad():  # single letters and the end are all that it likes to say
        liked = [target.codec.tokens.index(letter) for letter in LETTERS]
        model.network.decoder.head.bias[liked] = 20.0
        model.network.decoder.head.bias[-1] = 20.0
    (answer,) = model.predict(["abc"])
    for chosen in answer["n_best"]:
        seen = look(model, "abc", {**chosen, "n_best": answer["n_best"]})
        assert list(seen.said) == list(chosen["text"]) and len(seen.shares) == len(chosen["text"])


def test_the_picture_of_a_long_text_is_no_larger_than_one_can_look_at(tmp_path):
    sizes = []
    for count in (200, 3000):
        long = Look("source", [("b", -1.0)], ["a$"] * count, ["b"], [[1 / count] * count])
        (path,) = draw_looks([long], tmp_path)
        sizes.append(imread(path).shape)
    assert sizes[0] == sizes[1]
