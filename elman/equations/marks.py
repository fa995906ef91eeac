"""Plain equations as typeset pieces: italic names, subscripts, superscripts, accents; and how wide they are."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from elman.equations.functions import FUNCTIONS

WIDEST = 360.0
_ACCENTS = {"~": "\N{COMBINING TILDE}", "^": "\N{COMBINING CIRCUMFLEX ACCENT}"}
_NAME = re.compile(r"(?P<base>[^\W\d_][^\W_]*)(?P<below>(?:_\w+)?)(?P<accent>[~^]?)(?P<time><t(?:[+-]1)?>)?")
_SIGNS = {"*": "\N{CIRCLED DOT OPERATOR}", "-": "\N{MINUS SIGN}"}


class Piece(NamedTuple):
    """A run of text: its style ("italic", "upright", with "small" for scripts) and how far below the line it stands."""

    text: str
    style: str
    rise: float = 0.0


Line = list[Piece]


def markup(text: str) -> Line:
    """Return plain notation as pieces: "c~<t-1>" gives c with a tilde and the superscript <t-1>."""
    pieces: Line = []
    end = 0
    for match in _NAME.finditer(text):
        pieces += _signs(text[end : match.start()])
        pieces += _name(match)
        end = match.end()
    return pieces + _signs(text[end:])


def _signs(text: str) -> Line:
    shown = "".join(_SIGNS.get(c, c) for c in text)
    return [Piece(shown, "upright")] if shown else []


def _name(match: re.Match[str]) -> Line:
    whole = match[0]
    if whole in FUNCTIONS:
        return [Piece("\N{GREEK SMALL LETTER SIGMA}" if whole == "sigmoid" else whole.replace("_", " "), "upright")]
    letter = greek(match["base"]) + _ACCENTS.get(match["accent"], "")
    pieces = [Piece(letter, "italic")]
    if match["below"]:
        pieces.append(Piece(" ".join(greek(word) for word in match["below"][1:].split("_")), "italic small", 4.0))
    if match["time"]:
        inside = match["time"][1:-1].replace("-", "\N{MINUS SIGN}")
        pieces.append(
            Piece(
                f"\N{MATHEMATICAL LEFT ANGLE BRACKET}{inside}\N{MATHEMATICAL RIGHT ANGLE BRACKET}",
                "upright small",
                -6.0,
            )
        )
    return pieces


def greek(word: str) -> str:
    """Return the Greek letter that a word names ("Gamma"), or the word itself."""
    kind = "CAPITAL" if word[:1].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {kind} LETTER {word.upper()}") if len(word) > 1 else word
    except KeyError:
        return word


def text_width(line: Line) -> float:
    """Estimate the width of a line in pixels at 15 px; on the safe side, since fonts differ."""
    return sum(_advance(c) * (10.5 if "small" in piece.style else 15.0) for piece in line for c in piece.text)


def _advance(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if character in " ()[],.<>|ijlt'":
        return 0.4
    return 0.88 if character in "mwMW=+\N{CIRCLED DOT OPERATOR}\N{MINUS SIGN}" or character.isupper() else 0.61


def set_lines(text: str) -> list[Line]:
    """Return one plain equation as lines no wider than `WIDEST` where an operator allows a break."""
    lines: list[str] = []
    rest = text
    while text_width(markup(rest)) > WIDEST:
        cut = _last_break(rest)
        if cut is None:
            break
        lines.append(rest[:cut])
        rest = rest[cut:]
    return [markup(line) for line in [*lines, rest]]


def _last_break(text: str) -> int | None:
    """The last place before an operator where the text up to it still fits, or the first one at all."""
    breaks = [match.start() + 1 for match in re.finditer(r" [-+*/] ", text)]
    fitting = [cut for cut in breaks if text_width(markup(text[:cut])) <= WIDEST]
    return fitting[-1] if fitting else breaks[0] if breaks else None
