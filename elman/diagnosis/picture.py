"""The picture of gradient norms against time lag (needs matplotlib, imported only when something is drawn)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elman.errors import MissingExtraError

FLOOR = 1e-12  # smaller norms end at the bottom edge: what matters is that they are gone
STYLES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)))  # lines stay apart without colour and where they coincide

Lines = Mapping[str, Sequence[float]]


def draw(panels: Mapping[str, Lines], path: str | Path, fraction: float = 0.01) -> Path:
    """Draw relative gradient norms (logarithmic) against lag, one panel beside the other, and write a PNG.

    Args:
        panels: Heading -> label -> relative norms at lag 0, 1, ...
        path: File to write; its folder must exist. A name that ends as another kind of picture, .svg, makes that kind.
        fraction: Level below which a lag no longer counts as remembered, drawn as a grey line.

    Returns:
        The path written.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = empty_figure(len(panels))
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, lines) in zip(every, panels.items(), strict=True):
        draw_lines(axes, lines, fraction)
        axes.set_title(plain(title))
    shown = [value for lines in panels.values() for line in lines.values() for value in visible(line) if value == value]
    every[0].set_ylim(max(min(shown, default=1) / 3, FLOOR), 10 * max(shown, default=1))  # the panels share this axis
    every[0].set_ylabel("gradient norm relative to lag 0")
    path = Path(path)
    known = path.suffix.removeprefix(".").lower() in figure.canvas.get_supported_filetypes()
    figure.savefig(path, dpi=120, format=None if known else "png")
    return path


def draw_lines(axes: Any, lines: Lines, fraction: float) -> None:
    """Draw one panel."""
    for number, (label, relative) in enumerate(lines.items()):
        axes.semilogy(visible(relative), label=plain(label), linewidth=1.8, linestyle=STYLES[number % len(STYLES)])
    axes.axhline(fraction, color="grey", linewidth=0.8)
    axes.text(
        0.99, fraction * 1.15, f"{100 * fraction:g} %", color="grey", ha="right", transform=axes.get_yaxis_transform()
    )
    axes.set_xlabel("lag: steps between the loss and the state")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper right")


def plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: a dollar would begin a formula, half a character is an error."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("$", r"\$")


def room(texts: Sequence[str]) -> float:
    """Return how many inches the longest of some texts takes beside an axis, at least half an inch."""
    return max(0.5, 0.1 * max(map(len, texts), default=0))


def visible(relative: Sequence[float]) -> list[float]:
    """Return what a logarithmic axis can show: zero and values that are not finite become gaps."""
    return [value if math.isfinite(value) and value > 0 else math.nan for value in relative]


def empty_figure(panels: int) -> Any:
    """Return a figure that draws without a display and leaves pyplot's global state alone."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "diagnosis: drawing needs matplotlib, which is not installed", "pip install matplotlib"
        ) from error
    figure = Figure(figsize=(5.5 * panels + 1.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
