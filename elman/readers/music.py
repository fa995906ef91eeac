"""Pieces of music: MIDI, ABC tunes, piano rolls; one file or a folder of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError
from elman.readers.abc_tunes import read_tunes
from elman.readers.examples import Example, Reading
from elman.readers.folders import visible_files
from elman.readers.kinds import refuse_others
from elman.readers.midi import read_midi
from elman.readers.notes import KEYS, LOWEST, Note, name_of_key
from elman.readers.piano_rolls import part_of_name, read_rolls, roll_of

MOST_BEATS = 100_000
FORMS = {".mid": "midi", ".midi": "midi", ".abc": "abc", ".mat": "roll", ".npz": "roll"}


def read_music(path: Path, how: Reading) -> Iterator[Example]:
    """Yield pieces: their notes in beats (tuple of Note), or their roll (bool (T, 88)) where a file holds rolls.

        .mid .midi  a piece a file
        .abc        a piece a tune
        .mat .npz   a piece an array (T, 88) or (T, 128); names that begin with train, valid or test tell the part
        a folder    all such files in it and below it, not hidden; the folders train, valid or test in it tell the part

    Files of a folder with other names are left alone, but for music of other forms, which is refused.

    Args:
        path: File or folder.
        how: Who takes what cannot be used.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        MissingExtraError: a library for such files is not installed.
    """
    how.known_columns()
    if how.form != "auto":
        raise UsageError(f"format: must be auto for music, which goes by the names of files; got {how.form!r}")
    if not path.exists():
        raise MissingInputError(f"{path}: music must exist; got none", "check the path and the working folder")
    found = visible_files(path) if path.is_dir() else [path]
    files = [file for file in found if file.suffix.lower() in FORMS]
    if not files:
        raise DataError(f"{path}: must be or hold music, {', '.join(FORMS)}; got none")
    refuse_others(found, "music", tuple(FORMS), how.rejects)
    for file in files:
        part = part_of_name(file.relative_to(path).parts[0]) if len(file.relative_to(path).parts) > 1 else None
        try:
            yield from _READERS[FORMS[file.suffix.lower()]](file, how, part)
        except DataError as error:
            how.rejects.take(str(file), error)


def file_of(where: str) -> str:
    """Return the file of a piece that stands there.

    Example:
        >>> file_of("jigs.abc:12"), file_of("air.mid")
        ('jigs.abc', 'air.mid')
    """
    found = re.match(r"(.*?\.(?:abc|mat|npz)):", where, re.IGNORECASE)
    return found[1] if found else where


def _of_midi(file: Path, how: Reading, part: str | None) -> Iterator[Example]:
    yield Example(str(file), _checked(str(file), read_midi(file)), part=part)


def _of_abc(file: Path, how: Reading, part: str | None) -> Iterator[Example]:
    for where, notes in read_tunes(file, how):
        try:
            yield Example(where, _checked(where, notes), part=part)
        except DataError as error:
            how.rejects.take(where, error)


def _of_rolls(file: Path, how: Reading, part: str | None) -> Iterator[Example]:
    for where, name, value in read_rolls(file):
        try:
            yield Example(where, roll_of(where, value), part=part or part_of_name(name))
        except DataError as error:
            how.rejects.take(where, error)


_READERS: dict[str, Callable[[Path, Reading, str | None], Iterator[Example]]] = {
    "midi": _of_midi,
    "abc": _of_abc,
    "roll": _of_rolls,
}


def _checked(where: str, notes: list[Note]) -> tuple[Note, ...]:
    """Notes that a piano has, in a piece that is no accident of a damaged file."""
    for note in notes:
        if not LOWEST <= note.key < LOWEST + KEYS:
            raise DataError(
                f"{where}: notes must be on the {KEYS} keys of a piano, A0 to C8; "
                f"got {name_of_key(note.key)} at beat {note.begin:g}"
            )
    if (end := max(note.end for note in notes)) > MOST_BEATS:
        raise DataError(f"{where}: must last at most {MOST_BEATS:,} beats; got {end:,.0f}")
    return tuple(notes)
