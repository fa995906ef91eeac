"""Sounds with answers: every layout reads the same recordings, every broken file is told with file and line."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from elman.codecs.audio import SoundFeatures
from elman.errors import DataError, MissingInputError, UsageError
from elman.readers.examples import Example, Reading, Rejects
from elman.readers.recordings import SampleFile
from elman.readers.sound_decoder import samples_of_mp3
from elman.readers.sounds import read_sounds

SAID = {"a.wav": "yes no", "b.flac": "no", "c.ogg": "ja, é", "d.mp3": "nein"}


def tone(seconds: float = 0.3, rate: int = 8000) -> np.ndarray:
    return (0.5 * np.sin(np.arange(int(seconds * rate)) * 0.3)).astype(np.float32)


def written(folder: Path, form: str) -> Path:
    """Four sounds of one tone and what is said in them, in a form; folders have one of two labels each."""
    data = folder / "data"
    for n, name in enumerate(SAID):
        at = data / ("even" if n % 2 == 0 else "odd") / name
        at.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(at, tone(), 8000)
    if form == "beside":
        for at in data.rglob("*.*"):
            at.with_suffix(".txt").write_text(f" {SAID[at.name].replace('é', chr(101) + chr(769))}\n", encoding="utf-8")
    paths = {name: f"{'even' if n % 2 == 0 else 'odd'}/{name}" for n, name in enumerate(SAID)}
    rows = [{"path": path, "transcript": SAID[name], "label": path.split("/")[0]} for name, path in paths.items()]
    if form == "csv":
        lines = ["path,transcript,label", *(f'{r["path"]},"{r["transcript"]}",{r["label"]}' for r in rows)]
        (data / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return data / "data.csv"
    if form == "jsonl":
        (data / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        return data / "data.jsonl"
    return data


@pytest.mark.parametrize("form", ["csv", "jsonl", "beside"])
@pytest.mark.parametrize("named", [False, True])
def test_every_form_of_transcripts_reads_the_same(form: str, named: bool, tmp_path: Path) -> None:
    how = Reading(form=form if named else "auto")
    found = list(read_sounds(written(tmp_path, form), how, "transcript"))
    assert {e.x.path.name: e.y for e in found} == SAID
    assert [(e.x.rate, abs(e.x.seconds - 0.3) < 0.1) for e in found] == [(8000, True)] * 4
    wave = next(e.x for e in found if e.x.path.suffix == ".wav")
    assert np.abs(wave.samples() - tone()).max() < 1e-4


@pytest.mark.parametrize("form", ["csv", "jsonl", "folders"])
def test_every_form_of_labels_reads_the_same(form: str, tmp_path: Path) -> None:
    found = list(read_sounds(written(tmp_path, form), Reading(), "label"))
    assert sorted((e.x.path.name, e.y) for e in found) == sorted(zip(SAID, ["even", "odd"] * 2, strict=True))


def test_without_answers_folders_and_files_are_sounds(tmp_path: Path) -> None:
    data, how = written(tmp_path, "folders"), Reading(labelled=False)
    assert [(Path(e.where).name, e.y) for e in read_sounds(data, how, "label")] == [
        ("a.wav", None),
        ("c.ogg", None),
        ("b.flac", None),
        ("d.mp3", None),
    ]
    assert [e.x.count for e in read_sounds(data / "even" / "a.wav", how, "transcript")] == [2400]
    (data / "only.csv").write_text("path\neven/a.wav\n")
    assert [e.where for e in read_sounds(data / "only.csv", how, "label")] == [f"{data / 'only.csv'}:2"]


def test_links_to_folders_are_folders_and_those_that_go_round_end(tmp_path: Path) -> None:
    data, elsewhere = written(tmp_path, "folders"), tmp_path / "elsewhere"
    labels = sorted(entry.name for entry in data.iterdir())
    (data / labels[0]).rename(elsewhere)
    (data / labels[0]).symlink_to(elsewhere)
    (data / labels[1] / "round").symlink_to(data)
    assert sorted({example.y for example in read_sounds(data, Reading(), "label")}) == labels


def test_manifests_name_groups_and_parts(tmp_path: Path) -> None:
    data = written(tmp_path, "csv").parent
    (data / "m.csv").write_text("file,text,who,set\neven/a.wav,oh,ann,dev\neven/c.ogg,ah,bob,test\n")
    columns = {"path": "file", "transcript": "text", "group": "who", "part": "set"}
    found = list(read_sounds(data / "m.csv", Reading(columns=columns), "transcript"))
    assert [(e.y, e.group, e.part) for e in found] == [("oh", "ann", "validation"), ("ah", "bob", "test")]


def test_channels_are_averaged_and_equal_sounds_are_equal(tmp_path: Path) -> None:
    both = np.stack([tone(), np.zeros(2400, dtype=np.float32)], axis=1)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, both, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "c.wav", both, 9000, subtype="FLOAT")
    a, b, c = (e.x for e in read_sounds(tmp_path, Reading(labelled=False), "label"))
    assert np.array_equal(a.samples(), tone() / 2)
    assert a == b != c and len({a, b, c}) == 2


def wave_of(samples: np.ndarray, rate: int, **options: str) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, samples, rate, format="WAV", **options)


def cut(suffix: str, share: float) -> Callable[[Path], None]:
    """A file that ends after a share of its bytes."""

    def write(path: Path) -> None:
        whole = path.with_name("whole" + suffix)
        soundfile.write(whole, tone(3.0), 8000)
        data = whole.read_bytes()
        whole.unlink()
        path.write_bytes(data[: int(share * len(data))])

    return write


def without_samples(path: Path) -> None:
    header = b"RIFF" + struct.pack("<I", 28) + b"WAVE" + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    path.write_bytes(header)


def without_length(path: Path) -> None:
    """A FLAC of a program that could not go back to write how many samples there are."""
    soundfile.write(path, tone(), 8000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits behind rate, channels and width
    data[22:26] = bytes(4)
    path.write_bytes(data)


def without_table(path: Path) -> None:
    """An MP3 of varying bit rate without its first frame, which tells the length."""
    soundfile.write(path, tone(3.0) * (np.arange(24000) % 8000 < 2000), 16000, bitrate_mode="VARIABLE")
    data = path.read_bytes()
    assert b"Xing" in data[:100]
    path.write_bytes(data[data.index(data[:2], 4) :])


def two_in_one(path: Path) -> None:
    soundfile.write(path, tone(2.0), 8000)
    path.write_bytes(2 * path.read_bytes())


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("x.wav", lambda path: None, "file must exist; got none"),
    "a pipe": ("x.wav", os.mkfifo, "file must exist; got a pipe or device"),
    "a folder": ("x.wav", Path.mkdir, "file must exist; got a folder"),
    "empty": ("x.wav", Path.touch, "must hold something; the file is empty"),
    "zero-length sound": ("x.wav", wave_of(tone()[:0], 8000), "must have at least one sample; got a sound of length 0"),
    "not audio": ("x.wav", lambda p: p.write_text("hello " * 99), "must be a sound file that libsndfile can read"),
    "truncated WAV": (
        "x.wav",
        cut(".wav", 0.6),
        r"must have the 48,000 bytes of samples that it announces; got 28,\d+",
    ),
    "truncated FLAC": ("x.flac", cut(".flac", 0.6), "must be a sound file that libsndfile can read"),
    "truncated OGG": ("x.ogg", cut(".ogg", 0.9), "must end with the last page of its Ogg stream"),
    "FLAC of unknown length": ("x.flac", without_length, "must say how many samples it has; got a stream"),
    "MP3 of unknown length": ("x.mp3", without_table, "must be decodable to its end, after .* samples or more; got"),
    "two MP3 in one": ("x.mp3", two_in_one, "must be decodable to its end, after .* samples or more; got 16,000"),
    "two OGG in one": ("x.ogg", two_in_one, "must be one Ogg stream; got several, one behind the other"),
    "two FLAC in one": ("x.flac", two_in_one, "must be one FLAC stream; got several, one behind the other"),
    "two WAV in one": ("x.wav", two_in_one, "must be one WAVE file; got several, one behind the other"),
    "header only": ("x.wav", without_samples, "must be a sound file that libsndfile can read"),
    "wrong rate": ("x.wav", wave_of(tone(), 400), "rate must be 1,000 to 768,000 Hz; got 400"),
    "not finite": (
        "x.wav",
        wave_of(np.array([0, np.nan, 1], dtype=np.float32), 8000, subtype="FLOAT"),
        "must have finite samples; got NaN or infinity",
    ),
    "too large": (
        "x.wav",
        wave_of(1e25 * tone(), 8000, subtype="FLOAT"),
        r"must have samples of at most 1e\+12; got 5e\+24",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_sounds_are_told_with_file_and_line_or_counted(what: str, tmp_path: Path) -> None:
    name, make, message = BROKEN[what]
    soundfile.write(tmp_path / "good.wav", tone(), 8000)
    make(tmp_path / name)
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"path,transcript\ngood.wav,oh\n{name},ah\ngood.wav,eh\n")
    with pytest.raises(DataError, match=f"^{manifest}:3: {tmp_path / name}: {message}"):
        list(read_sounds(manifest, Reading(), "transcript"))
    rejects = Rejects(skip=True)
    assert [e.y for e in read_sounds(manifest, Reading(rejects), "transcript")] == ["oh", "eh"]
    assert [row["where"] for row in rejects.rows] == [f"{manifest}:3"]
    assert rejects.rows[0]["problem"].startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFF000 // 6 * 6])
def test_a_length_that_was_not_known_yet_is_no_cut(tmp_path: Path, length: int) -> None:
    soundfile.write(tmp_path / "x.wav", tone(), 8000, subtype="PCM_16")
    data = bytearray((tmp_path / "x.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", length)
    (tmp_path / "x.wav").write_bytes(data)
    (example,) = read_sounds(tmp_path / "x.wav", Reading(labelled=False), "label")
    assert example.x.count == 2400


def test_a_compressed_wav_without_places_to_go_to_is_read_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(2.0), 8000, subtype="GSM610")
    (example,) = read_sounds(tmp_path / "x.wav", Reading(labelled=False), "label")
    assert 16000 <= example.x.count < 16320  # whole blocks of 320
    assert np.corrcoef(example.x.samples()[:16000], tone(2.0))[0, 1] > 0.9


def test_the_largest_samples_have_finite_features(tmp_path: Path) -> None:
    wave_of(1.9e12 * tone(), 8000, subtype="FLOAT")(tmp_path / "x.wav")
    (example,) = read_sounds(tmp_path / "x.wav", Reading(labelled=False), "label")
    assert torch.isfinite(SoundFeatures(8000, window=1.0)(example.x)).all()


def test_a_pipe_is_no_folder_of_sounds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(DataError, match="x: file must exist; got a pipe or device"):
        list(read_sounds(tmp_path / "x", Reading(labelled=False), "label"))


def test_numbers_of_which_one_call_reads_only_some_are_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of 2 GiB and more, of which Linux never reads all at once."""
    file = SampleFile()
    begin = [file.keep(tone(seconds).tobytes()) for seconds in (0.1, 0.3)][1]
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, count, at: pread(handle, min(count, 1000), at))
    assert np.array_equal(file.read(begin, 2400), tone(0.3))


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_frames_of_mp3_hold_what_is_decoded_of_them(mode: str, rate: int, tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    soundfile.write(path, np.stack([tone(2.0, rate)] * 2, axis=1), rate, bitrate_mode=mode)
    (example,) = read_sounds(path, Reading(labelled=False), "label")
    count = samples_of_mp3(path.read_bytes())
    assert 0 <= count - example.x.count <= 4 * 1152
    tagged = b"ID3\3\0\0\0\0\2\1" + bytes(257) + path.read_bytes() + b"TAG" + bytes(125)
    assert samples_of_mp3(tagged) == count


ROWS = {
    "an empty transcript": ("path,transcript\na.wav,oh\na.wav, \n", "transcript must not be empty; got nothing"),
    "no path": ("path,transcript\na.wav,oh\n,oh\n", "path must not be empty; got nothing"),
    "a column more": ("path,transcript\na.wav,oh\na.wav,o,h\n", "must have 2 columns; got 3"),
}


@pytest.mark.parametrize("what", ROWS)
def test_broken_rows_of_manifests(what: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 8000)
    text, message = ROWS[what]
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=f"^{tmp_path / 'm.csv'}:3: {message}"):
        list(read_sounds(tmp_path / "m.csv", Reading(), "transcript"))
    rejects = Rejects(skip=True)
    assert len(list(read_sounds(tmp_path / "m.csv", Reading(rejects), "transcript"))) == len(rejects) == 1


def test_folders_with_something_else_in_them(tmp_path: Path) -> None:
    data = written(tmp_path, "beside")
    (data / "even" / "a.txt").unlink()
    (data / "odd" / "b.txt").write_text(" \n")
    (data / "odd" / "alone.txt").write_text("x")
    (data / "odd" / "d.txt").write_bytes(b"caf\xe9")
    rejects = Rejects(skip=True)
    assert [e.y for e in read_sounds(data, Reading(rejects), "transcript")] == ["ja, é"]
    assert {Path(row["where"].split(":")[0]).name: row["problem"][:30] for row in rejects.rows} == {
        "a.wav": "must have its transcript besid",
        "b.txt": "must hold a transcript; got wh",
        "d.txt": "must be utf-8; got byte 0xe9 a",
        "alone.txt": "must stand beside the sound th",
    }
    rejects = Rejects(skip=True)
    soundfile.write(data / "loose.wav", tone(), 8000)
    assert len(list(read_sounds(data, Reading(rejects), "label"))) == 4
    assert {Path(row["where"]).name for row in rejects.rows} == {"b.txt", "c.txt", "d.txt", "alone.txt", "loose.wav"}


@pytest.mark.parametrize(
    ("name", "how", "answer", "error", "message"),
    [
        ("none.csv", Reading(), "label", MissingInputError, "data must exist"),
        (".", Reading(form="cvs"), "label", UsageError, "did you mean 'csv'"),
        (".", Reading(form="csv"), "label", DataError, "must be a file for format csv"),
        ("a.wav", Reading(), "label", DataError, "must be a folder with a folder for each label"),
        (
            ".",
            Reading(form="folders"),
            "transcript",
            UsageError,
            "must have a transcript for each sound; got 'folders'",
        ),
        (".", Reading(form="beside"), "label", UsageError, "must have a label for each sound; got 'beside'"),
        (".", Reading(form="sounds"), "label", UsageError, "'sounds', which has none"),
        (".", Reading(columns={"text": "x"}), "label", UsageError, "must be for one of path, label, group, part"),
    ],
)
def test_what_cannot_be_read_that_way_is_refused(
    name: str, how: Reading, answer: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 8000)
    with pytest.raises(error, match=message):
        list(read_sounds(tmp_path / name, how, answer))


def test_the_public_sets_have_the_counts_of_their_readmes(data_folder: Path) -> None:
    how = Reading(labelled=False)
    digits: list[Example] = list(read_sounds(data_folder / "fsdd" / "recordings", how, "label"))
    assert len(digits) == 1500 and round(sum(e.x.seconds for e in digits)) == 656
    words = list(read_sounds(data_folder / "yesno", how, "transcript"))
    assert len(words) == 60 and {e.x.rate for e in words} == {8000}
