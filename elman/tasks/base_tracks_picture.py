"""The picture of what is said of each base of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.diagnosis.picture import empty_figure, plain
from elman.storage import storing

_LETTERS_FIT = 110
_COLOURS = ("#2f6fb7", "#e0a100", "#2a9d3a", "#c8372d", "#7a4fa3", "#8c564b", "#d65fa0", "#17a2b8", "#9a9a2e")


@dataclass(frozen=True)
class Track:
    """What is said of the bases of a sequence.

    Args:
        name: Of the sequence.
        letters: Its T bases.
        labels: The answered label of each, T.
        probabilities: That of each answered label, T.
        truth: The label of each, where known.
    """

    name: str
    letters: str
    labels: Sequence[str]
    probabilities: Sequence[float]
    truth: Sequence[str] | None = None


def draw_tracks(tracks: Sequence[Track], names: Sequence[str], path: Path) -> Path:
    """Draw a track for each sequence: over each base a bar, the answered label's colour, as high as its probability.

    Below the bases stands a strip with the colours of the true labels, where these are known.

    Args:
        tracks: The sequences.
        names: Of all labels.
        path: PNG to write.

    Raises:
        StorageError: it cannot be written.
    """
    from matplotlib.patches import Patch

    colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}
    figure = empty_figure(1)
    figure.set_size_inches(13, 0.9 + 1.5 * len(tracks))
    rows = figure.subplots(len(tracks), 1, squeeze=False)[:, 0]
    for axes, track in zip(rows, tracks, strict=True):
        _draw(axes, track, colours)
    rows[-1].set_xlabel("base")
    patches = [Patch(color=colour, label=plain(name)) for name, colour in colours.items()]
    figure.legend(handles=patches, loc="outside upper right", ncols=10, frameon=False, fontsize=8)
    with storing(path):
        figure.savefig(path, dpi=120)
    return path


def _draw(axes: Any, track: Track, colours: dict[str, str]) -> None:
    count = len(track.letters)
    _bars(axes, track.labels, np.array(track.probabilities), 0.0, colours)
    if track.truth is not None:
        _bars(axes, track.truth, np.full(count, -0.25), -0.4, colours)
    known = "" if track.truth is None else "   (strip: the true labels)"
    axes.set_title(plain(f"{track.name}{known}"), fontsize=8, loc="left")
    axes.set(xlim=(0.5, count + 0.5), ylim=(-0.4 if track.truth is not None else -0.25, 1.05), yticks=(0, 0.5, 1))
    axes.set_ylabel("probability", fontsize=8)
    axes.axhline(0, color="k", linewidth=0.5)
    if count <= _LETTERS_FIT:
        for n, letter in enumerate(track.letters, 1):
            axes.text(n, -0.03, letter, ha="center", va="top", fontsize=7)


def _bars(axes: Any, labels: Sequence[str], tops: Any, bottom: float, colours: dict[str, str]) -> None:
    """A bar for each base from `bottom` to its top, one patch a label: sequences may be long."""
    edges, found = np.arange(len(labels) + 1) + 0.5, np.array(labels)
    for name, colour in colours.items():
        axes.stairs(np.where(found == name, tops, bottom), edges, baseline=bottom, fill=True, color=colour)
