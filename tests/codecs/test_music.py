"""Piano rolls, MIDI and sound: notes in are notes out, and a tone is where its equation puts it."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.codecs.midi import midi_bytes
from elman.codecs.piano_roll import PianoRoll
from elman.codecs.tones import RATE, sound, wav_bytes
from elman.errors import DataError, ModelFileError, UsageError
from elman.readers.midi import read_midi
from elman.readers.notes import Note

ROLLS = st.lists(st.lists(st.integers(0, 87), max_size=6), min_size=1, max_size=12).filter(
    lambda steps: bool(steps[-1])
)


def roll_of(steps: list[list[int]]) -> np.ndarray:
    roll = np.zeros((len(steps), 88), dtype=bool)
    for t, keys in enumerate(steps):
        roll[t, keys] = True
    return roll


@given(ROLLS, st.sampled_from([1, 3, 4, 7]))
def test_a_roll_goes_to_notes_and_back(steps, steps_per_beat):
    codec, roll = PianoRoll(steps_per_beat), roll_of(steps)
    assert np.array_equal(codec.encode(codec.decode(roll)), roll)


@given(ROLLS)
def test_a_roll_goes_to_a_midi_file_and_back(tmp_path_factory, steps):
    codec, path = PianoRoll(4), tmp_path_factory.mktemp("midi") / "a.mid"
    roll = roll_of(steps)
    path.write_bytes(midi_bytes(codec.decode(roll)))
    assert np.array_equal(codec.encode(read_midi(path)), roll)


def test_notes_go_to_a_midi_file_and_back(tmp_path):
    notes = [Note(0, 1, 60), Note(0, 4, 21), Note(1, 1.5, 60), Note(1.25, 2, 108), Note(1 / 3, 2 / 3, 64)]
    (tmp_path / "a.mid").write_bytes(midi_bytes(notes, tempo=90))
    found = read_midi(tmp_path / "a.mid")
    assert [n.key for n in found] == [n.key for n in sorted(notes)]
    assert np.allclose([n[:2] for n in found], [n[:2] for n in sorted(notes)], atol=1 / 960)


NOTES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(60, 62)), min_size=1, max_size=12)


@given(NOTES)
def test_notes_that_overlap_on_one_key_sound_as_long_in_a_midi_file(tmp_path_factory, spans):
    codec, path = PianoRoll(4), tmp_path_factory.mktemp("midi") / "a.mid"
    notes = [Note(begin / 4, (begin + length) / 4, key) for begin, length, key in spans]
    path.write_bytes(midi_bytes(notes))
    found = read_midi(path)
    assert np.array_equal(codec.encode(found), codec.encode(notes))
    assert sorted((n.begin, n.key) for n in found) == sorted({(n.begin, n.key) for n in notes})


def test_a_note_shorter_than_a_tick_ends(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi_bytes([Note(0, 1 / 2000, 60), Note(0, 4, 64)]))
    assert read_midi(tmp_path / "a.mid") == [Note(0, 1 / 480, 60), Note(0, 4, 64)]


def test_a_note_takes_one_step_at_least_and_the_nearest_ones():
    roll = PianoRoll(2).encode([Note(0, 0.01, 60), Note(0.6, 1.4, 62), Note(0.9, 2.1, 64)])
    assert [np.flatnonzero(roll[:, key - 21]).tolist() for key in (60, 62, 64)] == [[0], [1, 2], [2, 3]]


def test_a_roll_is_encoded_as_it_is():
    roll = roll_of([[1], [2]])
    assert PianoRoll(4).encode(roll) is roll


@pytest.mark.parametrize("key", [20, 109])
def test_a_key_beyond_the_piano_is_refused(key):
    with pytest.raises(DataError, match=f"keys must be from 21 to 108; got {key}"):
        PianoRoll(4).encode([Note(0, 1, 60), Note(0, 1, key)])


def test_no_notes_are_a_roll_of_no_steps():
    assert PianoRoll(4).encode([]).shape == (0, 88) and PianoRoll(4).decode(np.zeros((0, 88), dtype=bool)) == []


def test_a_piano_roll_is_rebuilt_from_json():
    for steps in (1, 3, 96):
        assert PianoRoll.from_json(PianoRoll(steps).to_json()).steps_per_beat == steps
    for wrong in ({}, {"steps_per_beat": "4"}, {"steps_per_beat": 0}, {"steps_per_beat": 97}):
        with pytest.raises(ModelFileError, match="steps_per_beat"):
            PianoRoll.from_json(wrong)


@pytest.mark.parametrize("steps_per_beat", [0, 97])
def test_steps_per_beat_has_limits(steps_per_beat):
    with pytest.raises(UsageError, match="from 1 to 96"):
        PianoRoll(steps_per_beat)


def test_tempo_has_limits():
    with pytest.raises(UsageError, match="from 4 to 10,000"):
        midi_bytes([], tempo=1)


@pytest.mark.parametrize("key", [45, 69, 100])
def test_a_tone_has_the_pitch_of_its_key(key):
    samples = sound([Note(0, 4, key)], tempo=240)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    frequency = np.argmax(spectrum) * RATE / len(samples)
    assert frequency == pytest.approx(440 * 2 ** ((key - 69) / 12), rel=0.01)


def test_sound_begins_and_ends_with_its_notes():
    samples = sound([Note(2, 3, 69)], tempo=120)
    assert np.abs(samples).max() == pytest.approx(0.9)
    assert len(samples) == pytest.approx(1.56 * RATE, abs=2)
    assert not samples[: RATE - 1].any() and np.abs(samples[RATE : RATE + 200]).max() > 0.1


def test_no_notes_are_silence():
    assert not sound([]).any()


def test_a_wav_file_holds_the_samples():
    samples = sound([Note(0, 1, 69)])
    with wave.open(io.BytesIO(wav_bytes(samples))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        found = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32767
    assert np.abs(found - samples).max() < 1 / 32767
