"""`elman example`, `evaluate` and `predict` for every task that is listed: what they offer works as it is printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from elman.cli import main
from elman.tasks import TASKS, task_of
from elman.tasks.supervised import SupervisedTask
from tests.cli.conftest import Elman


def example_of(task: str, elman: Elman, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write the example of a task, go there, and return the commands that are printed."""
    done = elman("example", task, "-o", folder / "example")
    assert done.code == 0, done.err
    monkeypatch.chdir(folder / "example")
    first, *commands = done.out.splitlines()
    assert first.startswith("cd ") and all("elman" in command for command in commands)
    return commands


def training_of(command: str) -> list[str]:
    """Return the words of a command that trains, but for what says how long."""
    words = shlex.split(command)[1:]
    for option in ("--epochs", "--minutes", "--steps"):
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    return words


def follow(command: str, elman: Elman) -> str:
    """Run a printed command as a shell would, a training cut to two steps of a small net; return what it prints."""
    said, _, after = command.rpartition(" | ")
    stdin = " ".join(shlex.split(said)[1:]).encode() if said else b""
    words = shlex.split(after)[1:]
    if words[0] == "train":
        words = [*training_of(after), "--steps", "2", "--hidden-size", "8"]
    done = elman(*words, stdin=stdin)
    assert done.code == 0, done.err
    return done.out + done.err


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_an_example_whose_commands_work_and_is_measured(
    task: str, elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = example_of(task, elman, tmp_path, monkeypatch)
    for command in commands:
        assert follow(command, elman).strip()
    data = training_of(commands[0])[2]
    model = next(folder.parent for folder in Path().glob("*/config.json") if task_of(folder.parent) is TASKS[task])
    whole = ("--part", "all") if isinstance(TASKS[task], SupervisedTask) else ()
    measured = elman("evaluate", model, data, *whole, "--json")
    assert measured.code == 0, measured.err
    found = json.loads(measured.out)
    assert found["loss"] is not None
    if isinstance(TASKS[task], SupervisedTask):
        said = elman("predict", model, data, "-o", "said")
        assert said.code == 0, said.err
        assert said.out.strip()
        rows = Path("said/predictions.jsonl").read_text("utf-8").splitlines()
        assert len(rows) == found["examples"]


def test_an_example_needs_an_empty_folder_and_a_known_task(elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    refused = elman("example", "tagging", "-o", tmp_path / "full")
    assert refused.code == 2 and "must be a new or empty folder" in refused.err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    unknown = elman("example", "taging")
    assert unknown.code == 2 and "did you mean 'tagging'?" in unknown.err


def test_answers_are_one_document(elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = training_of(example_of("text-classification", elman, tmp_path, monkeypatch)[0])
    assert elman(*words, "-o", "model", "--steps", 1, "--hidden-size", 8, "-q").code == 0
    found = json.loads(elman("predict", "model", "--json", stdin=b"a dull film\na clever film\n").out)
    assert [answer["where"].rpartition(":")[2] for answer in found["answers"]] == ["1", "2"]
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5) for answer in found["answers"])


@pytest.mark.parametrize(
    ("verb", "data", "code", "part"),
    [
        ("evaluate", "missing.csv", 66, "must exist; got none"),
        ("evaluate", "unlabelled.csv", 65, "must have a column 'label'"),
        ("predict", "empty.csv", 65, "must hold text; the file is empty"),
        ("predict", "missing", 66, "must exist; got none"),
    ],
)
def test_data_that_cannot_be_used_is_told(
    verb: str, data: str, code: int, part: str, elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = training_of(example_of("text-classification", elman, tmp_path, monkeypatch)[0])
    assert elman(*words, "-o", "model", "--steps", 1, "--hidden-size", 8, "-q").code == 0
    Path("unlabelled.csv").write_text("text\nfine\n", encoding="utf-8")
    Path("empty.csv").touch()
    refused = elman(verb, "model", data)
    assert refused.code == code
    assert refused.err.startswith("error: ") and part in refused.err and refused.out == ""


def test_a_language_model_has_no_columns_and_answers_nothing(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert elman("train", "language-model", corpus, "-o", model, "--steps", 1, "--hidden-size", 4, "-q").code == 0
    refused = elman("evaluate", model, corpus, "--column", "text=review")
    assert refused.code == 2 and "--column has no effect" in refused.err
    refused = elman("predict", model, corpus)
    assert refused.code == 2 and "elman sample" in refused.err


# ---- empty lines, skipped examples, folders of answers


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.csv and a model of one step."""
    folder = tmp_path_factory.mktemp("reviews")
    TASKS["text-classification"].example(folder)
    words = f"train text-classification {folder}/reviews.csv -o {folder}/model --steps 1 --hidden-size 8 -q".split()
    assert main(words) == 0
    return folder


def test_a_line_gets_a_line_and_an_empty_one_an_empty_one(elman: Elman, reviews: Path) -> None:
    done = elman("predict", reviews / "model", stdin=b"a dull film\n\n \na clever film\n")
    assert done.code == 0, done.err
    first, *empty, last = done.out.splitlines()
    assert first.endswith("a dull film") and empty == ["", ""] and last.endswith("a clever film")
    refused = elman("predict", reviews / "model", stdin=b"\n\n")
    assert refused.code == 65 and "must hold at least one example" in refused.err


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_what_is_skipped_is_told_with_its_reason(verb: str, elman: Elman, reviews: Path, tmp_path: Path) -> None:
    rows = ["text,label", "fine,positive", *(",positive" for _ in range(7))]
    (tmp_path / "some.csv").write_text("\n".join(rows) + "\n")
    done = elman(verb, reviews / "model", tmp_path / "some.csv", "--on-error", "skip")
    assert done.code == 0, done.err
    note, *reasons, more = done.err.splitlines()
    assert note == "note: 7 examples skipped"
    assert reasons[0] == f"  {tmp_path / 'some.csv'}:3: text must not be empty; got nothing" and len(reasons) == 5
    assert more == "  and 2 more; -o FOLDER keeps all in rejects.jsonl"
    kept = elman(verb, reviews / "model", tmp_path / "some.csv", "--on-error", "skip", "-o", tmp_path / "kept")
    assert f"7 examples skipped; see {tmp_path / 'kept' / 'rejects.jsonl'}" in kept.err
    assert len((tmp_path / "kept" / "rejects.jsonl").read_text().splitlines()) == 7


def test_a_folder_holds_the_answers_of_one_command(elman: Elman, reviews: Path, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    assert elman("evaluate", reviews / "model", reviews / "reviews.csv", "-o", folder).code == 0
    assert {"metrics.json", "confusion.png", "words.html"} <= {path.name for path in folder.iterdir()}
    (folder / "mine.txt").write_text("mine")
    assert elman("predict", reviews / "model", "-", "-o", folder, stdin=b"a dull film\n").code == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "mine.txt",
        "predictions.jsonl",
        "words.html",
        "written.json",
    ]
    (folder / "written.json").write_text(json.dumps({"files": ["../keep.txt", "mine.txt"]}))
    (tmp_path / "keep.txt").write_text("kept")
    assert elman("predict", reviews / "model", "-", "-o", folder, stdin=b"a dull film\n").code == 0
    assert (tmp_path / "keep.txt").exists()  # a list leads nowhere else


def test_options_that_need_another_are_refused(elman: Elman, reviews: Path, tmp_path: Path) -> None:
    refused = elman("train", "text-classification", reviews / "reviews.csv", "-o", tmp_path / "m", "--more-vectors", 5)
    assert refused.code == 2 and "--more-vectors has an effect with --vectors only" in refused.err
