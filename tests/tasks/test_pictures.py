"""Pictures show the texts of data as they are, whatever signs these hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elman.diagnosis.picture import draw
from elman.errors import StorageError
from elman.readers import Example
from elman.readers.piano_rolls import Roll
from elman.readers.series import Series
from elman.readers.videos import Clip
from elman.tasks.attention_picture import Look, draw_looks
from elman.tasks.base_tracks_picture import Track, draw_tracks
from elman.tasks.classes import draw_confusion
from elman.tasks.clip_picture import draw_clips
from elman.tasks.contact_sheet import draw_sheet
from elman.tasks.forecast_picture import draw_forecasts
from elman.tasks.piano_roll_picture import draw_roll
from elman.tasks.saliency_picture import draw_saliency
from elman.tasks.series_windows import Window
from elman.training.curves import save_png

# What matplotlib reads as a formula, a broken one; and a byte of a file's name that is not UTF-8.
SIGNS = "$_$ 5 and $^^$ 6 \udcff"
PIXELS = np.zeros((4, 4, 3), dtype=np.uint8)


def confusion(text: str, folder: Path) -> Path:
    return draw_confusion([{"label": text}, {"label": "b"}], [text, text], folder)[0]


def clips(text: str, folder: Path) -> Path:
    clip = Clip(Path(text), PIXELS[None])
    examples = [Example("here", clip, "b"), Example("here", clip, (text,))]
    return draw_clips(examples, [{"label": text, "probabilities": {text: 0.5}}, {"labels": [text]}], folder / "x.png")


def sheet(text: str, folder: Path) -> Path:
    return draw_sheet([(PIXELS, text)], folder / "x.png")


def attention(text: str, folder: Path) -> Path:
    return draw_looks([Look(text, [(text, -1.0)], [text], [text], [[1.0]])], folder)[0]


def tracks(text: str, folder: Path) -> Path:
    return draw_tracks([Track(text, "ACGT", [text] * 4, [0.5] * 4)], [text, "b"], folder / "x.png")


def saliency(text: str, folder: Path) -> Path:
    return draw_saliency([(text, "ACGT", text, torch.ones(4))], folder / "x.png")


def roll(text: str, folder: Path) -> Path:
    found: Roll = np.zeros((4, 88), dtype=bool)
    return draw_roll(found, folder / "x.png", 1, title=text)


def flow(text: str, folder: Path) -> Path:
    return draw({text: {text: [1.0, 0.5]}}, folder / "x.png")


@pytest.mark.parametrize("drawn", [confusion, clips, sheet, attention, tracks, saliency, roll, flow])
def test_signs_of_formulas_are_drawn_as_they_are(drawn, tmp_path):
    shown = []
    for number, text in enumerate((SIGNS, SIGNS.replace("_", "__"))):
        (tmp_path / str(number)).mkdir()
        with Image.open(drawn(text, tmp_path / str(number))) as image:
            shown.append(image.tobytes())
    assert shown[0] != shown[1]


@pytest.mark.parametrize("drawn", [confusion, attention])
def test_long_names_leave_room_for_what_they_name(drawn, tmp_path):
    drawn("a name of many words " * 6, tmp_path)  # matplotlib warns where none is left


def test_the_surprise_of_the_last_step_of_a_roll_is_seen(tmp_path):
    path = draw_roll(np.zeros((1, 88), dtype=bool), tmp_path / "x.png", 1, [2.0])
    with Image.open(path) as image:
        blue = (np.asarray(image.convert("RGB")) == (31, 119, 180)).all(axis=2)  # of the line
    assert blue.sum() > image.width / 2


def coloured(path: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """Which pixels (height, width) have a colour."""
    with Image.open(path) as image:
        return (np.asarray(image.convert("RGB")) == colour).all(axis=2)


def test_a_single_step_of_a_forecast_is_seen(tmp_path):
    x = Window("a", Series("d.csv:2", ("v",), np.zeros((1, 1))), 0)
    answer = {kind: {"v": [value]} for kind, value in (("low", 0.0), ("forecasts", 1.0), ("high", 2.0))}
    (path,) = draw_forecasts([Example("d.csv:2", x)], [answer], tmp_path)
    seen = coloured(path, (217, 95, 2))
    assert seen[seen.shape[0] // 3 :].any()  # below the legend


def test_one_evaluation_is_seen_in_the_curves(tmp_path):
    record = '{"kind": "validation", "step": 1, "loss": 1.0}\n'
    (tmp_path / "metrics.jsonl").write_text(record, encoding="ascii")
    seen = coloured(save_png(tmp_path), (31, 119, 180))
    assert seen[seen.shape[0] // 3 :].any()


@pytest.mark.parametrize("name", ["flow", "flow.of.today", "flow.PNG"])
def test_a_picture_stands_where_it_was_to_stand(name, tmp_path):
    assert draw({"model": {"layer": [1.0, 0.5]}}, tmp_path / name) == tmp_path / name
    with Image.open(tmp_path / name) as image:
        assert image.format == "PNG"


def test_a_roll_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.png: must be writable"):
        draw_roll(np.ones((4, 88), dtype=np.bool_), tmp_path / "none" / "a.png", 4)
