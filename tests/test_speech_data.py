"""Strings of spoken digits: every sample comes from the right recording, and parts share none."""

from __future__ import annotations

import csv
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.speech_data import LONGEST, PAUSE, RATE, SHORTEST, write_digits, write_strings

INDICES = (0, 4, 5, 6, 24)


def write_recordings(folder: Path) -> dict[int, tuple[str, str, int]]:
    """Recordings of a constant number that tells digit, speaker and index; return what each number means."""
    (folder / "recordings").mkdir(parents=True)
    meaning = {}
    for digit in map(str, range(10)):
        for speaker in ("ann", "bob"):
            for index in INDICES:
                number = len(meaning) + 1
                meaning[number] = (digit, speaker, index)
                samples = np.full(50 + number, number, dtype=np.int16)
                soundfile.write(folder / "recordings" / f"{digit}_{speaker}_{index}.wav", samples, RATE)
    return meaning


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_strings_are_what_their_transcripts_say(tmp_path: Path) -> None:
    meaning = write_recordings(tmp_path)
    counts = {"train": 12, "validation": 5, "test": 8}
    rows = rows_of(write_strings(tmp_path, tmp_path / "out", counts))
    assert {part: sum(row["part"] == part for row in rows) for part in counts} == counts
    for row in rows:
        samples, rate = soundfile.read(tmp_path / "out" / row["path"], dtype="int16")
        assert rate == RATE
        # 1 to 100 in a recording, 0 between them
        runs = [(int(value), len(list(group))) for value, group in groupby(samples.tolist())]
        said, pauses = runs[::2], runs[1::2]
        assert all(run == (0, round(PAUSE * RATE)) for run in pauses)
        assert all(length == 50 + number for number, length in said)
        found = [meaning[number] for number, _ in said]
        assert "".join(digit for digit, _, _ in found) == row["transcript"]
        assert SHORTEST <= len(found) <= LONGEST and {speaker for _, speaker, _ in found} == {row["speaker"]}
        allowed = {"test": {0, 4}, "validation": {5}, "train": {6, 24}}[row["part"]]
        assert {index for _, _, index in found} <= allowed


def test_the_same_strings_every_time(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    for name in ("a", "b"):
        write_strings(tmp_path, tmp_path / name, {"test": 3})
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 4
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_the_manifest_of_digits_follows_the_rule_of_the_set(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    rows = rows_of(write_digits(tmp_path, tmp_path / "out"))
    assert len(rows) == 100
    for row in rows:
        digit, speaker, index = Path(row["path"]).stem.split("_")
        assert (row["label"], row["speaker"]) == (digit, speaker)
        assert row["part"] == ("test" if int(index) < 5 else "train")
