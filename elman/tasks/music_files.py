"""A piece to files that people can hear and look at."""

from __future__ import annotations

from pathlib import Path

from elman.codecs.midi import midi_bytes
from elman.codecs.piano_roll import PianoRoll
from elman.codecs.tones import sound, wav_bytes
from elman.readers.piano_rolls import Roll
from elman.storage import make_folder, write_file
from elman.tasks.piano_roll_picture import draw_roll


def write_piece(folder: Path, name: str, roll: Roll, codec: PianoRoll, tempo: float) -> list[Path]:
    """Write a roll (T, 88) as NAME.mid, NAME.wav and NAME.png into a folder; return the files.

    Args:
        folder: Made when missing.
        name: Of the files, without suffix.
        roll: The piece.
        codec: Says how many steps a beat has.
        tempo: Beats a minute.

    Raises:
        StorageError: a file cannot be written.
        MissingExtraError: mido or matplotlib is not installed.
    """
    make_folder(folder)
    notes = codec.decode(roll)
    contents = {".mid": midi_bytes(notes, tempo), ".wav": wav_bytes(sound(notes, tempo))}
    for suffix, data in contents.items():
        write_file(folder / f"{name}{suffix}", [data], len(data))
    picture = draw_roll(roll, folder / f"{name}.png", codec.steps_per_beat, title=name)
    return [*(folder / f"{name}{suffix}" for suffix in contents), picture]
