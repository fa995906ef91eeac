"""Notes to a MIDI file."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable

from elman.errors import MissingExtraError, UsageError
from elman.readers.notes import Note

_TICKS_PER_BEAT, _VELOCITY = 480, 80


def midi_bytes(notes: Iterable[Note], tempo: float = 120.0) -> bytes:
    """Return a standard MIDI file of one track.

    Args:
        notes: On any key from 0 to 127; times are rounded to 1/480 beat, and a note lasts that long at least. A key
            that is struck again while it sounds ends first, and sounds as long as the longer of both.
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
    spans: dict[int, list[list[int]]] = defaultdict(list)  # by key, when it is struck and let go
    for begin, end, key in sorted(notes):
        struck, before = round(begin * _TICKS_PER_BEAT), spans[key]
        let_go = max(round(end * _TICKS_PER_BEAT), struck + 1)
        if before and struck < before[-1][1]:  # it sounds still: a channel knows of a key only whether it does
            let_go, before[-1][1] = max(let_go, before[-1][1]), struck
        before.append([struck, let_go])
    found = [(key, *span) for key, each in spans.items() for span in each if span[0] < span[1]]
    return sorted(event for key, on, off in found for event in ((on, _VELOCITY, key), (off, 0, key)))
