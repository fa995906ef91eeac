"""A sheet of pictures with a line of text below each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elman.diagnosis.picture import plain
from elman.errors import MissingExtraError

_COLUMNS, _MOST, _LINE = 4, 24, 28


def draw_sheet(images: Sequence[tuple[Any, str]], path: Path) -> Path:
    """Draw the first images, bytes (H, W, C) with their texts, into a PNG file and return its path.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing needs matplotlib, which is not installed", "pip install matplotlib") from error
    shown = images[:_MOST]
    rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in every:
        axes.set_axis_off()
    for axes, (pixels, text) in zip(every, shown, strict=False):
        grey = pixels.shape[2] == 1
        axes.imshow(pixels[:, :, 0] if grey else pixels, cmap="gray" if grey else None, vmin=0, vmax=255)
        axes.set_title(
            plain("\n".join(textwrap.wrap(text, _LINE))), fontsize=8, y=-0.03, pad=0, verticalalignment="top"
        )
    figure.savefig(path, dpi=100)
    return path
