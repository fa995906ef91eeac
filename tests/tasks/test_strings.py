"""Short strings by class: the loss by hand, strings drawn as the model says, and names told from each other."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
import torch

from elman.cells import cells
from elman.cli import main
from elman.errors import DataError, UsageError
from elman.readers import Example, Reading, Rejects
from elman.tasks import load
from elman.tasks.generated import write_names
from elman.tasks.strings import ANY, Strings, StringsOptions
from elman.tasks.supervised import Setting

EXAMPLES = [Example("a", "red", "abba"), Example("b", "red", "ab"), Example("c", "blue", "ca")]


def setting(**options) -> Setting[StringsOptions]:
    config = StringsOptions(hidden_size=5, embedding_size=3, **options)
    return Setting(config, Strings().fit(EXAMPLES, config), cells["lstm"])


def read(path: Path, labelled: bool = True, **options) -> list[tuple[str, str | None]]:
    task = Strings()
    return [(e.x, e.y) for e in task.read(path, Reading(labelled=labelled, **options), StringsOptions())]


def test_strings_of_a_folder_are_of_the_classes_of_its_files(tmp_path):
    (tmp_path / "red.txt").write_text("abba\nab\n")
    (tmp_path / "blue.txt").write_text("ca\n")
    assert read(tmp_path) == [("blue", "ca"), ("red", "abba"), ("red", "ab")]


def test_strings_of_one_file_are_of_one_class_and_those_to_write_are_classes(tmp_path):
    (tmp_path / "a.txt").write_text("red\nblue two\n")
    assert read(tmp_path / "a.txt") == [(ANY, "red"), (ANY, "blue two")]
    assert read(tmp_path / "a.txt", labelled=False) == [("red", None), ("blue two", None)]
    assert read(tmp_path / "a.txt", form="lines") == [(ANY, "red"), (ANY, "blue two")]


@pytest.mark.parametrize("label", ["", " "])
def test_where_strings_have_classes_one_without_is_refused(tmp_path, label):
    (tmp_path / "a.csv").write_text(f"text,label\nabba,red\nca,{label}\n")
    with pytest.raises(DataError, match=r"a\.csv:3: must have a label, as other strings have; got none"):
        read(tmp_path / "a.csv")
    rejects = Rejects(skip=True)
    assert read(tmp_path / "a.csv", rejects=rejects) == [("red", "abba")] and len(rejects) == 1


def test_loss_counts_letters_and_the_end(tmp_path):
    made, task = setting(), Strings()
    network = task.network(made, seed=0).eval()
    x, y = task.collate([task.encode(e, made) for e in EXAMPLES], made)
    total = 0.0
    for row, example in enumerate(EXAMPLES):
        state, token = network.begin(x[row : row + 1]), network.boundary
        for wanted in [*made.codecs["letters"].encode(example.y), network.boundary]:
            logits, state = network.step(torch.tensor([token]), state)
            total -= float(torch.log_softmax(logits[0].detach(), 0)[wanted])
            token = wanted
    loss = network.loss(x, y)
    assert loss.items == 4 + 2 + 2 + 3
    assert float(loss.nats.detach()) == pytest.approx(total, rel=1e-5)


def test_the_same_string_of_another_class_is_another_example():
    task = Strings()
    assert task.identity(EXAMPLES[0]) != task.identity(Example("d", "blue", "abba"))
    assert task.identity(EXAMPLES[0]) == task.identity(Example("d", "red", "abba"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("strings")
    write_names(folder / "names", 120)
    words = ["train", "strings", folder / "names", "-o", folder / "model", "--hidden-size", "48", "--quiet"]
    words += ["--epochs", "25", "--learning-rate", "0.01", "--dropout", "0", "--batch-size", "20"]
    assert main([str(word) for word in words]) == 0
    return folder


def sampled(trained: Path, capsys, *words: object) -> list[dict[str, str]]:
    capsys.readouterr()
    assert main([str(word) for word in ("sample", trained / "model", "--json", *words)]) == 0
    return json.loads(capsys.readouterr().out)["samples"]


def test_it_learns_names_that_are_made_of_few_syllables(trained):
    """A name is one of 5 * 2 * 4 or so, all as probable; its letters, its end counted, need ln(40) / 8 nats each."""
    names = [line for file in (trained / "names").iterdir() for line in file.read_text().split()]
    bound = math.log(50) / (sum(map(len, names)) / len(names) + 1)
    assert load(trained / "model").evaluate(trained / "names")["loss"] < bound + 0.1


def test_names_of_a_class_are_of_its_syllables(trained, capsys):
    samples = sampled(trained, capsys, "--label", "machines", "--samples", "40")
    known = set((trained / "names" / "machines.txt").read_text().split())
    others = {name for kind in ("rivers", "stars") for name in (trained / "names" / f"{kind}.txt").read_text().split()}
    assert {sample["label"] for sample in samples} == {"machines"}
    assert sum(sample["text"] in known for sample in samples) > 20
    assert not others & {sample["text"] for sample in samples}


def test_without_a_class_all_are_written_in_turn(trained, capsys):
    samples = sampled(trained, capsys, "--samples", "4")
    assert [sample["label"] for sample in samples] == ["machines", "rivers", "stars", "machines"]


def test_without_a_class_the_most_probable_string_of_each_is_written(trained, capsys):
    samples = sampled(trained, capsys, "--samples", "3", "--greedy")
    assert [sample["label"] for sample in samples] == ["machines", "rivers", "stars"]
    (one,) = sampled(trained, capsys, "--label", "stars", "--greedy")
    assert samples[2] == one


def test_a_sample_depends_on_seed_and_number_and_goes_on_from_a_prompt(trained, capsys):
    first = sampled(trained, capsys, "--label", "stars", "--samples", "3", "--seed", "5")
    assert first[:2] == sampled(trained, capsys, "--label", "stars", "--samples", "2", "--seed", "5")
    (one,) = sampled(trained, capsys, "--label", "stars", "--prompt", "Beta", "--greedy")
    assert one["text"].startswith("Beta") and len(one["text"]) > 4


def test_predict_gives_the_most_probable_strings_of_a_class(trained, capsys, tmp_path):
    (tmp_path / "classes.txt").write_text("rivers\nstars\n")
    assert main(["predict", str(trained / "model"), str(tmp_path / "classes.txt"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    for answer, kind in zip(answers, ("rivers", "stars"), strict=True):
        assert len(answer["n_best"]) == 5
        logs = [found["log_probability"] for found in answer["n_best"]]
        assert logs == sorted(logs, reverse=True)
        assert answer["text"] in (trained / "names" / f"{kind}.txt").read_text().split()


def test_an_empty_line_gets_an_empty_answer_and_n_best_says_how_many_strings_are_shown(trained, capsys, tmp_path):
    (tmp_path / "classes.txt").write_text("rivers\n\nstars\n")
    assert main(["predict", str(trained / "model"), str(tmp_path / "classes.txt")]) == 0
    one, empty, two = capsys.readouterr().out.splitlines()
    assert one.startswith("rivers\t") and empty == "" and two.startswith("stars\t")
    assert main(["predict", str(trained / "model"), str(tmp_path / "classes.txt"), "--n-best", "2"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["rivers", "rivers", "", "stars", "stars"]
    assert [rows[0][2], rows[1][2]] == one.split("\t")[1].split(", ")[:2]
    assert float(rows[0][1]) >= float(rows[1][1])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--label", "river"], "did you mean 'rivers'"),
        (["--prompt", "%"], "must use letters that training met; got '%'"),
        (["--tempo", "60"], "--tempo has no effect on a model of strings"),
        (["-o", "folder"], "--output has no effect on a model of strings"),
        (["--greedy", "--label", "stars", "--samples", "2"], "samples: greedy draws nothing, so there must be at most"),
        (["--greedy", "--samples", "4"], "there must be at most one a class; got 4"),
        (["--greedy", "--seed", "3", "--temperature", "2"], "draws nothing, so --temperature, --seed would have no"),
    ],
)
def test_options_that_do_not_fit(trained, capsys, words, problem):
    assert main(["sample", str(trained / "model"), *words]) != 0
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["predict", "--symbol-bonus", "1"], "elman predict: --symbol-bonus has no effect on a model of strings"),
        (["evaluate", "-", "--alpha", "1"], "elman evaluate: --alpha has no effect on a model of strings"),
        (["score"], "must be a language model; it is of strings\n\nhint: use elman predict or elman evaluate"),
        (["diagnose"], "must be a language model; it is of strings\n\nhint: elman diagnose --cell NAME shows"),
    ],
)
def test_what_other_tasks_do_is_refused(trained, capsys, monkeypatch, words, problem):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"rivers\n")))
    assert main([words[0], str(trained / "model"), *words[1:]]) == 2
    assert problem in capsys.readouterr().err


def test_stdin_without_an_example_is_called_stdin(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert main(["predict", str(trained / "model"), "-"]) == 65
    assert "error: stdin: must hold at least one example" in capsys.readouterr().err


def test_from_python_what_is_not_given_is_named(trained):
    model = load(trained / "model")
    with pytest.raises(UsageError, match=r"must be given length, samples, prompt, .*, label; got length"):
        model.sample(length=5)
    with pytest.raises(UsageError, match="inputs: must be a list; got one text, 'rivers'"):
        model.predict("rivers")


def test_several_answers_are_refused_where_evaluate_shows_none(trained, capsys, tmp_path):
    words = ["evaluate", str(trained / "model"), str(trained / "names"), "--n-best", "2"]
    assert main(words) != 0
    assert "--n-best: has no effect where no answers are kept" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "answers")]) == 0


def test_bidirectional_is_no_option():
    with pytest.raises(UsageError, match="bidirectional"):
        Strings().network(setting(), 0).__class__(2, 5, bidirectional=True)


def test_names_are_told_from_each_other_by_text_classification(trained, tmp_path):
    words = ["train", "text-classification", trained / "names", "-o", tmp_path / "which", "--level", "character"]
    words += ["--hidden-size", "32", "--embedding-size", "24", "--epochs", "12", "--learning-rate", "0.01", "--quiet"]
    words += ["--dropout", "0", "--batch-size", "20"]
    assert main([str(word) for word in words]) == 0
    assert load(tmp_path / "which").evaluate(trained / "names")["accuracy"] > 0.95
