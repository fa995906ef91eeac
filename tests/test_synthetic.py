"""The synthetic benchmark: what it writes, that it resumes, and that its verdicts follow from its numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import synthetic
from benchmarks.problems import PROBLEMS, Parity, Score


@pytest.fixture(autouse=True)
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(path: Path, *more: str) -> None:
    options = ["--steps", "2", "--hidden-size", "4", "--batch-size", "3", "--length", "12", "--output", str(path)]
    synthetic.main([*options, *more])


def test_finished_rows_are_kept_and_missing_ones_added(tmp_path, capsys):
    path = tmp_path / "rows.json"
    run(path, "--cells", "rnn", "--problems", "parity,adding")
    first = json.loads(path.read_text())["rows"]
    assert [(row["problem"], row["cell"]) for row in first] == [("parity", "rnn"), ("adding", "rnn")]
    run(path, "--cells", "rnn,lstm", "--problems", "parity,adding,copy,anbn")
    rows = json.loads(path.read_text())["rows"]
    assert rows[:2] == first  # seconds included: not run again
    assert len(rows) == 8
    printed = capsys.readouterr().out
    assert "| rnn |" in printed and "| lstm |" in printed
    assert "adding (chance 0.1667)" in printed


def test_other_settings_are_other_rows(tmp_path, capsys):
    path = tmp_path / "rows.json"
    run(path, "--cells", "rnn", "--problems", "parity")
    run(path, "--cells", "rnn", "--problems", "parity", "--seed", "1")
    rows = json.loads(path.read_text())["rows"]
    assert [row["settings"]["seed"] for row in rows] == [0, 1]


def test_interrupted_run_keeps_what_was_finished(tmp_path, monkeypatch, capsys):
    path, run_row = tmp_path / "rows.json", synthetic.run_row

    def fail_at_lstm(name, *rest):
        if name == "lstm":
            raise KeyboardInterrupt
        return run_row(name, *rest)

    monkeypatch.setattr(synthetic, "run_row", fail_at_lstm)
    with pytest.raises(KeyboardInterrupt):
        run(path, "--cells", "rnn,lstm,gru", "--problems", "parity")
    assert [row["cell"] for row in json.loads(path.read_text())["rows"]] == ["rnn"]


def test_budget_of_steps_is_exact_and_a_row_says_what_it_reached(tmp_path, capsys):
    path = tmp_path / "rows.json"
    run(path, "--cells", "lstm@chrono", "--problems", "anbn")
    row = json.loads(path.read_text())["rows"][0]
    assert row["steps"] == 2
    assert row["solved"] is False
    assert 0 <= row["counts_to"] < 25
    assert row["loss"] > 0 and 0 <= row["accuracy"] <= 1


def test_chrono_biases_spread_over_the_sequence():
    model = synthetic.build("lstm@chrono", Parity(), synthetic.Settings(hidden_size=100), "auto")
    bias = model.layer.weights["b_f"]
    assert torch.equal(bias, -model.layer.weights["b_i"])
    assert 0 <= bias.min() < math.log(20) and math.log(180) < bias.max() <= math.log(199)


@pytest.mark.parametrize(("name", "better", "worse"), [
    ("copy", Score(0.0094, 1.0), Score(0.0096, 1.0)),
    ("adding", Score(0.009, None), Score(0.011, None)),
    ("parity", Score(0.1, 0.99), Score(0.1, 0.98)),
    ("anbn", Score(0.1, 1.0), Score(0.0, 0.999)),
])  # fmt: skip
def test_verdict_follows_the_criterion(name, better, worse):
    problem = PROBLEMS[name]
    assert problem.solved(better)
    assert not problem.solved(worse)
    assert not problem.solved(Score(math.nan, 0.0))


@pytest.mark.parametrize(("options", "message"), [
    (["--cells", "rnn@chrono"], "synthetic: 'rnn@chrono' needs one of"),
    (["--cells", "rnn@other"], "the part behind '@' must be 'chrono'"),
    (["--problems", "sorting"], "problems must be among copy, adding, parity, anbn; got 'sorting'"),
])  # fmt: skip
def test_wrong_names_are_refused(tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        run(tmp_path / "rows.json", *options)


def test_the_page_shows_the_results(capsys):
    """docs/concepts/long-lags.md holds what the command prints of the kept rows; none of them is trained again."""
    rows = synthetic.load_rows(synthetic.RESULTS)
    assert {row["settings"]["steps"] for row in rows} == {2500}
    found = synthetic.table(
        rows, synthetic.CELLS, list(PROBLEMS.values()), synthetic.settings_of(synthetic.arguments(["--steps", "2500"]))
    )
    page = Path(__file__).parents[1] / "docs" / "concepts" / "long-lags.md"
    assert found in page.read_text(encoding="utf-8")
