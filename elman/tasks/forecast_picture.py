"""The picture of what was said of a series over time, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.diagnosis.picture import empty_figure, plain
from elman.readers import Example
from elman.storage import storing
from elman.tasks.supervised import Answer

MOST_SERIES = 6
_CLOSE = 200  # steps of the second panel
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Track:
    """A target of a series over time: truth, forecast, and the range of quantiles where there is one."""

    title: str
    at: npt.NDArray[Any]
    truth: Floats | None
    forecast: Floats
    low: Floats | None
    high: Floats | None


def draw_forecasts(examples: Sequence[Example], answers: Sequence[Answer], folder: Path) -> list[Path]:
    """Draw forecasts of the first six series and targets as forecast.png: all steps, and the last 200 close up.

    Args:
        examples: Windows, with truths where these are known; those of one series in order.
        answers: What was said of each.
        folder: Where.

    Raises:
        StorageError: it cannot be written.
    """
    tracks = _tracks(examples, answers)[:MOST_SERIES]
    figure = empty_figure(1)
    figure.set_size_inches(14, 1 + 2.6 * len(tracks))
    grid = figure.subplots(len(tracks), 2, squeeze=False, width_ratios=(3, 2))
    for (whole, close), track in zip(grid, tracks, strict=True):
        _draw(whole, track, slice(None))
        _draw(close, track, slice(-_CLOSE, None))
        whole.set_title(plain(track.title), fontsize=9, loc="left")
        close.set_title(f"the last {min(_CLOSE, len(track.at))} steps", fontsize=9, loc="left")
        close.tick_params(axis="x", labelrotation=30, labelsize=7)
    grid[0, 0].legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    path = folder / "forecast.png"
    with storing(path):
        figure.savefig(path, dpi=110)
    return [path]


def _tracks(examples: Sequence[Example], answers: Sequence[Answer]) -> list[_Track]:
    series: dict[str, list[int]] = {}
    for n, example in enumerate(examples):
        series.setdefault(example.x.name, []).append(n)
    return [
        _track(name, target, [examples[n] for n in rows], [answers[n] for n in rows])
        for name, rows in series.items()
        for target in answers[rows[0]]["forecasts"]
    ]


def _track(name: str, target: str, examples: Sequence[Example], answers: Sequence[Answer]) -> _Track:
    def joined(kind: str) -> Floats | None:
        if kind not in answers[0]:
            return None
        return np.concatenate([np.asarray(answer[kind][target]) for answer in answers])

    forecast = joined("forecasts")
    assert forecast is not None, "every answer has forecasts"
    if examples[0].x.times is None:
        at: npt.NDArray[Any] = np.arange(1, len(forecast) + 1)
    else:
        at = np.concatenate([example.x.times for example in examples])
    told = all(example.y is not None for example in examples)
    truth = np.concatenate([example.y.targets[target] for example in examples]) if told else None
    return _Track(f"{target}   {name}", at, truth, forecast, joined("low"), joined("high"))


def _draw(axes: Any, track: _Track, steps: slice) -> None:
    at = track.at[steps]
    if track.low is not None and track.high is not None:
        low, high = track.low[steps], track.high[steps]
        axes.fill_between(at, low, high, color="#d95f02", alpha=0.2, linewidth=0, label="8 of 10")
        lone = _lone(low)
        axes.vlines(at[lone], low[lone], high[lone], color="#d95f02", alpha=0.2, linewidth=4)
    if track.truth is not None:
        _line(axes, at, track.truth[steps], "k", "truth", 0.9)
    _line(axes, at, track.forecast[steps], "#d95f02", "forecast", 1.1)
    axes.grid(alpha=0.25)


def _line(axes: Any, at: npt.NDArray[Any], values: Floats, colour: str, label: str, width: float) -> None:
    """Draw values (T,) as a line, and as a dot where a line has nowhere to go."""
    axes.plot(at, values, color=colour, linewidth=width, label=label)
    lone = _lone(values)
    axes.plot(at[lone], values[lone], ".", color=colour, markersize=6)


def _lone(values: Floats) -> npt.NDArray[np.intp]:
    """Which values (T,) have no known one beside them."""
    known = np.pad(~np.isnan(values), 1)
    return np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
