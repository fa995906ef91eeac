"""The picture of a piano roll: which keys sound when, and how surprising each step was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.diagnosis.picture import plain
from elman.errors import MissingExtraError
from elman.readers.notes import LOWEST, name_of_key
from elman.readers.piano_rolls import Roll
from elman.storage import storing

_MARGIN = 2
_STEPS_AN_INCH, _NARROWEST, _WIDEST = 12, 6.0, 30.0


def draw_roll(roll: Roll, path: Path, steps_per_beat: int, surprise: Sequence[float] = (), title: str = "") -> Path:
    """Draw a roll (T, 88) into a PNG file and return its path.

    Args:
        roll: What sounds.
        path: File to write; its folder must exist.
        steps_per_beat: Of the time axis.
        surprise: -ln P of each step in nats, drawn below the roll; nothing for none.
        title: Text above.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: it cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing needs matplotlib, which is not installed", "pip install matplotlib") from error
    width = float(np.clip(len(roll) / _STEPS_AN_INCH, _NARROWEST, _WIDEST))
    figure = Figure(figsize=(width, 5.5 if len(surprise) else 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(
        1 + bool(len(surprise)), 1, sharex=True, squeeze=False, height_ratios=[3, 1][: 1 + bool(len(surprise))]
    )
    _draw_keys(rows[0, 0], roll, len(roll) / steps_per_beat)
    rows[0, 0].set_title(plain(title))
    if len(surprise):
        beats = np.arange(len(surprise) + 1) / steps_per_beat
        rows[1, 0].stairs(surprise, beats, baseline=None, linewidth=1.0)
        rows[1, 0].set_ylabel("nats")
        rows[1, 0].set_ylim(bottom=0)
    rows[-1, 0].set_xlabel("beats")
    with storing(path):
        figure.savefig(path, dpi=100)
    return path


def _draw_keys(axes: Any, roll: Roll, beats: float) -> None:
    """The keys between the lowest and the highest that sound, an octave's C as a line."""
    sounding = np.flatnonzero(roll.any(axis=0))
    low, high = (sounding[0], sounding[-1]) if len(sounding) else (0, roll.shape[1] - 1)
    low, high = max(low - _MARGIN, 0), min(high + _MARGIN, roll.shape[1] - 1)
    extent = (0.0, beats, low + LOWEST - 0.5, high + LOWEST + 0.5)
    axes.imshow(
        roll[:, low : high + 1].T,
        aspect="auto",
        origin="lower",
        cmap="Greys",
        vmin=0,
        vmax=1,
        extent=extent,
        interpolation="nearest",
    )
    octaves = [key for key in range(low + LOWEST, high + LOWEST + 1) if key % 12 == 0]
    axes.set_yticks(octaves, [name_of_key(key) for key in octaves])
    axes.grid(axis="y", alpha=0.4)
