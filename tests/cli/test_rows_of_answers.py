"""What a row of predictions.jsonl says beside the answer: where it stands, what was read, and the truth."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.cli.answers import documents, glyphs_told
from elman.readers import Example
from elman.readers.music import file_of
from elman.readers.series import Series
from elman.tasks import TASKS
from elman.tasks.classes import draw_confusion
from elman.tasks.generated import write_entities
from elman.tasks.generated_images import write_shapes
from elman.tasks.generated_music import write_melodies
from elman.tasks.generated_signals import write_moving_blobs
from elman.tasks.generated_sounds import write_tunes, write_wave
from tests.cli.conftest import Elman

TABLES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "text-classification": ("text,label\nso so,2\n", {}, {"text": "so so", "truth": "2"}),
    "translation": ("source,target\nja  ja,oui\n", {}, {"source": "ja  ja", "truth": "oui"}),
    "tagging": (
        "Ada B-per\nmet O\n",
        {"format": "conll"},
        {"text": "Ada met", "tokens": ["Ada", "met"], "truth": ["B-per", "O"]},
    ),
    "strings": ("text,label\nOder,rivers\n", {}, {"label": "rivers", "truth": "Oder"}),
    "series-classification": (
        "id,label,v\nwalk 7,up,1\nwalk 7,up,2\n",
        {"column": {"series": "id"}},
        {"series": "walk 7", "truth": "up"},
    ),
    "series-regression": (
        "id,v,load\nwalk 7,1,2.5\nwalk 7,2,\n",
        {"column": {"series": "id"}, "target": ("load",), "missing": "fill"},
        {"series": "walk 7", "truth": {"load": [2.5, float("nan")]}},
    ),
}


def test_characters_that_no_font_has_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    with glyphs_told():
        draw_confusion([{"label": "\u65e5\u672c"}] * 2, ["\u65e5\u672c", "\u6771\u4eac\u90fd\u5e02"], tmp_path)
        warnings.warn("something else", UserWarning, stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: no font for pictures here has 6 characters of the texts, ") and line.endswith(
        ": boxes"
    )
    assert [str(warning.message) for warning in recwarn] == ["something else"]


def rows_of(name: str, path: Path, **options: Any) -> list[dict[str, Any]]:
    """The rows of answers that say nothing, of all examples in a file."""
    task: Any = TASKS[name]
    config = task.config(**options)
    examples = list(task.read(path, config.reading(), config))
    return documents(task, examples, [{} for _ in examples], (str(path), path))


@pytest.mark.parametrize("name", TABLES)
def test_rows_hold_the_text_that_was_read_and_the_truth(name: str, tmp_path: Path) -> None:
    table, options, wanted = TABLES[name]
    path = tmp_path / "data.csv"
    path.write_text(table, encoding="utf-8")
    (row,) = rows_of(name, path, **options)
    assert row.pop("where").startswith(f"{path}:{1 if name == 'tagging' else 2}")
    assert json.dumps(row) == json.dumps(wanted)


def test_rows_hold_the_file_that_was_read_and_the_truth(tmp_path: Path) -> None:
    write_tunes(tmp_path / "tunes", 3)
    write_moving_blobs(tmp_path / "blobs", 1)
    write_shapes(tmp_path / "shapes", 2)
    write_melodies(tmp_path / "pieces", 3)
    for name, path, truth in (
        ("audio-classification", tmp_path / "tunes", str),
        ("video", tmp_path / "blobs", str),
        ("captioning", tmp_path / "shapes" / "captions.csv", tuple),
        ("music", tmp_path / "pieces", None),
    ):
        rows = rows_of(name, path)
        assert rows
        for row in rows:
            assert Path(row["path"]).exists()
            assert "truth" not in row if truth is None else isinstance(row["truth"], truth)
            json.dumps(row)
    write_wave(tmp_path / "one.wav", torch.zeros(1600))
    (tmp_path / "said.csv").write_text("path,transcript\none.wav,one\n", encoding="utf-8")
    (row,) = rows_of("speech-recognition", tmp_path / "said.csv")
    assert (row["path"], row["truth"]) == (str(tmp_path / "one.wav"), "one")


@pytest.mark.parametrize("where", ["a/b.c/jigs.ABC:12", "x.npz: train_0", "m.mat: test[3]"])
def test_pieces_that_share_a_file_name_it(where: str) -> None:
    assert file_of(where) == where[: where.index(":")]
    assert file_of("a:b.mid") == "a:b.mid"


def test_what_stdin_says_is_not_named_by_the_file_it_is_kept_in(elman: Elman, tmp_path: Path) -> None:
    write_moving_blobs(tmp_path / "blobs", 4)
    assert elman("train", "video", tmp_path / "blobs", "-o", tmp_path / "model", "--steps", 1, "-q").code == 0
    image = next((tmp_path / "blobs").rglob("*.png")).read_bytes()
    done = elman("predict", tmp_path / "model", "-", "-o", tmp_path / "said", stdin=image)
    assert done.code == 0 and done.out.rstrip("\n").endswith("\tstdin")
    row = json.loads((tmp_path / "said" / "predictions.jsonl").read_text("utf-8"))
    assert (row["where"], row["path"]) == ("stdin", "stdin")


def test_what_is_refused_of_stdin_is_of_stdin(elman: Elman, tmp_path: Path) -> None:
    write_entities(tmp_path / "e.conll", 30)
    small = ("--steps", 1, "--hidden-size", 8, "-q", "-o", tmp_path / "model")
    assert elman("train", "tagging", tmp_path / "e.conll", *small).code == 0
    lines = b'{"text": "Ada met Bob"}\n{"tokens": [1]}\n'
    reading = ("--format", "jsonl", "--on-error", "skip")
    done = elman("predict", tmp_path / "model", "-", *reading, "-o", tmp_path / "said", stdin=lines)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "said" / "rejects.jsonl").read_text("utf-8"))["where"] == "stdin:2"
    assert json.loads((tmp_path / "said" / "predictions.jsonl").read_text("utf-8"))["where"] == "stdin:1"


def test_lines_for_people_end_with_the_name_of_what_was_read() -> None:
    model: Any = None
    music: Any = TASKS["music"]
    row = {"where": "pieces/a.mid", "nats_per_step": 3.5, "steps": 48}
    assert music.show(model, (), row) == "3.500 nats per step\t48 steps\tpieces/a.mid"
    series: Any = TASKS["series-classification"]
    example = Example("w.csv:2", Series("w.csv:2", ("v",), np.zeros((2, 1))), id="walk 7")
    row = {**series.told(example), "label": "up", "probabilities": {"up": 1.0}}
    assert series.show(model, example.x, row) == "up\t1.0000\twalk 7"
