"""Columns of series to numbers of similar size: standardised, one axis a category, the calendar of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from elman.codecs.calendar import calendar_of
from elman.errors import DataError, ModelFileError
from elman.readers.series import Series, last_known, number_of

MOST_CATEGORIES = 200
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """A column of numbers: (value - mean) / deviation, both of the training data.

    A missing value is the one before it, the mean where there is none. Where training data misses some, one more axis
    says which: 1 for a missing value, else 0.
    """

    name: str
    mean: float
    deviation: float
    misses: bool = False

    @classmethod
    def of(cls, name: str, values: Floats) -> Number:
        """Return what training values (N,) are standardised by; a column that never varies becomes 0."""
        known = values[~np.isnan(values)]
        mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        tiny = deviation <= 1e-12 * max(abs(mean), 1e-300)  # rounding, not variation
        return cls(name, mean, 1.0 if tiny else deviation, len(known) < len(values))

    @property
    def axes(self) -> int:
        """Numbers that a value becomes."""
        return 1 + self.misses


@dataclass(frozen=True)
class NumberColumns:
    """Columns of numbers that stand beside each other: read, filled and standardised at once.

    Args:
        columns: C of them, in the order of their axes.
    """

    columns: tuple[Number, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def scale(self) -> tuple[Floats, Floats]:
        """Means (C,) and deviations (C,)."""
        return np.array([c.mean for c in self.columns]), np.array([c.deviation for c in self.columns])

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """Which of C standardised columns and C that say what is missing each axis is."""
        count = len(self.columns)
        axes = [[n, count + n] if column.misses else [n] for n, column in enumerate(self.columns)]
        return np.array([n for of_column in axes for n in of_column], np.int64)

    def encode(self, series: Series) -> Floats:
        """Return the columns as (T, axes)."""
        values, (means, deviations) = series.matrix(self.names), self.scale  # (T, C)
        missing = np.isnan(values)
        if missing.any():
            before = series.known_before(self.names)
            values = last_known(values, np.where(np.isnan(before), means, before))
        standard: Floats = (values - means) / deviations
        if len(self.order) == len(self.columns):
            return standard
        return np.concatenate([standard, missing], axis=1)[:, self.order]  # (T, axes)


@dataclass(frozen=True)
class Category:
    """A column of names: one axis for each that training met; zeros for another one."""

    name: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, name: str, values: npt.NDArray[Any]) -> Category:
        """Return the names among training values (N,).

        Raises:
            DataError: they are too many to be categories.
        """
        names = tuple(sorted(set(_as_names(values))))
        if len(names) > MOST_CATEGORIES:
            raise DataError(
                f"column {name!r}: must have at most {MOST_CATEGORIES} categories; got {len(names):,}, as {names[0]!r}",
                f"leave it out with --ignore {name}",
            )
        return cls(name, names)

    @property
    def axes(self) -> int:
        """Numbers that a value becomes."""
        return len(self.names)

    def encode(self, series: Series) -> Floats:
        """Return the column as (T, axes); a name that is a number is that number however it is written."""
        numbers = {name: n for n, name in enumerate(self.names)}
        values = {_value(name): n for name, n in reversed(numbers.items())} | {None: -1}
        names = _as_names(series.column(self.name))
        found = np.array([numbers[name] if name in numbers else values.get(_value(name), -1) for name in names])
        axes: Floats = (found[:, None] == np.arange(self.axes)).astype(np.float64)
        return axes


def _value(name: str) -> float | str | None:
    """The number that a name is, "" where it stands for a missing one; None where it is neither."""
    try:
        value = number_of(name)
    except ValueError:
        return None
    return "" if np.isnan(value) else value


def _as_names(values: npt.NDArray[Any]) -> list[str]:
    """Numbers as people write them, 3.0 as "3"."""
    return [f"{value:.15g}" if values.dtype.kind == "f" else str(value) for value in values]


class Columns:
    """Columns of series to vectors of numbers.

    Args:
        columns: In the order of their axes.
        calendar: Parts of the calendar that the time gives; see elman.codecs.calendar.

    Example:
        >>> series = Series("", ("a", "b"), np.array([[1.0, 7.0], [3.0, 8.0]]))
        >>> columns = Columns.build([series], ["a", "b"], categories=["b"])
        >>> columns.encode(series).tolist()
        [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """

    kind = "columns"

    def __init__(self, columns: Sequence[Number | Category], calendar: Sequence[str] = ()) -> None:
        self.columns, self.calendar = tuple(columns), tuple(calendar)
        self._runs: list[NumberColumns | Category] = []
        for kind, run in groupby(self.columns, key=type):
            beside = tuple(run)
            self._runs += [NumberColumns(beside)] if kind is Number else beside  # type: ignore[arg-type]

    @classmethod
    def build(
        cls,
        found: Sequence[Series],
        names: Sequence[str],
        categories: Sequence[str] = (),
        calendar: Sequence[str] = (),
    ) -> Columns:
        """Learn means, deviations and categories of training series.

        Args:
            found: The series.
            names: Columns to take.
            categories: Those of them whose numbers are names; columns of text are names anyway.
            calendar: See Columns.
        """
        columns: list[Number | Category] = []
        for name in names:
            values = np.concatenate([series.column(name) for series in found])
            named = name in categories or values.dtype.kind != "f"
            columns.append(Category.of(name, values) if named else Number.of(name, values))
        return cls(columns, calendar)

    @classmethod
    def of_numbers(cls, values: Mapping[str, Floats]) -> Columns:
        """Learn means and deviations of training values (N,) by name."""
        return cls([Number.of(name, found) for name, found in values.items()])

    @property
    def size(self) -> int:
        """Length of the vectors, I."""
        of_calendar = (int(calendar_of(part, None).shape[1]) for part in self.calendar)
        return sum([*(column.axes for column in self.columns), *of_calendar])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def encode(self, series: Series) -> Tensor:
        """Return (T, I) of a series; a step depends on it and steps before only.

        Raises:
            DataError: it lacks a column or the time.
        """
        if self.calendar and (series.times is None or series.times.dtype.kind != "M"):
            raise DataError(f"{series.where}: must have dates as times; got none")
        parts = [run.encode(series) for run in self._runs]
        parts += [calendar_of(part, series.times) for part in self.calendar]
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    def decode(self, values: Floats) -> Floats:
        """Return standardised numbers (..., C) in the unit of their columns."""
        means, deviations = self._scale()
        return values * deviations + means

    def standardise(self, values: Floats) -> Floats:
        """Return numbers (..., C) standardised; NaN stays."""
        means, deviations = self._scale()
        return (values - means) / deviations

    def _scale(self) -> tuple[Floats, Floats]:
        return NumberColumns(tuple(column for column in self.columns if isinstance(column, Number))).scale

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` rebuilds."""
        columns: list[dict[str, Any]] = []
        for column in self.columns:
            if isinstance(column, Number):
                columns.append(
                    {"name": column.name, "mean": column.mean, "deviation": column.deviation, "misses": column.misses}
                )
            else:
                columns.append({"name": column.name, "names": list(column.names)})
        return {"columns": columns, "calendar": list(self.calendar)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Columns:
        """Rebuild what `to_json` gave.

        Raises:
            ModelFileError: it is not the description of columns.
        """
        try:
            columns = [_column(entry) for entry in value["columns"]]
            calendar = [str(part) for part in value["calendar"]]
            for part in calendar:
                calendar_of(part, None)
            if not columns and not calendar:
                raise ValueError("there is none")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"columns: must be described by names and numbers; {str(error)[:80]}") from None
        return cls(columns, calendar)


def _column(entry: Mapping[str, Any]) -> Number | Category:
    if "names" in entry:
        return Category(str(entry["name"]), tuple(str(name) for name in entry["names"]))
    mean, deviation = float(entry["mean"]), float(entry["deviation"])
    if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
        raise ValueError(f"deviation must be finite and more than 0; got {deviation}")
    return Number(str(entry["name"]), mean, deviation, bool(entry["misses"]))
