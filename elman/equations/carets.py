"""Errors of equations show the line, and a caret below the place."""

from __future__ import annotations

from elman.equations.expressions import Position
from elman.errors import EquationError


def caret_error(text: str, position: Position, message: str, hint: str | None = None) -> EquationError:
    """Build an error that shows the line of `text` with a caret below the place."""
    lines = text.splitlines() or [""]
    line = lines[min(position.line, len(lines) - 1)]
    column = min(position.column, len(line))
    pad = "".join("\t" if letter == "\t" else " " for letter in line[:column])
    return EquationError(f"line {position.line + 1}: {message}\n    {line}\n    {pad}^", hint)


def place_of(text: str, index: int) -> Position:
    """Return line and column of the n-th character of `text`."""
    return Position(text.count("\n", 0, index), index - (text.rfind("\n", 0, index) + 1))
