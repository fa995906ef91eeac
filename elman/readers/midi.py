"""MIDI files to notes."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

from elman.errors import DataError, MissingExtraError
from elman.readers.notes import Note
from elman.storage import reading as guarded

_DRUMS = 9


def read_midi(path: Path) -> list[Note]:
    """Return the notes of all tracks of a standard MIDI file, in order of their begin.

    Times are in beats, so tempo changes nothing. A key that is struck again while it sounds ends first, one that is
    never let go ends with the piece. Channel 10, the drums, is left out: its keys are no pitches.

    Raises:
        DataError: it is no whole MIDI file, its time is not in beats, or it has no notes.
        MissingExtraError: mido is not installed.
    """
    file = _parsed(path)
    if file.type == 2:
        raise DataError(f"{path}: must be MIDI of type 0 or 1; got type 2, whose tracks are pieces of their own")
    if file.ticks_per_beat < 1 or file.ticks_per_beat >= 1 << 15:
        raise DataError(f"{path}: must count time in ticks per beat; got SMPTE frames")
    notes: list[Note] = []
    last = max((sum(message.time for message in track) for track in file.tracks), default=0)
    for track in file.tracks:
        notes += _notes(track, file.ticks_per_beat, last)
    if not notes:
        raise DataError(f"{path}: must hold notes; got none outside the drums")
    return sorted(notes)


def _parsed(path: Path) -> Any:
    try:
        import mido
        from mido.midifiles.meta import KeySignatureError
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: reading MIDI needs mido, which is not installed", "pip install mido"
        ) from error
    with guarded(path):
        data = path.read_bytes()
    try:
        return mido.MidiFile(file=io.BytesIO(data))
    except EOFError:
        raise DataError(f"{path}: must be a whole MIDI file; it ends early, after {len(data):,} bytes") from None
    except (OSError, ValueError, LookupError, KeySignatureError) as error:
        raise DataError(f"{path}: must be a MIDI file; {error}") from None


def _notes(track: Any, ticks_per_beat: int, last: int) -> list[Note]:
    """The notes of one track, by channel and key; the piece ends at tick `last`."""
    now, sounding = 0, dict[tuple[int, int], int]()
    found: dict[int, list[Note]] = defaultdict(list)

    def let_go(channel: int, key: int) -> None:
        begin = sounding.pop((channel, key), now)
        if now > begin:
            found[key].append(Note(begin / ticks_per_beat, now / ticks_per_beat, key))

    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        let_go(message.channel, message.note)
        if message.type == "note_on" and message.velocity > 0:
            sounding[message.channel, message.note] = now
    now = last
    for channel, key in list(sounding):
        let_go(channel, key)
    return [note for notes in found.values() for note in notes]
