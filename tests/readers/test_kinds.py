"""Folders that hold something of the right kind in a form that is not read: told, or counted and left out."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elman.errors import DataError
from elman.readers.captions import read_captions
from elman.readers.examples import Example, Reading, Rejects
from elman.readers.music import read_music
from elman.readers.sounds import read_sounds
from elman.readers.videos import VideoReading, read_videos

Read = Callable[[Path, Any], Iterator[Example]]


def transcribed(path: Path, how: Reading) -> Iterator[Example]:
    return read_sounds(path, how, "transcript")


CASES: dict[str, tuple[Read, type[Reading], str]] = {
    "sound": (transcribed, Reading, "b.m4a"),
    "image": (read_captions, VideoReading, "b.HEIC"),
    "clip": (read_videos, VideoReading, "b.wmv"),
    "clip in a folder of its label": (read_videos, VideoReading, "waving/b.flv"),
    "music": (read_music, Reading, "deep/b.musicxml"),
}


def reading(kind: type[Reading], skip: bool) -> Any:
    return kind(rejects=Rejects(skip=skip), labelled=False)


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_by_name_with_what_is_read(case: str, tmp_path: Path) -> None:
    read, kind, name = CASES[case]
    hidden = f"{Path(name).parent}/.{Path(name).name}"
    for file in (hidden, name, "a.wav", "a.mid", "a.png", "waving/a.mp4"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    if "image" not in case:
        (tmp_path / "a.png").unlink()
    with pytest.raises(DataError) as caught:
        list(read(tmp_path, reading(kind, skip=False)))
    assert caught.value.message.startswith(
        f"{tmp_path / name}: must be {'an' if 'image' in case else 'a'} {case.split()[0]} of a form that is read, ."
    )
    assert caught.value.message.endswith(f"got {Path(name).suffix}") and "--on-error skip" in str(caught.value.hint)


def test_it_is_counted_and_left_out_and_notes_are_left_alone(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    for file in ("b.m4a", "README.md", "a.txt", ".hidden.m4a"):
        (tmp_path / file).touch()
    how = reading(Reading, skip=True)
    assert [Path(example.where).name for example in transcribed(tmp_path, how)] == ["a.wav"]
    assert [Path(row["where"]).name for row in how.rejects.rows] == ["b.m4a"]
