"""Parts and groups divide data in training: later tables need none, and it is said what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Elman

SMALL = ("--epochs", 1, "--hidden-size", 4, "--level", "character", "--quiet")
PARTS = ("train", "train", "train", "train", "validation", "test", "test", "dev")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A table with a column of parts and one of groups; nothing in it is there twice."""
    rows = [f"{'good' if n % 2 else 'bad'} thing {n},{'yn'[n % 2]},{PARTS[n % 8]},g{n % 5}\n" for n in range(40)]
    (tmp_path / "texts.csv").write_text("text,label,split,who\n" + "".join(rows))
    (tmp_path / "new.csv").write_text("text,label\ngood day,n\nbad day,y\n")
    return tmp_path / "texts.csv"


@pytest.fixture
def model(texts: Path, elman: Elman) -> Path:
    """Trained on the table by its parts."""
    columns = ("--column", "part=split", "--column", "group=who")
    assert elman("train", "text-classification", texts, *columns, *SMALL, "-o", texts.parent / "m").code == 0
    return texts.parent / "m"


def test_tables_without_the_columns_that_divide_are_answered_and_measured(model: Path, elman: Elman) -> None:
    new = model.parent / "new.csv"
    assert elman("predict", model, new).code == 0
    found = elman("evaluate", model, new, "--json")
    assert found.code == 0 and json.loads(found.out)["examples"] == 2 and found.err == ""
    (model.parent / "odd.csv").write_text("text,split\ngood day,\nbad day,later\n")
    assert elman("predict", model, model.parent / "odd.csv").code == 0  # parts have no meaning for answers


def test_what_is_measured_is_the_test_and_it_is_said(model: Path, elman: Elman) -> None:
    table = model.parent / "texts.csv"
    found = elman("evaluate", model, table, "--json")
    assert (json.loads(found.out)["examples"], json.loads(found.out)["part"]) == (10, "test")
    assert found.err == "note: measured on the part test (10 of 40 examples); --part all measures all\n"
    for part, count, trained in (("all", 40, 20), ("train", 20, 20), ("validation", 10, 0), ("test", 10, 0)):
        found = elman("evaluate", model, table, "--part", part, "--json")
        assert json.loads(found.out)["examples"] == count
        flatter = f"note: {trained} of the {count} examples measured are of the part train: metrics flatter\n"
        assert found.err == (flatter if trained else "")
    for name, said in (("new.csv", "must say which examples are of the part test; got no parts"), ("train.csv", "got")):
        (model.parent / "train.csv").write_text("text,label,split\nx,y,train\n")
        found = elman("evaluate", model, model.parent / name, "--part", "test")
        assert found.code == 65 and said in found.err


def test_the_file_that_a_model_was_trained_on_is_known(texts: Path, elman: Elman) -> None:
    run = texts.parent / "run"
    assert elman("train", "text-classification", texts, *SMALL, "-o", run).code == 0
    assert "the model was trained on examples of this file: metrics flatter" in elman("evaluate", run, texts).err
    assert elman("evaluate", run, texts.parent / "new.csv").err == ""


def test_the_folder_that_a_model_was_trained_on_is_known(tmp_path: Path, elman: Elman) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    for label in ("good", "bad"):
        (data / label).mkdir(parents=True)
        for n in range(12):
            (data / label / f"{n}.txt").write_text(f"{label} thing {n}")
    assert elman("train", "text-classification", data, *SMALL, "-o", run).code == 0
    assert "the model was trained on examples of this folder: metrics flatter" in elman("evaluate", run, data).err
    (data / "bad" / "3.txt").write_text("bad thing 4")
    assert elman("evaluate", run, data).err == ""


def test_other_files_need_no_column_of_parts_and_give_their_own_part(texts: Path, elman: Elman) -> None:
    def trained(*options: object) -> tuple[int, str]:
        found = elman(
            "train", "text-classification", texts, "--column", "part=split", *SMALL[:-1], *options, "-o",
            texts.parent / "-".join(str(o).strip("-") for o in options if not isinstance(o, Path)),
        )  # fmt: skip
        return found.code, found.err

    new = texts.parent / "new.csv"
    code, said = trained("--test", new)
    assert code == 0 and "20 examples to train on, 10 to validate, 2 to test" in said
    assert "note: 10 examples of" in said and "another file holds the part they are of" in said
    code, said = trained("--validation", new)
    assert code == 0 and "20 examples to train on, 2 to validate, 10 to test" in said
    code, said = trained("--validation", texts, "--test", texts)  # their rows of other parts are left out
    assert code == 0 and "20 examples to train on, 10 to validate, 10 to test" in said


@pytest.mark.parametrize("key", ["part", "group"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_column_that_does_not_exist_is_named_with_those_that_do(
    key: str, form: str, texts: Path, elman: Elman
) -> None:
    (texts.parent / "t.jsonl").write_text('{"text": "x", "label": "y", "split": "train", "who": "g"}\n' * 9)
    table = texts if form == "csv" else texts.parent / "t.jsonl"
    found = elman("train", "text-classification", table, "--column", f"{key}=splt", *SMALL)
    assert found.code == 65 and "must have a column 'splt'; got 'text', 'label', 'split', 'who'" in found.err
    assert "did you mean 'split'?" in found.err and f"hint: name the column with --column {key}=split" in found.err


def test_steps_after_the_time_of_a_test_are_those_measured(tmp_path: Path, elman: Elman) -> None:
    table = tmp_path / "days.csv"
    days = [f"2024-{1 + n // 28:02}-{1 + n % 28:02},{n % 7},{(n % 7) ** 2}\n" for n in range(280)]
    table.write_text("day,a,b\n" + "".join(days))
    (tmp_path / "later.csv").write_text("day,a,b\n" + "".join(days[260:]))
    (tmp_path / "copy.csv").write_text("day,b,a\n" + "".join(days))  # another file
    usual = ("--column", "time=day", "--target", "b", "--epochs", 1, "--hidden-size", 4, "--window", 10, "--quiet")

    def measured(model: str, name: str, *options: str) -> tuple[int, str]:
        found = elman("evaluate", tmp_path / model, tmp_path / name, "--json", *options)
        return json.loads(found.out)["examples"], found.err

    for model, test_from in (("date", "2024-09-01"), ("share", "0.8")):
        assert elman(
            "train", "series-regression", table, *usual, "--test-from", test_from, "-o", tmp_path / model
        ).code == 0  # fmt: skip
        count, said = measured(model, "days.csv")
        assert count == 6 and "note: measured on the part test (6 of " in said and "; --part all measures all" in said
        assert measured(model, "days.csv", "--part=all")[0] == 28
        assert "trained on examples of this file: metrics flatter" in measured(model, "days.csv", "--part=all")[1]
    assert measured("date", "later.csv") == (2, "")
    assert measured("share", "later.csv") == (2, "")  # the share of another table is another time
    assert measured("date", "copy.csv")[0] == 6 and measured("share", "copy.csv") == (28, "")
