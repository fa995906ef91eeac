"""What the calendar says of a time: hour, weekday and season, which are known however far ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import UsageError

_DAY = np.timedelta64(1, "D")
_YEAR = 365.2425 * 86400e6  # microseconds


def calendar_of(part: str, times: npt.NDArray[Any] | None) -> npt.NDArray[np.float64]:
    """Return what a part of the calendar says of times (T,).

        hour     (T, 24), one axis for each hour of the day
        weekday  (T, 7), one axis for each day, from Monday on
        year     (T, 4), sine and cosine of once and twice around the year

    Args:
        part: Its name.
        times: Of datetime64; None for no times, T = 0.

    Raises:
        UsageError: an unknown part.
    """
    at = np.zeros(0, "datetime64[us]") if times is None else times.astype("datetime64[us]")
    days = at.astype("datetime64[D]")
    if part == "hour":
        return _axes((at - days).astype("timedelta64[h]").astype(np.int64), 24)
    if part == "weekday":
        return _axes((days.astype(np.int64) + 3) % 7, 7)  # 1970-01-01 was a Thursday
    if part == "year":
        angles = (at - at.astype("datetime64[Y]")).astype(np.float64)[:, None] * (2 * np.pi / _YEAR) * np.array([1, 2])
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    raise UsageError(f"calendar: must be hour, weekday or year; got {part!r}")


def _axes(numbers: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float64]:
    """Return (T, size) with a one at each number."""
    axes: npt.NDArray[np.float64] = (numbers[:, None] == np.arange(size)).astype(np.float64)
    return axes


def calendar_parts(series: Sequence[npt.NDArray[Any] | None]) -> tuple[str, ...]:
    """Return the parts of the calendar that differ between steps of series with dates: () without dates.

    Args:
        series: Times (T,) of each.
    """
    if any(times is None or times.dtype.kind != "M" for times in series):
        return ()
    times = np.concatenate([np.asarray(times, dtype="datetime64[us]") for times in series])
    days = times.astype("datetime64[D]")
    within = len(np.unique(times - days)) > 1
    daily = len(np.unique((days.astype(int) + 3) % 7)) > 1
    yearly = times.max() - times.min() > 300 * _DAY
    return tuple(name for name, differs in (("hour", within), ("weekday", daily), ("year", yearly)) if differs)
