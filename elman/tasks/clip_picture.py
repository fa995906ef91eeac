"""The picture of clips frame by frame, with what was said of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elman.diagnosis.picture import empty_figure, plain
from elman.readers import Example
from elman.storage import storing
from elman.tasks.sequence_labels import spread
from elman.tasks.supervised import Answer

_MOST_FRAMES = 10
RIGHT, WRONG, UNKNOWN = "#1a7f37", "#c8372d", "k"


def draw_clips(examples: Sequence[Example], answers: Sequence[Answer], path: Path) -> Path:
    """Draw each clip as a row of frames, thinned evenly to ten; labels are green where right, red where wrong.

    Args:
        examples: Clips, with their labels where these are known.
        answers: What was said of each.
        path: PNG to write.

    Raises:
        StorageError: it cannot be written.
    """
    columns = min(_MOST_FRAMES, max(len(example.x.frames) for example in examples))
    figure = empty_figure(1)
    figure.set_size_inches(1.2 * (columns + 1), 1.35 * len(examples))
    grid = figure.subplots(len(examples), columns, squeeze=False)
    for row, example, answer in zip(grid, examples, answers, strict=True):
        frames = example.x.frames
        for axes, step in zip(row, spread(len(frames), columns), strict=False):
            axes.imshow(frames[step], cmap="gray" if frames.shape[3] == 1 else None, vmin=0, vmax=255)
            if "labels" in answer:
                said, truth = answer["labels"][step], None if example.y is None else example.y[step]
                axes.set_title(plain(said), fontsize=8, pad=2, color=_colour(said, truth))
            else:
                axes.set_title(f"{step + 1}", fontsize=7, pad=2, color="grey")
        for axes in row:
            axes.set_axis_off()
        _name(row[0], example, answer)
    with storing(path):
        figure.savefig(path, dpi=100)
    return path


def _colour(said: str, truth: str | None) -> str:
    return UNKNOWN if truth is None else RIGHT if said == truth else WRONG


def _name(axes: object, example: Example, answer: Answer) -> None:
    """Write what was said of a whole clip, and its name, to the left of its first frame."""
    place = {"transform": axes.transAxes, "ha": "right"}  # type: ignore[attr-defined]
    if "label" in answer:
        said = answer["label"]
        certain = f"{said} {answer['probabilities'][said]:.0%}"
        axes.text(-0.1, 0.55, plain(certain), fontsize=9, color=_colour(said, example.y), **place)  # type: ignore[attr-defined]
        if example.y not in (None, said):
            axes.text(-0.1, 0.3, plain(f"true: {example.y}"), fontsize=8, **place)  # type: ignore[attr-defined]
    axes.text(-0.1, 0.05, plain(example.x.path.name), fontsize=6, color="grey", **place)  # type: ignore[attr-defined]
