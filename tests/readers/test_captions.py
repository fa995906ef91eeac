"""Images with captions: manifests, several captions of an image, images alone, and files that are none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.errors import DataError, MissingInputError, UsageError
from elman.readers import Rejects
from elman.readers.captions import read_captions
from elman.readers.videos import VideoReading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and a manifest of them, the first with two captions."""
    for name, colour in (("a.png", (255, 0, 0)), ("b.jpg", (0, 255, 0)), ("c.png", (0, 0, 255))):
        Image.new("RGB", (40, 20), colour).save(tmp_path / name)
    write(tmp_path, [["a.png", "a red one"], ["b.jpg", "a green one"], ["a.png", "it is red"], ["c.png", "a blue one"]])
    return tmp_path


def write(folder: Path, rows: list[list[str]], header: tuple[str, ...] = ("path", "caption")) -> None:
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read(path: Path, skip: bool = False, **options):
    rejects = Rejects(skip)
    return list(read_captions(path, VideoReading(rejects, size=8, colour=True, **options))), rejects


def test_an_image_has_all_its_captions(folder):
    found, _ = read(folder / "captions.csv")
    assert [e.y for e in found] == [("a red one", "it is red"), ("a green one",), ("a blue one",)]
    assert [e.where.rpartition(":")[2] for e in found] == ["2", "3", "5"]
    assert [e.x.frames.shape for e in found] == [(1, 8, 8, 3)] * 3
    assert found[0].x.frames[0, 4, 4].tolist() == [255, 0, 0]


def test_json_lines_with_columns_of_other_names(folder):
    rows = [{"file": "a.png", "text": "red", "use": "test"}, {"file": "b.jpg", "text": "green", "use": "train"}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, _ = read(folder / "a.jsonl", columns={"path": "file", "caption": "text", "part": "use"})
    assert [(e.y, e.part) for e in found] == [(("red",), "test"), (("green",), "train")]


def test_a_list_of_captions_is_several(folder):
    rows = [{"path": "a.png", "caption": ["red", "a red one"]}, {"path": "a.png", "caption": "it"}]
    rows += [
        {"path": "b.jpg", "caption": wrong} for wrong in ([], [None], ["green", " "], {"en": "green"}, ["a", ["b"]])
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, rejects = read(folder / "a.jsonl", skip=True)
    assert [e.y for e in found] == [("red", "a red one", "it")]
    assert [row["problem"].partition(";")[0] for row in rejects.rows] == [
        "caption must be a text or a list of texts"
    ] * 5


def test_images_alone(folder):
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    found, _ = read(folder, labelled=False)
    assert [(Path(e.where).name, e.y) for e in found] == [("a.png", None), ("b.jpg", None), ("c.png", None)]
    assert len(read(folder / "a.png", labelled=False)[0]) == 1
    with pytest.raises(DataError, match="must have a caption an image"):
        read(folder)


@pytest.mark.parametrize("suffix", [".jfif", ".PPM", ".tga"])
def test_an_image_of_another_form_is_not_passed_over(folder, suffix):
    (folder / f"d{suffix}").write_bytes(b"pixels")
    with pytest.raises(DataError, match=rf"d{suffix}: must be an image of a form that is read, .*; got {suffix}"):
        read(folder, labelled=False)


def test_an_image_that_cannot_be_decoded_is_named_with_its_line(folder):
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:100])
    with pytest.raises(DataError, match=r"captions\.csv:3: .*b\.jpg"):
        read(folder / "captions.csv")
    write(folder, [["a.png", "red"], ["b.jpg", "green"], ["no.png", "nothing"], ["c.png", ""], ["c.png", "blue"]])
    found, rejects = read(folder / "captions.csv", skip=True)
    assert [e.y for e in found] == [("red",), ("blue",)]
    assert sorted(row["where"].rpartition(":")[2] for row in rejects.rows) == ["3", "4", "5"]
    assert any("no.png: file must exist" in row["problem"] for row in rejects.rows)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["x.jpg", "progressive.jpg", "x.png", "x.webp", "x.bmp"])
def test_an_image_that_is_cut_off_is_told(name, share, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name, progressive=name == "progressive.jpg", lossless=True)
    assert len(read(tmp_path / name, labelled=False)[0]) == 1
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=rf"{name}: must be a video or image that FFmpeg can read"):
        read(tmp_path / name, labelled=False)


def test_a_moving_picture_is_no_picture(folder):
    frames = [Image.new("L", (16, 16), n) for n in (0, 100, 200)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.gif: must be one picture; got 3 frames"):
        read(folder / "a.gif", labelled=False)


def test_rows_of_an_image_agree_on_its_part(folder):
    write(folder, [["a.png", "red", "train"], ["a.png", "it", "test"]], ("path", "caption", "part"))
    with pytest.raises(DataError, match=r":3: must be of the group and part of .*:2"):
        read(folder / "captions.csv", columns={"part": "part"})


def test_refusals(folder):
    with pytest.raises(MissingInputError):
        read(folder / "no.csv")
    with pytest.raises(UsageError, match="did you mean 'images'"):
        read(folder, form="image")
    with pytest.raises(UsageError, match="column: must be for one of path, caption"):
        read(folder / "captions.csv", columns={"text": "caption"})
    with pytest.raises(DataError, match="must be a file for format csv"):
        read(folder, form="csv")
