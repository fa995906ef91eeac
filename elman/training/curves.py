"""Loss curves of a run: a PNG picture and a few lines for the terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elman.errors import DataError, MissingExtraError, ModelFileError
from elman.training.metrics_log import read_records

_BLOCKS = "▁▂▃▄▅▆▇█"
Points = list[tuple[int, float]]


def read_curves(run: Path | str) -> dict[str, Points]:
    """Return the curves "train" and "validation" of a run folder as (step, loss in nats per item), where finite.

    Raises:
        MissingInputError: the run has no metrics.jsonl.
        ModelFileError: a record with a loss has no step; the text names its line.
    """
    curves: dict[str, Points] = {"train": [], "validation": []}
    path = Path(run) / "metrics.jsonl"
    for number, record in enumerate(read_records(path), 1):
        kind, step, loss = (record.get(name) for name in ("kind", "step", "loss"))
        if not isinstance(kind, str) or kind not in curves or not isinstance(loss, (int, float)):
            continue
        if type(step) is not int:
            raise ModelFileError(f"{path}:{number}: step must be a whole number; got {str(step)[:60]}")
        if math.isfinite(loss):
            curves[kind].append((step, float(loss)))
    return curves


def save_png(run: Path | str, path: Path | str | None = None) -> Path:
    """Draw a run's loss curves into a PNG file, by default curves.png in the run folder, and return its path.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: no loss was recorded yet.
    """
    curves = {name: points for name, points in read_curves(run).items() if points}
    if not curves:
        raise DataError(f"{run}: run must have recorded losses; got none")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("curves: matplotlib must be installed; got none", "pip install matplotlib") from error
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    _draw(figure.add_subplot(), curves)
    target = Path(path) if path is not None else Path(run) / "curves.png"
    figure.savefig(target, dpi=130)
    return target


def _draw(axes: Any, curves: dict[str, Points]) -> None:
    for name, points in curves.items():
        steps, losses = zip(*points, strict=True)
        dot = "." if len(points) == 1 else ""  # a line of one point is none
        axes.plot(steps, losses, dot + "-", label=name, linewidth=1.0 if name == "train" else 2.0)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per item)")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")


def as_text(run: Path | str, width: int = 60) -> str:
    """Return a run's loss curves as one line of blocks each, high to low, with first, best and last loss."""
    lines = []
    for name, points in read_curves(run).items():
        if points:
            losses = [loss for _, loss in points]
            ends = f"{losses[0]:.3f} -> {losses[-1]:.3f}, lowest {min(losses):.3f}"
            lines.append(f"{name:<10}  {sparkline(losses, width)}  {ends}")
    return "\n".join(lines)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return values as blocks, at most `width` of them; more values are averaged in equal parts."""
    count = min(width, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)] if count else [0]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = (min(means), max(means)) if means else (0.0, 0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((mean - low) * scale)] for mean in means)
