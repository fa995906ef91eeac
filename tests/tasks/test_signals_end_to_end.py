"""DNA, series and video from their generated examples: written, learnt, measured, shown and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elman.cli import main

# Task: further options that make it quick, metric, and the least (accuracy) or most (rmse) that counts as learnt.
CASES = {
    "dna": (["--epochs", "14", "--hidden-size", "16", "--filters", "32"], "accuracy", 0.9, "saliency.png"),
    "series-classification": (["--epochs", "10", "--hidden-size", "32"], "accuracy", 0.9, "confusion.png"),
    "series-regression": (
        ["--epochs", "25", "--hidden-size", "32", "--learning-rate", "0.01"],
        "rmse",
        0.7,
        "forecast.png",
    ),
    "video": (["--epochs", "6", "--hidden-size", "32"], "accuracy", 0.9, "contact_sheet.png"),
}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    code = main([str(word) for word in words])
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out


@pytest.mark.parametrize("task", CASES)
def test_an_example_is_written_learnt_measured_shown_and_drawn(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    further, metric, bound, picture = CASES[task]
    _, *lines = run(capsys, "example", task, "-o", tmp_path / "data").splitlines()
    monkeypatch.chdir(tmp_path / "data")
    train, *others = [line.split()[1:] for line in lines if line.startswith("elman ")]
    train = train[: train.index("--epochs")] if "--epochs" in train else train
    result = json.loads(run(capsys, *train, *further, "--threads", 1, "--json", "--quiet"))
    best = result["best"][metric]
    assert best <= bound if metric == "rmse" else best >= bound
    run_folder = result["folder"]
    data = train[2]
    measured: dict[str, Any] = json.loads(run(capsys, "evaluate", run_folder, data, "-o", "answers", "--json"))
    assert measured[metric] <= bound if metric == "rmse" else measured[metric] >= bound
    for file in (picture, "predictions.jsonl"):
        assert (Path("answers") / file).stat().st_size > 1000
    for words in others:
        shown = run(capsys, *words).splitlines()
        assert shown and all("\t" in line or words[0] == "evaluate" for line in shown)


@pytest.mark.parametrize("task", CASES)
def test_examples_are_the_same_every_time(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        run(capsys, "example", task, "-o", tmp_path / name)
    files = [
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    ]
    assert files[0] == files[1] and files[0]


def test_a_saved_model_reads_series_and_time_as_in_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"s{n},{t},{(t if n % 2 else -t) + n / 100},{'du'[n % 2]}\n" for n in range(20) for t in range(6)]
    (tmp_path / "d.csv").write_text("series,time,v,label\n" + "".join(rows))
    (tmp_path / "new.csv").write_text("v,time,series\n" + "".join(f"{5 - t},{5 - t},a\n0,{t},b\n" for t in range(6)))
    options = ["--epochs", "1", "--hidden-size", "4", "--filters", "0", "-o", str(tmp_path / "m")]
    assert main(["train", "series-classification", str(tmp_path / "d.csv"), *options]) == 0
    said = capsys.readouterr().err
    assert "note: the column series tells the series apart" in said and "the column time orders the steps" in said
    assert len(run(capsys, "predict", tmp_path / "m", tmp_path / "new.csv").splitlines()) == 2
    assert json.loads((tmp_path / "m" / "config.json").read_text())["model"]["column"] == {
        "series": "series",
        "time": "time",
    }
