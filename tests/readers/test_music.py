"""Readers of music: MIDI written message by message, rolls of both formats, folders, and files that are broken."""

from __future__ import annotations

import random
from pathlib import Path

import mido
import numpy as np
import pytest
import scipy.io

from elman.errors import DataError, ElmanError, MissingInputError
from elman.readers import Reading, Rejects
from elman.readers.midi import read_midi
from elman.readers.music import read_music
from elman.readers.notes import Note, name_of_key


def midi(path: Path, *tracks: list[tuple[str, int, int, int]], ticks_per_beat: int = 480, kind: int = 1) -> Path:
    """Write a file of messages (type, key, velocity, ticks since the one before), on channel 1."""
    file = mido.MidiFile(ticks_per_beat=ticks_per_beat, type=kind)
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(mido.Message(t, note=n, velocity=v, time=d) for t, n, v, d in messages))
    file.save(path)
    return path


def pieces(path: Path, skip: bool = False) -> tuple[list, Rejects]:
    rejects = Rejects(skip)
    return list(read_music(path, Reading(rejects))), rejects


def test_notes_are_in_beats_over_all_tracks(tmp_path):
    path = midi(
        tmp_path / "a.mid",
        [("note_on", 60, 90, 0), ("note_on", 64, 90, 240), ("note_off", 60, 0, 240), ("note_off", 64, 0, 480)],
        [("note_on", 40, 90, 960), ("note_off", 40, 0, 120)],
    )
    assert read_midi(path) == [Note(0, 1, 60), Note(0.5, 2, 64), Note(2, 2.25, 40)]


def test_velocity_zero_lets_go_and_a_key_struck_again_ends_first(tmp_path):
    path = midi(
        tmp_path / "a.mid",
        [("note_on", 60, 90, 0), ("note_on", 60, 90, 480), ("note_on", 60, 0, 480)],
        ticks_per_beat=240,
    )
    assert read_midi(path) == [Note(0, 2, 60), Note(2, 4, 60)]


def test_a_key_never_let_go_ends_with_the_piece(tmp_path):
    path = midi(tmp_path / "a.mid", [("note_on", 60, 90, 0), ("note_on", 62, 90, 480), ("note_off", 62, 0, 480)])
    assert read_midi(path) == [Note(0, 2, 60), Note(1, 2, 62)]


def test_a_key_never_let_go_ends_with_the_piece_and_not_with_its_track(tmp_path):
    path = midi(tmp_path / "a.mid", [("note_on", 60, 90, 480)], [("note_on", 40, 90, 0), ("note_off", 40, 0, 4800)])
    assert read_midi(path) == [Note(0, 10, 40), Note(1, 10, 60)]


def test_tempo_changes_nothing_and_drums_are_left_out(tmp_path):
    track = mido.MidiTrack(
        [
            mido.MetaMessage("set_tempo", tempo=250_000),
            mido.Message("note_on", note=60, velocity=9),
            mido.Message("note_on", note=38, velocity=9, channel=9),
            mido.Message("note_off", note=38, channel=9, time=480),
            mido.Message("note_off", note=60, time=480),
        ]
    )
    file = mido.MidiFile()
    file.tracks.append(track)
    file.save(tmp_path / "a.mid")
    assert read_midi(tmp_path / "a.mid") == [Note(0, 2, 60)]


def test_a_cut_midi_file_is_named(tmp_path):
    path = midi(tmp_path / "a.mid", [("note_on", 60, 90, 0), ("note_off", 60, 0, 480)])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.mid: must be a (whole )?MIDI file"):
            read_midi(path)


def test_no_change_of_bytes_gives_a_traceback(tmp_path):
    path = midi(tmp_path / "a.mid", [("note_on", 60, 90, 0), ("note_off", 60, 0, 480)] * 3)
    whole, draws = path.read_bytes(), random.Random(1)
    outcomes = set()
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(draws.randint(1, 4)):
            data[draws.randrange(len(data))] = draws.randrange(256)
        path.write_bytes(bytes(data))
        found, rejects = pieces(path, skip=True)
        assert len(found) + len(rejects) == 1
        outcomes.add(len(found))
    assert outcomes == {0, 1}


@pytest.mark.parametrize(
    ("messages", "options", "problem"),
    [
        ([], {}, "must hold notes; got none"),
        ([("note_on", 20, 90, 0), ("note_off", 20, 0, 480)], {}, "A0 to C8; got G#0 at beat 0"),
        ([("note_on", 60, 90, 0), ("note_off", 60, 0, 480)], {"kind": 2}, "got type 2"),
        ([("note_on", 60, 90, 200_000_000), ("note_off", 60, 0, 1)], {}, "at most 100,000 beats; got 416,667"),
    ],
)
def test_midi_that_cannot_be_used(tmp_path, messages, options, problem):
    path = midi(tmp_path / "a.mid", messages, **options)
    with pytest.raises(DataError, match=problem) as caught:
        pieces(path)
    assert str(path) in str(caught.value)
    found, rejects = pieces(tmp_path, skip=True)
    assert (found, rejects.rows[0]["where"]) == ([], str(path))


def test_a_note_that_ends_too_late_is_told(tmp_path):
    path = midi(tmp_path / "a.mid", [("note_on", 60, 90, 0), ("note_off", 60, 0, 100_001)], ticks_per_beat=1)
    with pytest.raises(DataError, match=r"must last at most 100,000 beats; got 100,001"):
        pieces(path)


def test_names_of_keys():
    assert [name_of_key(key) for key in (21, 60, 108)] == ["A0", "C4", "C8"]


# ---- rolls


def roll(steps: int, *keys: int) -> np.ndarray:
    found = np.zeros((steps, 88), dtype=np.uint8)
    found[:, list(keys)] = 1
    return found


def cells(*arrays: np.ndarray) -> np.ndarray:
    row = np.empty((1, len(arrays)), dtype=object)
    for n, array in enumerate(arrays):
        row[0, n] = array
    return row


def test_mat_of_cells_tells_the_parts(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(
        path,
        {"traindata": cells(roll(3, 1), roll(4, 2)), "validdata": cells(roll(5, 3)), "testdata": cells(roll(6, 4))},
    )
    found, _ = pieces(path)
    assert sorted((e.part, len(e.x)) for e in found) == [("test", 6), ("train", 3), ("train", 4), ("validation", 5)]
    second = next(e for e in found if len(e.x) == 4)
    assert second.where == f"{path}: traindata[1]"
    assert second.x.dtype == bool and second.x[:, 2].all() and second.x.sum() == 4


def test_npz_of_88_and_128_columns(tmp_path):
    wide = np.zeros((3, 128))
    wide[:, 21] = 64.0
    np.savez(tmp_path / "a.npz", train_0=roll(2, 0), tune=wide)
    first, second = pieces(tmp_path / "a.npz")[0]
    assert (first.part, second.part) == ("train", None)
    assert np.array_equal(second.x, roll(3, 0).astype(bool))


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((3, 88)), "must hold notes; got silence only"),
        (np.ones((3, 12)), "must have 88 or 128 keys"),
        (np.ones(88), r"must be numbers of shape \(T, 88\)"),
        (np.full((2, 88), np.nan), "must be 0 or more"),
        (np.ones((2, 128)), "MIDI numbers must be from 21 to 108; got one outside"),
        (np.array([["a"] * 88]), r"must be numbers of shape"),
    ],
)
def test_rolls_that_cannot_be_used(tmp_path, array, problem):
    np.savez(tmp_path / "a.npz", good=roll(2, 5), bad=array)
    with pytest.raises(DataError, match=rf"a\.npz: bad: {problem}"):
        pieces(tmp_path / "a.npz")
    found, rejects = pieces(tmp_path / "a.npz", skip=True)
    assert (len(found), len(rejects)) == (1, 1)


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", train=cells(roll(2, 5)))
    with pytest.raises(DataError, match=r"must be a whole \.npz of plain arrays"):
        pieces(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.mat", "a.npz"])
def test_a_cut_file_of_rolls_is_named(tmp_path, name):
    path = tmp_path / name
    if name == "a.mat":
        scipy.io.savemat(path, {"traindata": cells(roll(30, 1), roll(40, 2))}, do_compression=True)
    else:
        np.savez(path, train=roll(30, 1))
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 23 if name == "a.npz" else 120):
        path.write_bytes(whole[:length])
        found, rejects = pieces(path, skip=True)
        assert (len(found), len(rejects)) == (0, 1) or name == "a.mat"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=name):
        pieces(path)


def test_a_mat_that_breaks_its_reader_costs_itself_alone(tmp_path):
    """This byte, the kind of an array, makes SciPy's reader crash with SIGSEGV."""
    for name in ("a.mat", "b.mat", "c.mat"):
        scipy.io.savemat(tmp_path / name, {"traindata": cells(roll(3, 1), roll(3, 2))})
    data = bytearray((tmp_path / "b.mat").read_bytes())
    assert data[144] == 1, "a cell array"
    data[144] = 5
    (tmp_path / "b.mat").write_bytes(data)
    found, rejects = pieces(tmp_path, skip=True)
    assert [Path(e.where.rpartition(": ")[0]).name for e in found] == ["a.mat", "a.mat", "c.mat", "c.mat"]
    assert len(rejects) == 1 and rejects.rows[0]["where"] == str(tmp_path / "b.mat")


def test_cells_that_are_no_numbers_are_told(tmp_path):
    row = cells(roll(3, 1), roll(3, 2))
    row[0, 1] = np.array(["text"])
    scipy.io.savemat(tmp_path / "a.mat", {"traindata": row, "whole": roll(4, 7)})
    found, rejects = pieces(tmp_path / "a.mat", skip=True)
    assert [len(e.x) for e in found] == [3, 4] and found[1].x[:, 7].all()
    assert rejects.rows[0]["where"] == f"{tmp_path / 'a.mat'}: traindata[1]"
    assert "must be numbers of shape (T, 88)" in rejects.rows[0]["problem"]


def test_a_mat_of_version_7_3_is_refused(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file" + b" " * 600)
    with pytest.raises(DataError, match=r"version 7 or older; got 7\.3"):
        pieces(tmp_path / "a.mat")


# ---- folders


def test_a_folder_holds_music_of_all_kinds_and_its_folders_tell_the_part(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / part).mkdir()
        midi(tmp_path / part / "a.MID", [("note_on", 60, 90, 0), ("note_off", 60, 0, 480)])
    np.savez(tmp_path / "train" / "b.npz", tune=roll(2, 5))
    (tmp_path / "train" / "c.abc").write_text("X:1\nK:C\nCDE\n")
    (tmp_path / "README.txt").write_text("not music")
    (tmp_path / "._d.mid").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old" / "c.abc").write_text("X:1\nK:C\nCDE\n")
    found, _ = pieces(tmp_path)
    assert sorted(str(e.part) for e in found) == ["test", "train", "train", "train", "validation"]


def test_no_music(tmp_path):
    with pytest.raises(DataError, match="must be or hold music"):
        pieces(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="must be or hold music"):
        pieces(tmp_path / "a.txt")
    with pytest.raises(MissingInputError, match="music must exist"):
        pieces(tmp_path / "b.mid")


def test_a_column_says_nothing_of_music(tmp_path):
    with pytest.raises(ElmanError, match="column"):
        list(read_music(tmp_path, Reading(columns={"text": "x"})))


# ---- public data


def test_nottingham_is_what_its_readme_says(data_folder):
    found, _ = pieces(data_folder / "nottingham" / "Nottingham.mat")
    steps = {part: sum(len(e.x) for e in found if e.part == part) for part in ("train", "validation", "test")}
    assert steps == {"train": 176_561, "validation": 45_513, "test": 44_463}
    midis, _ = pieces(data_folder / "nottingham" / "MIDI")
    assert len(midis) == 250
