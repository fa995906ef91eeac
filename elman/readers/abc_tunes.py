"""Tunes in ABC notation to notes: melody, chord symbols, repeats and endings played out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from elman.errors import DataError
from elman.readers.abc_notation import Accompaniment, Bar, Ending, Item, Notation, Sound
from elman.readers.examples import Reading
from elman.readers.lines import lines
from elman.readers.notes import Note

_FIELD = re.compile(r"([A-Za-z]):(?![|:])(.*)")  # "d:|" is a note that ends a part
_OF_ALL = ("L:", "M:")
_BEATS = 4


def read_tunes(path: Path, how: Reading) -> Iterator[tuple[str, list[Note]]]:
    """Yield where each tune of a file stands, "jigs.abc:12", and its notes in order of their begin.

    A tune begins with its X: field and ends with an empty line below its key; text between tunes is skipped. Fields L:
    and M: at the head of the file hold for all tunes that have none. Notes, rests, accidentals, ties, tuplets, broken
    rhythm, chords in brackets and repeats with endings are played as written; chord symbols such as "Am7" sound below
    until the next one. Grace notes, ornaments, words, tempo and an order of parts (P:) are left out.

    Args:
        path: A file of tunes.
        how: Encoding, and who takes the tunes that cannot be read.

    Raises:
        DataError: a line cannot be read.
    """
    for tune in _tunes(path, how):
        try:
            yield tune[0][0], _notes(tune)
        except DataError as error:
            how.rejects.take(tune[0][0], error)


def _tunes(path: Path, how: Reading) -> Iterator[list[tuple[str, str]]]:
    """The lines of each tune, with where they stand, those of the file's head behind its X:; the others are text."""
    head: list[tuple[str, str]] = []
    tune: list[tuple[str, str]] = []
    in_head, in_body = True, False
    for number, text in lines(path, how):
        begins = text.startswith("X:")
        in_head = in_head and not begins and (text.startswith("%") or _FIELD.match(text) is not None)
        if in_head and text.startswith(_OF_ALL):
            head.append((f"{path}:{number}", text))
        if tune and (begins or (in_body and not text.strip())):
            yield tune
            tune = []
        in_body = (in_body and not begins) or text.startswith("K:")
        if tune or begins:
            tune.append((f"{path}:{number}", text))
        if begins:
            tune += head
    if tune:
        yield tune


def _notes(tune: list[tuple[str, str]]) -> list[Note]:
    notation, in_header = Notation(), True
    for where, text in tune:
        line = text.split("%")[0].rstrip()
        match = _FIELD.match(line)
        if match is not None:
            notation.set(where, match[1], match[2].strip())
            in_header = in_header and match[1] != "K"
        elif line and not in_header:
            notation.read(where, line)
    if in_header:
        raise DataError(f"{tune[0][0]}: a tune must have a key, K:; got none")
    player = _Player()
    for item in _played(notation.items):
        player.play(item)
    if not (notes := player.notes()):
        raise DataError(f"{tune[0][0]}: a tune must hold notes; got none")
    return notes


def _played(items: list[Item]) -> Iterator[Sound | Accompaniment]:
    """Items in the order in which they sound: repeats twice, endings in their passes."""
    at, begin, number, ending, skipping = 0, 0, 1, False, False
    while at < len(items):
        item = items[at]
        at += 1
        if isinstance(item, Ending):
            ending, skipping = True, number not in item.passes
        elif isinstance(item, Bar):
            if item.repeats and not skipping and (number == 1 or _has_ending(items[begin : at + 1], number + 1)):
                at, number, ending = begin, number + 1, False
                continue
            over = item.repeats or (item.closes and ending)
            if item.begins or (over and not skipping):
                begin, number, ending = at, 1, False
            skipping = skipping and not (item.repeats or item.begins)
        elif not skipping:
            yield item


def _has_ending(items: list[Item], number: int) -> bool:
    """Whether the ending of a pass is among items."""
    return any(isinstance(item, Ending) and number in item.passes for item in items)


@dataclass
class _Player:
    """Counts time while items sound, in whole notes."""

    now: Fraction = Fraction(0)
    held: list[tuple[Fraction, int]] = field(default_factory=list)
    chord: tuple[Fraction, tuple[int, ...]] = (Fraction(0), ())
    found: list[Note] = field(default_factory=list)

    def play(self, item: Sound | Accompaniment) -> None:
        """Play an item."""
        if isinstance(item, Accompaniment):
            self._end_chord()
            self.chord = (self.now, item.keys)
            return
        # A tie holds where the next sound has the key again.
        begins = {key: begin for begin, key in self.held}
        sounding = [(begins.get(key, self.now), key) for key in item.keys]
        for begin, key in self.held:
            if key not in item.keys:
                self._end(begin, key)
        self.now += item.length
        self.held = sounding if item.tied else []
        if not item.tied:
            for begin, key in sounding:
                self._end(begin, key)

    def notes(self) -> list[Note]:
        """Return the notes, in order."""
        for begin, key in self.held:
            self._end(begin, key)
        self._end_chord()
        return sorted(self.found)

    def _end(self, begin: Fraction, key: int) -> None:
        self.found.append(Note(float(begin * _BEATS), float(self.now * _BEATS), key))

    def _end_chord(self) -> None:
        begin, keys = self.chord
        for key in keys if self.now > begin else ():
            self._end(begin, key)
