"""What a piece of music is to a reader: notes in beats, or a roll of 88 keys in steps."""

from __future__ import annotations

from typing import NamedTuple

LOWEST, KEYS = 21, 88
"""MIDI number of the lowest key of a piano (A0), and how many keys there are: the highest is 108 (C8)."""

_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


class Note(NamedTuple):
    """A key that sounds.

    Args:
        begin, end: In beats (quarter notes) from the start of the piece.
        key: MIDI number, 60 for the middle C.
    """

    begin: float
    end: float
    key: int


def name_of_key(key: int) -> str:
    """Return the name of a MIDI number: 60 is "C4"."""
    return f"{_NAMES[key % 12]}{key // 12 - 1}"
