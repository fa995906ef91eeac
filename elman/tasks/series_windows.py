"""A long series as windows: steps to say something of, after steps that are only read to warm up the state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError, UsageError
from elman.readers import Example
from elman.readers.series import Series
from elman.readers.series_tables import time_of
from elman.tasks.naive_forecasts import naive_forecasts, shifted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """Steps of a series.

    Args:
        name: Of the series.
        series: Columns to read; no target among them.
        warm_up: How many of its first steps are only read.
        times: (W,) of the steps that are said, as many steps later as is looked ahead; None without times.
        dated: Whether all steps of the series are at midnight, so that dates say their times.
    """

    name: str
    series: Series
    warm_up: int
    times: npt.NDArray[Any] | None = None
    dated: bool = False


@dataclass(frozen=True, eq=False)
class Truth:
    """What a window should say, warm-up left out.

    Args:
        targets: Values (W,) by name; NaN where unknown.
        naive: Forecasts that need no model, by their name and that of the target.
    """

    targets: Mapping[str, Floats]
    naive: Mapping[str, Mapping[str, Floats]]


@dataclass(frozen=True)
class Cutting:
    """How a series is cut.

    Args:
        targets: Names of the columns to say.
        lags: Each target of so many steps before the one that is said becomes a column.
        window: W, steps to say of each window, the last of a part may have fewer.
        warm_up: Steps only read before them; fewer at the start of a series.
        season: Steps of a season, for the naive forecast.
        ahead: N, what is read at a step says the target of N steps later.
        validation_from, test_from: Where the part of the data begins: a time, or a share of the steps.
        validation_share: Of the steps before the test, where nobody says where validation begins.
    """

    targets: Sequence[str]
    lags: Sequence[int]
    window: int
    warm_up: int
    season: int | None
    ahead: int
    validation_from: str | None
    test_from: str | None
    validation_share: float


def windows(example: Example, how: Cutting, labelled: bool) -> Iterator[Example]:
    """Yield the windows of a series, each step that is said once, in order.

    No window says steps of two parts of the data; what it reads may begin in the part before, as in use. Where no
    targets are needed, the steps after the end that can be said are said, too.

    Args:
        example: Its x is a Series with the targets among its columns; its part, if it has one, is that of all windows.
        how: How it is cut.
        labelled: Whether there must be targets.

    Raises:
        DataError: it lacks a target, is too short to look ahead, or has no time where a part begins at one.
        UsageError: parts do not begin one after the other.
    """
    series: Series = example.x
    known = {name: series.column(name) for name in how.targets if labelled}
    ahead = how.ahead
    naive = {name: naive_forecasts(values, series.times, how.season, max(ahead, 1)) for name, values in known.items()}
    read = _without(_with_lags(series, how), how.targets)
    steps = len(series) if labelled else len(series) + ahead
    if steps <= ahead:
        raise DataError(f"{series.where}: must have more than {ahead} steps, so far is looked ahead; got {len(series)}")
    times = None if series.times is None else _going_on(series.times, ahead)
    dated = times is not None and _are_dates(times)
    for part, begin, end in _parts(example, how, steps):
        for start in range(max(begin, ahead), end, how.window):
            stop, first = min(start + how.window, end), max(start - how.warm_up, ahead)
            said = None if times is None else times[start:stop]
            x = Window(
                example.id or example.group or example.where,
                read.part(first - ahead, stop - ahead),
                start - first,
                said,
                dated,
            )
            truth = Truth(
                {name: values[start:stop] for name, values in known.items()},
                {name: {n: f[start:stop] for n, f in found.items()} for name, found in naive.items()},
            )
            yield Example(_where(series, start, said), x, truth if labelled else None, example.group, part, example.id)


def _where(series: Series, step: int, times: npt.NDArray[Any] | None) -> str:
    return f"{series.where}: {step + 1 if times is None else shown_time(times[0])}"


def _are_dates(times: npt.NDArray[Any]) -> bool:
    """Whether all times are at midnight."""
    return times.dtype.kind == "M" and bool((times == times.astype("datetime64[D]")).all())


def _going_on(times: npt.NDArray[Any], steps: int) -> npt.NDArray[Any] | None:
    """Times with so many more after their end, one usual step after the other; None where one time tells no step."""
    if not steps:
        return times
    if len(times) < 2:
        return None
    later = np.arange(1, steps + 1)
    for day in (0, 1) if times.dtype.kind == "M" else ():  # months and years: as far after the begin of one, or its end
        months = (times + np.timedelta64(day, "D")).astype("datetime64[M]")
        beside = times - months
        if (beside == beside[0]).all():
            further = months[-1] + _usual(np.diff(months)) * later
            return np.concatenate([times, further.astype(times.dtype) + beside[0]])
    if (days := _days_going_on(times, later)) is not None:
        return np.concatenate([times, days])
    return np.concatenate([times, times[-1] + _usual(np.diff(times)) * later])


def _days_going_on(times: npt.NDArray[Any], later: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The days after the end, of those weekdays that there are; None where times are no days or tell no week."""
    if times.dtype.kind != "M":
        return None
    days = times.astype("datetime64[D]")
    beside, between = times - days, np.diff(days)
    seen = np.bincount((days.astype(np.int64) + 3) % 7, minlength=7) > 0  # from Monday; day 0, of 1970, was a Thursday
    weeks = days[-1] - days[0] >= np.timedelta64(13, "D")  # each weekday could be met twice
    if not weeks or seen.all() or (beside != beside[0]).any() or _usual(between) != np.timedelta64(1, "D"):
        return None
    further: npt.NDArray[Any] = np.busday_offset(days[-1], later, weekmask=seen).astype(times.dtype) + beside[0]
    return further


def _usual(between: npt.NDArray[Any]) -> Any:
    """The median of what lies between times, in its unit."""
    return np.median(between.astype(np.float64)).astype(between.dtype)


def shown_time(time: np.datetime64 | np.float64, dated: bool = True) -> str:
    """Return a time as people write it, without more digits than it has; without a midnight where it is a date."""
    if isinstance(time, np.floating):
        return f"{time:.15g}"  # seconds of an epoch have ten digits before the point
    text = str(time).removesuffix(".000000")
    return text.removesuffix("T00:00:00") if dated else text


def _with_lags(series: Series, how: Cutting) -> Series:
    """The series with each target of some steps before the one that is said as a column: cnt<t-1>."""
    if not how.lags:
        return series
    names = tuple(f"{name}<t-{lag}>" for name in how.targets for lag in how.lags)
    columns = [shifted(series.column(name), lag - how.ahead) for name in how.targets for lag in how.lags]
    numbers = np.concatenate([series.numbers, np.stack(columns, axis=1)], axis=1)
    return replace(series, names=(*series.names, *names), numbers=numbers)


def _without(series: Series, names: Sequence[str]) -> Series:
    left = [n for n, name in enumerate(series.names) if name not in names]
    return replace(series, names=tuple(series.names[n] for n in left), numbers=series.numbers[:, left])


def _parts(example: Example, how: Cutting, steps: int) -> Iterator[tuple[str | None, int, int]]:
    """Parts of the data with begin and end of their steps, of which there are so many."""
    series: Series = example.x
    if example.part is not None:
        yield example.part, 0, steps
        return
    if how.validation_from is None and how.test_from is None and not how.validation_share:
        yield None, 0, steps
        return
    test = steps if how.test_from is None else place_of(how.test_from, series, "test_from")
    if how.validation_from is None:
        validation = test - round(how.validation_share * test)
    else:
        validation = place_of(how.validation_from, series, "validation_from")
    if validation > test:
        raise UsageError(f"validation_from: must be before test_from, {how.test_from}; got {how.validation_from}")
    ends = (0, validation, test, steps)
    yield from ((name, *ends) for name, ends in zip(("train", "validation", "test"), pairwise(ends), strict=True))


def is_share(text: str) -> bool:
    """Return whether a place is a share of the steps, "0.8", rather than a time."""
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


def place_of(text: str, series: Series, what: str) -> int:
    """Return the first step of a series at or after a time, or after a share of its steps.

    Args:
        text: "2012-10-01", or "0.8".
        series: The series.
        what: Name of the option, for errors.

    Raises:
        UsageError: it is neither.
        DataError: the series has no such times.
    """
    try:
        time = time_of(text)
    except ValueError:
        raise UsageError(f"{what}: must be a time, like 2012-10-01, or a share, like 0.8; got {text!r}") from None
    if isinstance(time, float) and is_share(text):
        return round(time * len(series))
    kinds = {"M": np.datetime64, "f": float}
    if series.times is None or not isinstance(time, kinds[series.times.dtype.kind]):
        found = "none" if series.times is None else shown_time(series.times[0])
        raise DataError(
            f"{series.where}: must have times to compare with {what}, {text}; got {found}",
            "name the column of the time with --column time=NAME",
        )
    return int(np.searchsorted(series.times, np.asarray(time, dtype=series.times.dtype)))
