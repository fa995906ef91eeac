"""Every error a user can meet: what must hold, what was got, a hint, and the exit code of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ElmanError(Exception):
    """An error addressed to the user; its text says where, what must hold and what was got.

    Args:
        message: One sentence without a full stop: "where: what must hold, with numbers; got what".
        hint: What to do about it, shown on a line of its own; None for none.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n\nhint: {self.hint}"


class UsageError(ElmanError, ValueError):
    """A name, option or argument that cannot be used as given (exit code 2)."""

    exit_code = 2


class ShapeError(ElmanError, ValueError):
    """A tensor whose shape, type or length does not fit (exit code 2)."""

    exit_code = 2


class EquationError(ElmanError, ValueError):
    """Equations that do not describe a cell; the text shows the line and a caret (exit code 65)."""

    exit_code = 65


class DataError(ElmanError, ValueError):
    """Data that cannot be read; the text names file and line or byte (exit code 65)."""

    exit_code = 65


class ModelFileError(DataError):
    """A model folder or checkpoint that is damaged or not one (exit code 65)."""


class MissingInputError(ElmanError, FileNotFoundError):
    """A file or folder that should be read does not exist (exit code 66)."""

    exit_code = 66


class MissingExtraError(ElmanError, ImportError):
    """An optional library is not installed (exit code 69)."""

    exit_code = 69


class StorageError(ElmanError, OSError):
    """Writing or reading failed in the file system: full disk, no permission, I/O error (exit code 74)."""

    exit_code = 74


class BusyError(ElmanError, OSError):
    """Another process holds what is needed (exit code 75)."""

    exit_code = 75


class DivergedError(ElmanError, ArithmeticError):
    """Training met non-finite losses or gradients too often and stopped (exit code 1)."""

    exit_code = 1


CLOSE = 0.65
"""What share of letters, in their order, a suggestion has in common with what was written (Ratcliff and Obershelp)."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the choice closest to `name`, or an empty text when none is close."""
    close = closest(name, choices)
    return "" if close is None else f"; did you mean {close!r}?"


def closest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to `name`; None when none is close."""
    return next(iter(difflib.get_close_matches(name, list(choices), n=1, cutoff=CLOSE)), None)


def counted(number: float, name: str) -> str:
    """Return "1 step", "2.5 steps", "1,000 steps"."""
    amount = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{amount} {name}{'s' * (number != 1)}"


def check_several(where: str, texts: object) -> None:
    """Refuse one text where several are meant: Python would take its characters for them.

    Raises:
        UsageError: it is one text.
    """
    if isinstance(texts, str):
        shown = texts if len(texts) <= 40 else texts[:37] + "..."
        raise UsageError(f"{where}: must be a list; got one text, {shown!r}", f"write [{shown!r}]")
