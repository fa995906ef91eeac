"""What is shown: plain lines off a terminal, a live line on one, curves as picture and as text."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from elman.errors import DataError, MissingInputError, ModelFileError
from elman.training import PlainReporter, RichReporter, SilentReporter, reporter_for
from elman.training.curves import as_text, read_curves, save_png, sparkline
from elman.training.progress import StepReport, duration, perplexity_text, step_line
from tests.training.tiny_problem import run_tiny

REPORT = StepReport(
    step=120,
    epoch=1.25,
    loss=math.log(8.0),
    gradient_norm=0.5,
    learning_rate=0.002,
    items_per_second=12345.6,
    unit="tokens",
    fraction=0.25,
    seconds_left=185.0,
    skipped=0,
)


def test_a_step_shows_loss_perplexity_speed_gradient_norm_and_time_left() -> None:
    line = step_line(REPORT)
    for part in ("step 120", "loss 2.0794", "perplexity 8", "12,346 tokens/s", "gradient 0.5", "3:05 left"):
        assert part in line
    assert "skipped" not in line
    words = step_line(dataclasses.replace(REPORT, unit="examples"))
    assert "12,346 examples/s" in words and "perplexity" not in words
    assert "2 skipped" in step_line(dataclasses.replace(REPORT, skipped=2))


def test_plain_lines_have_no_control_characters_and_are_not_too_many() -> None:
    stream = io.StringIO()
    with PlainReporter(stream, seconds=1000.0) as reporter:
        for _ in range(5):
            reporter.step(REPORT)
        reporter.evaluated(120, {"loss": 0.0, "accuracy": 0.5, "items": 1200}, best=True)
        reporter.warn("careful")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1:] == ["step 120  validation  loss 0.0000  accuracy 0.5000  items 1,200  (best)", "warning: careful"]
    assert all(character.isprintable() for line in lines for character in line)


def test_a_terminal_gets_a_live_display_that_ends_cleanly() -> None:
    stream = io.StringIO()
    with RichReporter(Console(file=stream, force_terminal=True, width=160)) as reporter:
        reporter.step(REPORT)
        reporter.evaluated(120, {"loss": 1.0}, best=False)
    text = stream.getvalue()
    assert "perplexity 8" in text
    assert "validation" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_the_reporter_suits_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(reporter_for(), PlainReporter)
    assert isinstance(reporter_for(quiet=True), SilentReporter)
    reporter_for().note("hello")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_numbers_are_written_for_people() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 61, 3599.6, 7509)] == [
        "0 s",
        "59 s",
        "1:01",
        "1:00:00",
        "2:05:09",
    ]
    assert [perplexity_text(loss) for loss in (0.0, 1e4, math.inf, math.nan)] == ["1", "inf", "inf", "nan"]


def test_curves_are_read_from_the_log_and_drawn(quick_path: Path) -> None:
    run_tiny(quick_path / "run")
    curves = read_curves(quick_path / "run")
    assert [step for step, _ in curves["train"]] == [2, 4, 6, 8, 10, 12]
    assert [step for step, _ in curves["validation"]] == [4, 8, 12]
    picture = save_png(quick_path / "run")
    assert picture.read_bytes().startswith(b"\x89PNG")
    first, second = as_text(quick_path / "run").splitlines()
    assert first.startswith("train")
    assert f"{curves['validation'][0][1]:.3f} -> {curves['validation'][-1][1]:.3f}" in second


def test_curves_of_nothing_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        save_png(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="recorded losses"):
        save_png(tmp_path)


@pytest.mark.parametrize(
    ("record", "got"),
    [('{"kind": "train", "loss": 1.5}', "None"), ('{"kind": "train", "loss": 1.5, "step": "x"}', "x")],
)
def test_a_record_that_was_edited_is_named(tmp_path: Path, record: str, got: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"kind": "test", "loss": 1.0}}\n{record}\n', encoding="utf-8")
    with pytest.raises(ModelFileError, match=rf"metrics\.jsonl:2: step must be a whole number; got {got}"):
        read_curves(tmp_path)


def test_a_loss_that_is_no_number_has_no_place_in_a_curve(tmp_path: Path) -> None:
    lines = ['{"kind": ["train"], "loss": 1.0, "step": 1}', '{"kind": "train", "loss": 1e999, "step": 2}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert read_curves(tmp_path) == {"train": [], "validation": []}


def test_blocks_rise_with_the_values_and_long_curves_are_averaged() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 60) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert sparkline([1.0] * 5, 60) == "▁" * 5
    assert sparkline([], 60) == ""
