"""Small made-up music, so that the task can be tried without a download: scales and chords in a few keys."""

from __future__ import annotations

from pathlib import Path

from elman.codecs.midi import midi_bytes
from elman.readers.notes import Note
from elman.storage import make_folder, write_file
from elman.tasks.generated import Choices, different

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_ROOTS = ("48", "50", "53", "55")
_PROGRESSIONS = ("1451", "1645", "1251", "1415")
_FIGURES = ("0120", "0246", "0210", "4321", "0420")
_BEATS_A_BAR, _BARS = 4, 8


def write_melodies(folder: Path, count: int = 160) -> None:
    """Write MIDI files of eight bars: a chord for each bar, a figure of its scale above, to the same few patterns."""
    make_folder(folder)
    choose = Choices("melodies")
    for number, data in enumerate(different(lambda: midi_bytes(_piece(choose)), bytes, count)):
        write_file(folder / f"piece{number:03}.mid", [data], len(data))


def _piece(choose: Choices) -> list[Note]:
    root, progression = int(choose.one_of(_ROOTS)), choose.one_of(_PROGRESSIONS)
    figures = [choose.one_of(_FIGURES) for _ in range(2)]
    notes = []
    for bar in range(_BARS):
        begin, degree = bar * _BEATS_A_BAR, int(progression[bar % len(progression)]) - 1
        notes += [Note(begin, begin + _BEATS_A_BAR, _key(root, degree + step)) for step in (0, 2, 4)]
        for beat, step in enumerate(figures[bar % 2]):
            notes.append(Note(begin + beat, begin + beat + 0.5, _key(root + 24, degree + int(step))))
    return notes


def _key(root: int, degree: int) -> int:
    """MIDI number of a degree of a major scale, from 0."""
    return root + 12 * (degree // len(_MAJOR)) + _MAJOR[degree % len(_MAJOR)]
