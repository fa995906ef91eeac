"""Notes to a MIDI file."""

from __future__ import annotations

import io
from collections.abc import Iterable

from elman.errors import MissingExtraError, UsageError
from elman.readers.notes import Note

_TICKS_PER_BEAT, _VELOCITY = 480, 80


def midi_bytes(notes: Iterable[Note], tempo: float = 120.0) -> bytes:
    """Return a standard MIDI file of one track.

    Args:
        notes: On any key from 0 to 127; times are rounded to 1/480 beat.
        tempo: Beats a minute, from 4 to 10,000.

    Raises:
        UsageError: the tempo is outside.
        MissingExtraError: mido is not installed.
    """
    if not 4 <= tempo <= 10_000:
        raise UsageError(f"tempo: must be from 4 to 10,000 beats a minute; got {tempo:g}")
    try:
        from mido import Message, MetaMessage, MidiFile, MidiTrack, bpm2tempo
    except ImportError as error:
        raise MissingExtraError("writing MIDI needs mido, which is not installed", "pip install mido") from error
    track = MidiTrack([MetaMessage("set_tempo", tempo=bpm2tempo(tempo))])
    now = 0
    for at, velocity, key in _events(notes):
        track.append(Message("note_on", note=key, velocity=velocity, time=at - now))
        now = at
    file, data = MidiFile(ticks_per_beat=_TICKS_PER_BEAT), io.BytesIO()
    file.tracks.append(track)
    file.save(file=data)
    return data.getvalue()


def _events(notes: Iterable[Note]) -> list[tuple[int, int, int]]:
    """Tick, velocity and key of what happens, in order; 0 lets a key go, before it may be struck again."""
    found = []
    for begin, end, key in notes:
        found += [(round(begin * _TICKS_PER_BEAT), _VELOCITY, key), (round(end * _TICKS_PER_BEAT), 0, key)]
    return sorted(found)
