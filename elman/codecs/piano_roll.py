"""Notes to a piano roll of 88 keys, a step every fraction of a beat, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from elman.errors import DataError, ModelFileError, UsageError
from elman.readers.notes import KEYS, LOWEST, Note
from elman.readers.piano_rolls import Roll

_MOST_STEPS_PER_BEAT = 96


class PianoRoll:
    """Which of 88 keys sound in each step.

    A note sounds in the steps from round(begin s) up to, not including, round(end s), in one at least, with s steps
    per beat. A roll does not tell a key that is struck again at once from one that is held.

    Args:
        steps_per_beat: s, from 1 to 96.

    Raises:
        UsageError: s is outside.

    Example:
        >>> roll = PianoRoll(2)
        >>> steps = roll.encode([Note(0, 1, 60), Note(0.5, 1.5, 64)])
        >>> steps.shape, roll.decode(steps)
        ((3, 88), [Note(begin=0.0, end=1.0, key=60), Note(begin=0.5, end=1.5, key=64)])
    """

    kind = "piano-roll"

    def __init__(self, steps_per_beat: int) -> None:
        if not 1 <= steps_per_beat <= _MOST_STEPS_PER_BEAT:
            raise UsageError(f"steps_per_beat: must be from 1 to {_MOST_STEPS_PER_BEAT}; got {steps_per_beat}")
        self.steps_per_beat = steps_per_beat

    def encode(self, piece: Iterable[Note] | Roll) -> Roll:
        """Return the roll (T, 88) of notes on the 88 keys; a roll is returned as it is.

        Raises:
            DataError: a note is on another key.
        """
        if isinstance(piece, np.ndarray):
            return piece
        notes = [(*self._steps(note), note.key - LOWEST) for note in piece]
        beyond = next((key + LOWEST for _, _, key in notes if not 0 <= key < KEYS), None)
        if beyond is not None:
            raise DataError(f"piano roll: keys must be from {LOWEST} to {LOWEST + KEYS - 1}; got {beyond}")
        roll = np.zeros((max((end for _, end, _ in notes), default=0), KEYS), dtype=np.bool_)
        for begin, end, key in notes:
            roll[begin:end, key] = True
        return roll

    def _steps(self, note: Note) -> tuple[int, int]:
        begin = round(note.begin * self.steps_per_beat)
        return begin, max(round(note.end * self.steps_per_beat), begin + 1)

    def decode(self, roll: Roll) -> list[Note]:
        """Return the notes of a roll (T, 88), in order of their begin: a key that sounds on is one note."""
        framed = np.zeros((len(roll) + 2, KEYS), dtype=np.int8)
        framed[1:-1] = roll
        change = np.diff(framed, axis=0)  # (T + 1, 88): 1 where a key is struck, -1 where it is let go
        begins, ends = np.argwhere(change.T == 1), np.argwhere(change.T == -1)  # rows (key, step), by key, then step
        scale = 1 / self.steps_per_beat
        return sorted(
            Note(float(begin * scale), float(end * scale), int(key) + LOWEST)
            for (key, begin), (_, end) in zip(begins, ends, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` rebuilds."""
        return {"steps_per_beat": self.steps_per_beat}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PianoRoll:
        """Rebuild what `to_json` gave.

        Raises:
            ModelFileError: it is not the description of a piano roll.
        """
        steps = value.get("steps_per_beat")
        if type(steps) is not int or not 1 <= steps <= _MOST_STEPS_PER_BEAT:
            raise ModelFileError(f"piano roll: steps_per_beat must be a whole number; got {str(steps)[:40]}")
        return cls(steps)
