"""Tables of labels of FASTA files: they belong to data, never to a model; ids of sequences; the picture of bases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from elman.cli import main
from elman.tasks.base_tracks_picture import Track, draw_tracks

LETTERS = ["ACGTACGTAC", "TTTTTATTTT", "ACGAACGTGC", "TTATTATTAT", "ACGTCCGTAC", "TTTTGATTTT"]
LABELS = ["a", "t", "a", "t", "a", "t"]
TRAIN = [
    "--epochs", "1", "--hidden-size", "2", "--filters", "0", "--octaves", "0", "--threads", "1", "--json", "--quiet",
    "--validation-fraction", "0.4",
]  # fmt: skip


def loud(words: list[str]) -> list[str]:
    return [word for word in words if word != "--quiet"]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    found = capsys.readouterr()
    return code, found.out, found.err


def documents(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def fasta(path: Path, letters: list[str]) -> Path:
    path.write_text("".join(f">r{n}\n{text}\n" for n, text in enumerate(letters)), encoding="ascii")
    return path


def table(path: Path, labels: list[str]) -> Path:
    path.write_text("id,label\n" + "".join(f"r{n},{label}\n" for n, label in enumerate(labels)), encoding="ascii")
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """train.fa and other.fa with the same ids; right.csv are the labels of the first, wrong.csv of the other."""
    monkeypatch.chdir(tmp_path)
    fasta(tmp_path / "train.fa", LETTERS)
    fasta(tmp_path / "other.fa", LETTERS[1:] + LETTERS[:1])
    table(tmp_path / "right.csv", LABELS)
    table(tmp_path / "wrong.csv", LABELS[1:] + LABELS[:1])
    rows = "".join(f"{text},{label}\n" for text, label in zip(LETTERS, LABELS, strict=True))
    (tmp_path / "own.csv").write_text("sequence,label\n" + rows, encoding="ascii")
    return tmp_path


def test_a_table_of_labels_belongs_to_the_data(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "right.csv").write_text((data / "right.csv").read_text("ascii") + "ghost,t\n", encoding="ascii")
    code, _, err = run(capsys, "train", "dna", "train.fa", "--labels", "right.csv", *loud(TRAIN), "-o", "m")
    assert code == 0, err
    assert (
        f"note: labels of {data}/right.csv without a usable sequence in {data}/train.fa: 1, the first: ghost\n" in err
    )
    assert "labels" not in json.loads((data / "m" / "config.json").read_text("utf-8"))["model"]
    accuracy = documents(capsys, "evaluate", "m", "own.csv")["accuracy"]
    for labels in ("right.csv", "wrong.csv"):
        found = documents(capsys, "evaluate", "m", "other.fa", "--labels", labels)
        assert found["accuracy"] == pytest.approx(accuracy if labels == "wrong.csv" else 1 - accuracy)
    (data / "right.csv").unlink()
    code, _, err = run(capsys, "evaluate", "m", "other.fa")
    assert code != 0 and "got one FASTA file without a table of labels" in err and "--labels TABLE" in err
    assert len(documents(capsys, "predict", "m", "train.fa")["answers"]) == 6
    code, _, err = run(capsys, "evaluate", "m", "own.csv", "--labels", "wrong.csv")
    assert code != 0 and "a table of labels goes with one FASTA file; own.csv says its own labels" in err


def test_an_area_that_is_not_defined_does_not_end_the_run(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "one.csv").write_text("sequence,label\nACGTACGTAC,a\nACGTACGTAA,a\n", encoding="ascii")
    code, _, err = run(capsys, "train", "dna", "own.csv", "--validation", "one.csv", *loud(TRAIN[:-2]), "-o", "m")
    assert code == 0 and "done after" in err and "auroc nan" in err.split("done after")[1], err


def test_each_part_of_the_data_has_a_table_of_its_own(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "dna", "train.fa", "--labels", "right.csv", *TRAIN[:-2]]
    code, _, err = run(capsys, *train, "--test", "other.fa", "-o", "m0")
    assert code != 0 and "other.fa: must have a label a sequence" in err and "--test-labels" in err
    for name, further in (("m1", ["own.csv"]), ("m2", ["other.fa", "--test-labels", "wrong.csv"])):
        found = documents(capsys, *train, "--validation", "own.csv", "--test", *further, "-o", name)
        assert found["test"]["accuracy"] == found["best"]["accuracy"], "the same sequences with the same labels"
    code, _, err = run(capsys, *train, "--test-labels", "wrong.csv", "-o", "m3")
    assert code != 0 and "--test-labels has an effect with --test only; got it alone" in err


def test_an_old_model_folder_does_not_bring_its_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from elman.tasks import load
    from elman.tasks.supervised_model import SupervisedModel

    assert run(capsys, "train", "dna", "own.csv", *TRAIN, "-o", "m")[0] == 0
    config = json.loads((data / "m" / "config.json").read_text("utf-8"))
    config["model"]["labels"] = str(data / "right.csv")
    (data / "m" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = load(data / "m")
    assert isinstance(model, SupervisedModel) and model.setting.config.labels is None


def test_other_tasks_refuse_a_table_of_labels(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", "text-classification", "own.csv", "--column", "text=sequence", *TRAIN[:4], "-q",
               "--validation-fraction", "0.4", "-o", "m")[0] == 0  # fmt: skip
    code, _, err = run(capsys, "evaluate", "m", "own.csv", "--labels", "right.csv")
    assert code != 0 and "--labels has no effect on a model of text-classification" in err


def test_answers_name_the_sequence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", "dna", "own.csv", *TRAIN, "-o", "m")[0] == 0
    answers = documents(capsys, "predict", "m", "train.fa", "-o", "out")["answers"]
    kept = [json.loads(line) for line in (data / "out" / "predictions.jsonl").read_text("utf-8").splitlines()]
    for said in (answers, kept):
        assert [(a["id"], a["where"]) for a in said] == [(f"r{n}", f"train.fa:{2 * n + 1}") for n in range(6)]
    for source, name in (("train.fa", "r1"), ("own.csv", "own.csv:3")):
        cells = run(capsys, "predict", "m", source)[1].splitlines()[1].split("\t")
        assert cells[0] in ("a", "t") and 0.5 <= float(cells[1]) <= 1 and cells[2:] == [name, LETTERS[1]]


def test_answers_of_bases_are_drawn(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{text},{'x' * 5}{'y' * 5}\n" for text in LETTERS)
    (data / "bases.csv").write_text("sequence,labels\n" + rows, encoding="ascii")
    code, _, err = run(capsys, "train", "dna", "bases.csv", *loud(TRAIN), "-o", "m")
    assert code == 0 and "bases/s" in err and "examples/s" not in err
    for verb, source in (("evaluate", "bases.csv"), ("predict", "train.fa")):
        code, _, err = run(capsys, verb, "m", source, "-o", verb)
        assert code == 0 and f"drawn: {verb}/bases.png" in err


@pytest.mark.parametrize("length", [12, 3000])
def test_bars_of_bases_have_the_colour_of_their_label_and_its_share(length: int, tmp_path: Path) -> None:
    """Half the bases are of one label with probability 1, half of the other with 0.5: areas stand as 2 to 1."""
    half = length // 2
    track = Track("s", "A" * length, ["x"] * half + ["y"] * half, [1.0] * half + [0.5] * half)
    pixels = (imread(draw_tracks([track], ["x", "y"], tmp_path / "a.png"))[..., :3] * 255).round()[40:]
    first, second = (int((pixels == colour).all(axis=2).sum()) for colour in np.array([[47, 111, 183], [224, 161, 0]]))
    assert second > 1000 and first / second == pytest.approx(2, rel=0.05)
