"""Series: columns over time, of one thing observed; from tables, sktime's .ts, NumPy's .npz and rows of values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError, nearest
from elman.readers.examples import Reading

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
"""What stands for a number that nobody measured, in small letters."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """T steps of columns. Two are equal if all their values are.

    Args:
        where: Where it begins, "weather.csv:2".
        names: Of the C columns of numbers.
        numbers: (T, C) of any numeric type; NaN where a value is missing.
        text_names: Of the D columns of text.
        texts: (T, D) of str, "" where missing.
        times: (T,) of datetime64 or float, rising; None where nobody said them.
        before: (C,) numbers last known before its first step, NaN where there are none; None where none is needed.
    """

    where: str
    names: tuple[str, ...]
    numbers: npt.NDArray[Any]
    text_names: tuple[str, ...] = ()
    texts: npt.NDArray[Any] | None = None
    times: npt.NDArray[Any] | None = None
    before: Floats | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[Any, ...]:
        arrays = (array for array in (self.numbers, self.texts, self.times, self.before) if array is not None)
        return (self.names, self.text_names, *((array.shape, array.tobytes()) for array in arrays))

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column (T,): numbers as float64, or texts.

        Raises:
            DataError: there is no such column.
        """
        if name in self.names:
            return np.asarray(self.numbers[:, self.names.index(name)], dtype=np.float64)
        if self.texts is not None and name in self.text_names:
            return np.asarray(self.texts[:, self.text_names.index(name)])
        known = (*self.names, *self.text_names)
        raise DataError(f"{self.where}: must have a column {name!r}; got {', '.join(known)}{nearest(name, known)}")

    def matrix(self, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return columns of numbers (T, C) by name.

        Raises:
            DataError: there is no such column, or it holds no numbers.
        """
        if names == self.names:
            return self.numbers.astype(np.float64)
        columns = [self.column(name) for name in names]
        texts = [name for name, column in zip(names, columns, strict=True) if column.dtype.kind != "f"]
        if texts:
            raise DataError(f"{self.where}: column {texts[0]!r} must hold numbers; got texts")
        return np.stack(columns, axis=1)

    def part(self, begin: int, end: int) -> Series:
        """Return steps begin to end, end not included, that know what was known before them where they miss it."""
        numbers = self.numbers[begin:end]
        texts = None if self.texts is None else self.texts[begin:end]
        times = None if self.times is None else self.times[begin:end]
        before = self.before if begin == 0 else self._known[begin - 1] if np.isnan(numbers[:1]).any() else None
        return replace(self, numbers=numbers, texts=texts, times=times, before=before)

    @cached_property
    def _known(self) -> Floats:
        """Numbers (T, C), a missing one the last known before it."""
        return last_known(self.numbers, self.known_before(self.names))

    def known_before(self, names: tuple[str, ...]) -> Floats:
        """Return the numbers of columns (C,) last known before its first step; NaN where there are none."""
        if self.before is None:
            return np.full(len(names), np.nan)
        return self.before[[self.names.index(name) for name in names]]


@dataclass(frozen=True)
class SeriesReading(Reading):
    """How series are read.

    Args:
        ignore: Columns of a table that are not read.
        category: Columns of a table whose numbers are names.
        targets: Columns of a table that are read whatever they hold; at a step where they say nothing they are NaN.
        missing: Whether numbers may be missing.
        channels: Values of a step, where a row holds a whole series.
        ragged: Whether such rows may differ in their number of values.
    """

    ignore: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    missing: bool = False
    channels: int = 1
    ragged: bool = False

    @property
    def classed(self) -> bool:
        """Whether every series must say its label: not where targets are what is to be said."""
        return self.labelled and not self.targets


def last_known(values: npt.NDArray[Any], before: Floats) -> Floats:
    """Return values (T, C), a missing one the last known before it: of an earlier step, else of `before` (C,)."""
    steps = np.arange(len(values))[:, None]  # (T, 1)
    latest = np.maximum.accumulate(np.where(np.isnan(values), -1, steps), axis=0)  # of the values that are known
    found: Floats = np.where(latest < 0, before, np.take_along_axis(values, np.maximum(latest, 0), axis=0))
    return found


def number_of(text: str) -> float:
    """Return a number, NaN for what stands for a missing one.

    Raises:
        ValueError: it is neither; infinity is none, nor is what only Python reads as one, "2011_01".
    """
    if text.strip().lower() in MISSING:
        return float("nan")
    value = float(text)
    if np.isinf(value) or "_" in text:
        raise ValueError(text)
    return value


def refuse_missing(where: str, numbers: npt.NDArray[Any], how: SeriesReading) -> None:
    """Refuse numbers (T, C) of which some are missing or infinite.

    Raises:
        DataError: some are infinite, or missing where none may be.
    """
    if not np.issubdtype(numbers.dtype, np.floating):
        return
    bad = np.isinf(numbers) if how.missing else ~np.isfinite(numbers)
    if bad.any():
        step, column = np.argwhere(bad)[0]
        raise DataError(
            f"{where}: must be finite numbers; got {numbers[step, column]} at step {step + 1} of column {column + 1}",
            None if how.missing else "let missing values be filled with --missing fill",
        )
