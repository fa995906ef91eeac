"""Series in tables: a row a step, columns of numbers and texts, rows of one series ordered by their time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError, UsageError, nearest
from elman.readers.examples import Example, shown
from elman.readers.series import MISSING, Series, SeriesReading, number_of
from elman.readers.tables import Row, lacking, rows, text_of


def table_series(path: Path, form: str, how: SeriesReading) -> Iterator[Example]:
    """Yield the series of a table, in order of their first rows.

    A column is read as numbers if most of its values are, one whose numbers are names if all are; else as texts. Rows
    of a series are sorted by time.

    Args:
        path: The file.
        form: "csv", "tsv", "jsonl" or "parquet".
        how: Columns: "time", several of which may be joined by commas ("date,hour"); "series", which tells them apart,
            without it the table is one; "label" (unless there are targets), "group" and "part", the same in all rows of
            a series. To train, columns that are called "series" and "time" are taken as such, which `how.taken` gets.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: a column is missing, or rows or series cannot be used and are not to be skipped.
        UsageError: a column whose numbers should be names is not read.
    """
    needed = ("series",) if "series" in how.columns else ()
    found = list(rows(path, form, how, needed))
    if not found:
        raise DataError(f"{path}: must have rows; got none that can be used")
    found, how = _with_usual_names(found, how)
    values = _columns(path, found, how)
    timed = [(row, _time(row, how)) for row in _usable(found, values, how)]
    series: dict[str, list[tuple[Row, Any]]] = {}
    for row, time in timed:
        if isinstance(time, DataError):
            how.rejects.take(row.where, time)
        else:
            series.setdefault(_name_of_series(row, how), []).append((row, time))
    for steps in series.values():
        try:
            yield _example(_ordered(steps, how), values, how)
        except DataError as error:
            how.rejects.take(steps[0][0].where, error)


def _name_of_series(row: Row, how: SeriesReading) -> str:
    """The name of the series that a row is of; the same for all rows where no column tells."""
    return str(row.values.get(how.columns["series"], "")) if "series" in how.columns else ""


_COMPACT = re.compile(r"(?:1[6-9]|2[01])\d{6}", re.ASCII)
_MEANING = {"series": "tells the series apart", "time": "orders the steps"}


def _with_usual_names(found: list[Row], how: SeriesReading) -> tuple[list[Row], SeriesReading]:
    """Take columns called "series" and "time" as such; rows without a name of their series are refused."""
    names = {name for row in found for name in row.values}
    used = {*how.ignore, *how.category, *how.targets, *(n for c in how.columns.values() for n in c.split(","))}
    usual = (
        [key for key in _MEANING if key in names - used and key not in how.columns] if how.purpose == "train" else []
    )
    how.notes.extend(f"the column {key} {_MEANING[key]}" for key in usual if key not in how.taken)
    how.taken.update({key: key for key in usual})
    kept = []
    for row in found:
        if "series" in usual and not text_of(row.values.get("series")):
            how.rejects.refuse(row.where, "series must not be empty; got nothing")
        else:
            kept.append(row)
    return kept, replace(how, columns={**how.columns, **{key: key for key in usual}})


def _columns(path: Path, found: Sequence[Row], how: SeriesReading) -> dict[str, bool]:
    """Names of the columns that hold values, and whether they are numbers."""
    names = dict.fromkeys(name for row in found for name in row.values)
    own = {key: how.column(key).split(",") for key in (*how.columns, *(() if how.targets else ("label",)))}
    for key in own:
        must_be = how.purpose == "train" if key in ("group", "part") else how.labelled or key != "label"
        if must_be and not set(own[key]) <= set(names):
            raise lacking(str(path), key, how, names)
    _refuse_idle(how, own)
    told = (*how.ignore, *how.category) if how.purpose == "train" else ()
    for name in (*told, *(how.targets if how.labelled else ())):
        if name not in names:
            raise DataError(f"{path}: must have a column {name!r}; got {', '.join(names)}{nearest(name, names)}")
    taken = {*how.ignore, *(name for columns in own.values() for name in columns)}
    left = [name for name in names if name not in taken]
    idle = [name for name in how.category if name not in left or name in how.targets]
    if idle and how.purpose == "train":
        raise UsageError(f"category: must name columns that are read; got {idle[0]!r}, which is not")
    return {
        name: name in how.targets or _are_numbers((row.values.get(name) for row in found), name in how.category)
        for name in left
    }


def _refuse_idle(how: SeriesReading, own: dict[str, list[str]]) -> None:
    """Refuse to train where a column is to be left out and read."""
    uses = dict.fromkeys(how.targets, "a target") | {name: key for key, names in own.items() for name in names}
    for name in how.ignore if how.purpose == "train" else ():
        if name in uses:
            raise UsageError(f"ignore: must name columns that nothing else reads; got {name!r}, which is {uses[name]}")


def _are_numbers(values: Iterator[Any], names: bool) -> bool:
    """Whether values are numbers: most of them, or all where they are names and there are some."""
    numbers = texts = 0
    for value in values:
        try:
            numbers += not np.isnan(_number(value))
        except ValueError:
            comma = re.fullmatch(r"\s*[+-]?\d*,\d+\s*", str(value)) is not None  # a number that cannot be read is told
            numbers, texts = numbers + comma, texts + (not comma)
    return numbers > 0 and not texts if names else numbers >= texts


def _number(value: Any) -> float:
    """A cell as a number.

    Raises:
        ValueError: it is none.
    """
    return number_of("" if value is None else str(float(value)) if isinstance(value, bool) else str(value))


def _usable(found: Sequence[Row], values: dict[str, bool], how: SeriesReading) -> Iterator[Row]:
    """Rows whose numbers are numbers, as floats from here on."""
    for row in found:
        try:
            numbers = {name: _checked(row, name, how) for name, numeric in values.items() if numeric}
            yield Row(row.where, {**row.values, **numbers})
        except DataError as error:
            how.rejects.take(row.where, error)


def _checked(row: Row, name: str, how: SeriesReading) -> float:
    value = row.values.get(name)
    try:
        number = _number(value)
    except ValueError:
        raise DataError(f"{row.where}: {name} must be a number; got {shown(value)}") from None
    if np.isnan(number) and not how.missing and name not in how.targets:
        raise DataError(
            f"{row.where}: {name} must be a number; got nothing", "let missing values be filled with --missing fill"
        )
    return number


def _time(row: Row, how: SeriesReading) -> Any:
    """The time of a row: datetime64, float, None without a column; or why it has none."""
    if "time" not in how.columns:
        return None
    text = _text_of_time(row, how)
    try:
        return time_of(text)
    except ValueError:
        return DataError(
            f"{row.where}: {how.columns['time']} must be a time, like 2024-03-31, 2024-03-31 17:05 or 12.5; "
            f"got {shown(text)}"
        )


def _text_of_time(row: Row, how: SeriesReading) -> str:
    cells = [row.values.get(name) for name in how.columns["time"].split(",")]
    return "T".join(_two_digits(cell) if n else str(cell).strip() for n, cell in enumerate(cells))


def _two_digits(cell: Any) -> str:
    """An hour as ISO 8601 writes it; other texts as they are."""
    text = str(cell).strip().removesuffix(".0")
    return text.zfill(2) if text.isdigit() else text


def time_of(text: str) -> np.datetime64 | float:
    """Return a time: a number, or a date by ISO 8601, of another zone as universal time.

    Eight digits that are a day from 1600 to 2199, 20240331, are that day, and no number.

    Raises:
        ValueError: it is neither.
    """
    if (day := _compact(text)) is not None:
        return np.datetime64(day, "us")
    if text.strip().lower() in MISSING:
        raise ValueError(text)
    try:
        return number_of(text)
    except ValueError:
        found = datetime.fromisoformat(text)
        return np.datetime64(found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found, "us")


def _compact(text: str) -> datetime | None:
    """The day that eight digits are, however the table wrote the number; None where they are none."""
    digits = text.strip().removesuffix(".0")
    try:
        return datetime.strptime(digits, "%Y%m%d") if _COMPACT.fullmatch(digits) else None
    except ValueError:
        return None


def _ordered(steps: list[tuple[Row, Any]], how: SeriesReading) -> list[tuple[Row, Any]]:
    """Steps by time, each time once."""
    if "time" not in how.columns:
        return steps
    if len({type(time) for _, time in steps}) > 1:
        raise DataError(f"{steps[0][0].where}: times must be all dates or all numbers; got both in one series")
    dates = (_text_of_time(row, how) for row, time in steps if isinstance(time, np.datetime64))
    if len({_compact(date) is not None or datetime.fromisoformat(date).tzinfo is None for date in dates}) > 1:
        raise DataError(f"{steps[0][0].where}: times must all name their zone, or none; got both in one series")
    ordered = sorted(steps, key=lambda step: step[1])
    again = [n for n, (before, after) in enumerate(pairwise(ordered), 1) if before[1] == after[1]]
    for n in again:
        how.rejects.refuse(
            ordered[n][0].where,
            f"time must differ from that of {ordered[n - 1][0].where}; got {ordered[n][1]} again",
            "name the column that tells series apart: --column series=NAME",
        )
    return [step for n, step in enumerate(ordered) if n not in set(again)]


def _example(steps: list[tuple[Row, Any]], values: dict[str, bool], how: SeriesReading) -> Example:
    first = steps[0][0]
    numeric, textual = (tuple(name for name, kind in values.items() if kind is wanted) for wanted in (True, False))
    numbers = np.array([[row.values.get(name, np.nan) for name in numeric] for row, _ in steps], dtype=np.float64)
    texts = _texts([row for row, _ in steps], textual)
    times = np.array([time for _, time in steps]) if "time" in how.columns else None
    x = Series(first.where, numeric, numbers.reshape(len(steps), len(numeric)), textual, texts, times)
    labelled, group, part = how.classed, first.group(how), first.part(how)
    for key, matters in (("label", labelled), ("group", group is not None), ("part", part is not None)):
        if matters:
            _check_same([row for row, _ in steps], how.column(key))
    label = first.values.get(how.column("label")) if labelled else None
    if labelled and label in (None, ""):
        raise DataError(f"{first.where}: {how.column('label')} must name the class of the series; got nothing")
    named = None if label in (None, "") else str(label).strip()
    series = str(first.values[how.columns["series"]]) if "series" in how.columns else None
    return Example(first.where, x, named, group or series, part, series)


def _texts(found: list[Row], names: tuple[str, ...]) -> npt.NDArray[Any] | None:
    """Cells (T, D), "" where missing."""
    if not names:
        return None
    cells = [[text_of(row.values.get(name)) for name in names] for row in found]
    return np.array(cells, dtype=np.str_)


def _check_same(found: list[Row], name: str) -> None:
    for row in found:
        if row.values.get(name) != found[0].values.get(name):
            raise DataError(
                f"{found[0].where}: {name} must be the same in all rows of a series; "
                f"got {shown(found[0].values.get(name))} and {shown(row.values.get(name))} at {row.where}"
            )
