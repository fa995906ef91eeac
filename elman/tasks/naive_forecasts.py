"""Forecasts that need no model, to judge one by: the value before, the value a day, a week, a year or a season ago."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from elman.readers.series import Floats, last_known

PERIODS = {"day": 1, "week": 7, "year": 365}
"""Periods of the calendar in days; 365 so that a year of days is that many steps."""


def naive_forecasts(
    values: Floats, times: npt.NDArray[Any] | None, season: int | None, ahead: int = 1
) -> dict[str, Floats]:
    """Return forecasts (T,) of values (T,) by name; NaN where what they repeat is not known.

        naive         y<t-ahead>, or the last one known before
        naive_day     the value at the time that is a day earlier, to within half a step; so naive_week and naive_year
        naive_season  y<t-season>

    Args:
        values: Of one series; NaN where unknown.
        times: (T,), rising; periods of the calendar need dates.
        season: Steps of a season; None for none.
        ahead: Steps before t at which the last value is known, at least 1.

    Returns:
        Those that are known at any step; a period of at most one step is left out.
    """
    found = {"naive": shifted(filled(values), ahead)}
    if times is not None and times.dtype.kind == "M" and len(times) > 1:
        at = times.astype("datetime64[us]").astype(np.float64) / 86400e6  # days
        step = float(np.median(np.diff(at)))
        for name, days in PERIODS.items():
            if days > 1.5 * step:
                found[f"naive_{name}"] = _earlier(values, at, days, step / 2, ahead)
    if season is not None and season >= ahead:
        found["naive_season"] = shifted(values, season)
    return {name: forecast for name, forecast in found.items() if not np.isnan(forecast).all()}


def shifted(values: Floats, steps: int) -> Floats:
    """Return values (T,) as they were so many steps before; NaN where there are none."""
    found = np.full(len(values), np.nan)
    found[steps:] = values[: max(len(values) - steps, 0)]
    return found


def filled(values: Floats) -> Floats:
    """Return values (T,) with the last one known in place of unknown ones; NaN before the first."""
    return last_known(values[:, None], np.full(1, np.nan))[:, 0]


def _earlier(values: Floats, at: Floats, days: int, tolerance: float, ahead: int) -> Floats:
    """The values nearest to so many days before, where they lie within a tolerance and are known."""
    wanted = at - days
    after = np.maximum(np.searchsorted(at, wanted), 1)
    nearest = np.where(wanted - at[after - 1] <= at[after] - wanted, after - 1, after)
    near = (np.abs(at[nearest] - wanted) <= tolerance) & (nearest <= np.arange(len(at)) - ahead)
    return np.where(near, values[nearest], np.nan)
