"""The notation of a tune in ABC to what sounds and how long, as it is written, with its bars and endings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from elman.errors import DataError
from elman.readers.abc_pitches import accidental_of, chord, pitch, shifts, signature
from elman.readers.examples import shown

_NOTE = r"(?P<accidental>\^\^|\^|__|_|=)?(?P<letter>[A-Ga-g])(?P<octaves>[',]*)"
_LENGTH = r"(?P<times>\d*)(?P<slashes>/*)(?P<parts>\d*)"
_TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
_COMPOUND = (6, 9, 12)
"""Beats of a bar that are counted in threes: there 5, 7 and 9 notes take the time of 3, elsewhere of 2."""
_MOST_PASSES = 99
_PIECES = re.compile(_NOTE + _LENGTH + "(?P<tie>-?)")


@dataclass
class Sound:
    """Keys that sound together; none is a rest.

    Args:
        keys: MIDI numbers.
        length: In whole notes.
        tied: Goes on in the next sound.
    """

    keys: tuple[int, ...]
    length: Fraction
    tied: bool = False


@dataclass(frozen=True)
class Accompaniment:
    """A chord symbol: its keys sound from here on."""

    keys: tuple[int, ...]


@dataclass(frozen=True)
class Bar:
    """A bar line.

    Args:
        repeats: It ends a part that is played again.
        begins: It begins one.
        closes: It ends a part: a double or thick line.
    """

    repeats: bool
    begins: bool
    closes: bool


@dataclass(frozen=True)
class Ending:
    """What follows is played in these passes only."""

    passes: frozenset[int]


Item = Sound | Accompaniment | Bar | Ending


@dataclass
class Notation:
    """Reads the lines of one tune into `items`.

    Args:
        unit: Length of a note without a number, in whole notes; None, until a key is known, for 1/8, or 1/16 in bars
            shorter than 3/4.
        meter: Length of a bar in whole notes, for rests of whole bars.
        compound: Whether the beats of a bar are counted in threes.
        key: Accidentals of the key by letter.
        shifts: Semitones that are added to what is written, by what in a key says so.
    """

    unit: Fraction | None = None
    meter: Fraction = Fraction(1)
    compound: bool = False
    key: dict[str, int] = field(default_factory=dict)
    shifts: dict[str, int] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    _heard: dict[str, int] = field(default_factory=dict)
    _last_keys: dict[int, int] = field(default_factory=dict)
    _tied_keys: dict[int, int] = field(default_factory=dict)
    _broken: Fraction = Fraction(1)
    _tuplet: tuple[int, Fraction] = (0, Fraction(1))

    def set(self, where: str, name: str, value: str) -> None:
        """Take a field: K, L or M; others say nothing about what sounds.

        Raises:
            DataError: its value cannot be read, or it names a voice, which would sound beside the others.
        """
        if name == "V":
            raise DataError(f"{where}: a tune must have one voice; got a field V:")
        if name == "K":
            found = signature(value)
            if found is None:
                raise DataError(f"{where}: K must be a key such as G, Am or Ddor; got {shown(value)}")
            self.key, self._heard = found, {}
            self.shifts |= shifts(value)
            self.unit = self._unit  # a first K ends the header: no later meter changes the unit
        elif name == "M":
            text = {"C": "4/4", "C|": "2/2", "none": "4/4"}.get(value, value)
            self.meter, self.compound = _fraction(where, "M", text), int(text.split("/")[0]) in _COMPOUND
        elif name == "L":
            self.unit = _fraction(where, "L", value)

    def read(self, where: str, line: str) -> None:
        """Read a line of notation.

        Raises:
            DataError: something in it cannot be read.
        """
        at = 0
        while at < len(line):
            found = ((pattern.match(line, at), take) for pattern, take in _TOKENS)
            match, take = next(((m, t) for m, t in found if m), (None, None))
            if match is None or take is None:
                raise DataError(f"{where}: must be ABC; got {shown(line[at : at + 10])} in column {at + 1}")
            take(self, where, match)
            at = match.end()

    def _field(self, where: str, match: re.Match[str]) -> None:
        self.set(where, match["name"], match["value"].strip())

    def _ending(self, where: str, match: re.Match[str]) -> None:
        passes = set[int]()
        for part in re.findall(r"\d+(?:-\d+)?", match["passes"]):
            first, _, last = part.partition("-")
            if int(last or first) > _MOST_PASSES:
                raise DataError(f"{where}: an ending must be of at most {_MOST_PASSES} passes; got {shown(part)}")
            passes.update(range(int(first), int(last or first) + 1))
        self.items.append(Ending(frozenset(passes)))

    def _bar(self, where: str, match: re.Match[str]) -> None:
        text, self._heard = match["bar"], {}
        self.items.append(Bar(text.startswith(":"), text.endswith(":"), "||" in text or "]" in text or "[" in text))
        if match["passes"]:
            self._ending(where, match)

    def _note(self, where: str, match: re.Match[str]) -> None:
        self._sound([match], _length(where, match))

    def _rest(self, where: str, match: re.Match[str]) -> None:
        bars = self.meter / self._unit if match["rest"].isupper() else Fraction(1)
        self._sound([], _length(where, match) * bars)

    def _together(self, where: str, match: re.Match[str]) -> None:
        notes = list(_PIECES.finditer(match["notes"]))
        self._sound(notes, _length(where, notes[0]) * _length(where, match))
        self._tied_keys = {_natural(note): self._last_keys[_natural(note)] for note in notes if note["tie"]}
        if notes[-1]["tie"]:
            self._last(where, "-").tied = True

    def _key(self, match: re.Match[str]) -> int:
        accidental, letter = match["accidental"] or "", match["letter"]
        if accidental:  # holds for the letter in all octaves until the bar ends
            self._heard[letter.upper()] = accidental_of(accidental)
        elif _natural(match) in self._tied_keys:  # a tie takes its accidental over the bar line
            return self._tied_keys[_natural(match)]
        return pitch(accidental, letter, match["octaves"], {**self.key, **self._heard})

    def _sound(self, notes: Sequence[re.Match[str]], length: Fraction) -> None:
        left, share = self._tuplet
        length *= self._unit * self._broken * (share if left else 1)
        self._tuplet, self._broken = (max(left - 1, 0), share), Fraction(1)
        written, shift = tuple(map(self._key, notes)), sum(self.shifts.values())
        keys = tuple(key + shift for key in written)
        self._last_keys, self._tied_keys = dict(zip(map(_natural, notes), written, strict=True)), {}
        self.items.append(Sound(keys, length))

    @property
    def _unit(self) -> Fraction:
        if self.unit is not None:
            return self.unit
        return Fraction(1, 16) if self.meter < Fraction(3, 4) else Fraction(1, 8)

    def _last(self, where: str, what: str) -> Sound:
        sound = next((item for item in reversed(self.items) if isinstance(item, Sound)), None)
        if sound is None:
            raise DataError(f"{where}: {what!r} must stand behind a note; got none")
        return sound

    def _tie(self, where: str, match: re.Match[str]) -> None:
        self._last(where, "-").tied = True
        self._tied_keys = self._last_keys

    def _break(self, where: str, match: re.Match[str]) -> None:
        """A note before > is half as long again and the one after half as long; < turns it round, >> is stronger."""
        short = Fraction(1, 2 ** len(match["broken"]))
        before, after = (2 - short, short) if match["broken"][0] == ">" else (short, 2 - short)
        self._last(where, match["broken"]).length *= before
        self._broken = after

    def _many(self, _where: str, match: re.Match[str]) -> None:
        """(p:q:r are r notes in the time of q for every p."""
        p = int(match["p"])
        q = int(match["q"] or _TUPLETS.get(p, 3 if self.compound else 2))
        self._tuplet = (int(match["r"] or p), Fraction(q, p))

    def _quoted(self, _where: str, match: re.Match[str]) -> None:
        keys = chord(match["text"])
        if keys is not None:
            self.items.append(Accompaniment(tuple(key + self.shifts.get("transpose", 0) for key in keys)))

    def _nothing(self, _where: str, match: re.Match[str]) -> None:
        """Slurs, grace notes, ornaments, beams: nothing that a roll shows."""


def _natural(match: re.Match[str]) -> int:
    """Where a note stands in the staff, as the MIDI number that it has without an accidental."""
    return pitch("=", match["letter"], match["octaves"], {})


def _length(where: str, match: re.Match[str]) -> Fraction:
    """A length in units: "3/2", "2", "/" for 1/2, "//" for 1/4."""
    parts = int(match["parts"]) if match["parts"] else 2 ** len(match["slashes"])
    if not parts or match["times"] == "0":
        raise DataError(f"{where}: a length must be more than 0; got {shown(match.group())}")
    return Fraction(int(match["times"] or 1), parts)


def _fraction(where: str, name: str, text: str) -> Fraction:
    match = re.fullmatch(r"(\d+)\s*/\s*(\d+)", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise DataError(f"{where}: {name} must be a fraction such as 6/8; got {shown(text)}")
    return Fraction(int(match[1]), int(match[2]))


_TOKENS: list[tuple[re.Pattern[str], Callable[[Notation, str, re.Match[str]], None]]] = [
    (re.compile(pattern), take)
    for pattern, take in (
        (r"\[(?P<name>[A-Za-z]):(?P<value>[^\]]*)\]", Notation._field),
        (r"\[(?P<passes>\d[\d,-]*)", Notation._ending),
        (rf"\[(?P<notes>(?:[\^_=]*[A-Ga-g][',]*[\d/]*-?\s*)+)\]{_LENGTH}", Notation._together),
        (_NOTE + _LENGTH, Notation._note),
        (rf"(?P<rest>[zxZX]){_LENGTH}", Notation._rest),
        (r"(?P<bar>:?\[?\|+[\]:]*(?:\|?:)?|::|:?\]|\[\|)[ ]?(?P<passes>\d[\d,-]*)?", Notation._bar),
        ("-", Notation._tie),
        (r"(?P<broken>>+|<+)", Notation._break),
        (r"\((?P<p>[2-9])(?::(?P<q>\d*))?(?::(?P<r>\d*))?", Notation._many),
        (r'"(?P<text>[^"]*)"', Notation._quoted),
        (r"[\s()~.HLMOPSTuvJRy`\\*;?@$]|![^!|]*!|\+[^+|]*\+|\{[^}]*\}", Notation._nothing),
    )
]
