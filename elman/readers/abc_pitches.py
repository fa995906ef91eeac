"""What ABC says about pitch: key signatures, notes with accidentals, chord symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
_MODES = {
    "maj": 0,
    "ion": 0,
    "min": -3,
    "m": -3,
    "aeo": -3,
    "mix": -1,
    "dor": -2,
    "phr": -4,
    "lyd": 1,
    "loc": -5,
    "": 0,
}
_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)")
_OWN = re.compile(r"(\^\^|\^|__|_|=)([A-Ga-g])")
_EXPLICIT = "exp"
_ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
_CLEF = re.compile(r"(?:clef=)?(?:treble|alto|tenor|bass)[1-5]?(?P<eight>[+-]8)?")
_SHIFT = re.compile(r"(?P<name>octave|transpose)=(?P<number>[+-]?\d{1,2})")
_MIDDLE_C = 60

_CHORD = re.compile(r"([A-G])([#b]?)([^/]*)(?:/([A-G])([#b]?))?")
_QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "9": (0, 4, 7, 10, 14),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "5": (0, 7),
    "7sus4": (0, 5, 7, 10),
    "add9": (0, 4, 7, 14),
    "m9": (0, 3, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "m7b5": (0, 3, 6, 10),
}
_SPELLINGS = {
    "min": "m",
    "maj": "",
    "M": "",
    "M7": "maj7",
    "min7": "m7",
    "o": "dim",
    "+": "aug",
    "sus": "sus4",
    "7sus": "7sus4",
}
_ADDED = re.compile(r"(?:maj|min|dim|aug|sus|add|omit|no|alt|[Mmo+#b^,()-]|\d)*")
_SILENT = ("N.C.", "NC", "N.C", "N. C.")
_LOWEST_ROOT = 43


def signature(text: str) -> dict[str, int] | None:
    """Return the accidentals of a key, "Ador" or "Bb", as semitones by letter; None for what is no such key.

    A clef and its shifts, see `shifts`, say nothing about the key. The sharps of a key are counted in fifths: those of
    the tonic's major, and fewer by the mode, 3 for minor. Accidentals behind it, "D phr ^f", stand over its own; a key
    "exp" has no others. Of the keys of bagpipes, HP is written without accidentals, Hp with F and C sharp.
    """
    own = {match[2].upper(): _ACCIDENTALS[match[1]] for match in map(_OWN.fullmatch, text.split()) if match}
    text = " ".join(
        word for word in text.split() if "=" not in word and not _CLEF.fullmatch(word) and not _OWN.fullmatch(word)
    )
    if text == "Hp":
        return {"F": 1, "C": 1, **own}
    if text.lower() in ("", "none", "hp"):
        return own
    match = _KEY.match(text)
    if match is not None and match[3].lower() == _EXPLICIT:
        return own
    if match is None or _mode(match[3]) not in _MODES or set("^_") & set(text[match.end() :]):
        return None
    fifths = _FIFTHS[match[1]] + 7 * ((match[2] == "#") - (match[2] == "b")) + _MODES[_mode(match[3])]
    order = "FCGDAEB" if fifths > 0 else "BEADGCF"
    if abs(fifths) > len(order):
        return None
    return dict.fromkeys(order[: abs(fifths)], 1 if fifths > 0 else -1) | own


def shifts(text: str) -> dict[str, int]:
    """Return by how many semitones a K: field shifts what sounds, by what says so; nothing where it says nothing.

    Section 4.6 of ABC 2.1: "octave=-1" and "transpose=3", and the 8 above or below a clef, "clef=treble-8" or "bass+8".
    """
    found: dict[str, int] = {}
    for word in text.split():
        if match := _SHIFT.fullmatch(word):
            found[match["name"]] = int(match["number"]) * (12 if match["name"] == "octave" else 1)
        elif match := _CLEF.fullmatch(word):
            found["clef"] = 12 * ((match["eight"] == "+8") - (match["eight"] == "-8"))
    return found


def _mode(text: str) -> str:
    mode = text.lower()
    return mode if mode == "m" else mode[:3]


def pitch(accidental: str, letter: str, octaves: str, heard: Mapping[str, int]) -> int:
    """Return the MIDI number of a note.

    Args:
        accidental: "^", "_", "=" or twice the sign; "" for none.
        letter: "C" is the middle C, "c" an octave above.
        octaves: "'" for each octave up, "," for each down.
        heard: Semitones by letter that hold where no accidental stands: of the key, and of the bar so far.
    """
    shift = _ACCIDENTALS[accidental] if accidental else heard.get(letter.upper(), 0)
    octave = octaves.count("'") - octaves.count(",") + letter.islower()
    return _MIDDLE_C + _LETTERS[letter.upper()] + shift + 12 * octave


def accidental_of(text: str) -> int:
    """Return the semitones of "^", "_", "=" and their doubles."""
    return _ACCIDENTALS[text]


def chord(symbol: str) -> list[int] | None:
    """Return the MIDI numbers of a chord symbol such as "Am7" or "D/F#"; None for other text.

    "N.C.", no chord, has none, and so has a symbol of a chord that is not known here. The root stands from G2 to F#3,
    a bass of another name an octave below.

    Example:
        >>> chord("G7"), chord("Fine"), chord("N.C.")
        ([43, 47, 50, 53], None, [])
    """
    if symbol.strip() in _SILENT:
        return []
    match = _CHORD.fullmatch(symbol.strip())
    if match is None:
        return None
    quality = _SPELLINGS.get(match[3], match[3])
    if quality not in _QUALITIES:
        return [] if _ADDED.fullmatch(quality) else None
    root = _raised(match[1], match[2])
    keys = [root + interval for interval in _QUALITIES[quality]]
    return [_raised(match[4], match[5]) - 12, *keys] if match[4] else keys


def _raised(letter: str, accidental: str) -> int:
    """A root within the octave from G2."""
    number = _LETTERS[letter] + (accidental == "#") - (accidental == "b")
    return _LOWEST_ROOT + (number - _LOWEST_ROOT) % 12
