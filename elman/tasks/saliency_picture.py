"""The picture of which bases of a sequence mattered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from elman.diagnosis.picture import empty_figure, plain
from elman.storage import storing

COLOURS = {"A": "#2a9d3a", "C": "#2f6fb7", "G": "#e0a100", "T": "#c8372d"}
_LETTERS_FIT = 110


def draw_saliency(rows: Sequence[tuple[str, str, str, Tensor]], path: Path) -> Path:
    """Draw a track for each sequence: a bar for each base, upwards where it speaks for the label.

    Args:
        rows: Where it stands, its letters, the answered label, the weight of each base (T,).
        path: PNG to write.

    Raises:
        StorageError: it cannot be written.
    """
    figure = empty_figure(1)
    figure.set_size_inches(13, 0.8 + 1.7 * len(rows))
    for axes, (where, letters, label, weights) in zip(
        figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True
    ):
        values, at = weights.tolist(), range(1, len(letters) + 1)
        axes.bar(at, values, width=1.0, color=[COLOURS.get(letter, "grey") for letter in letters])
        axes.set_title(plain(f"{label}   {where}"), fontsize=8, loc="left")
        axes.set(xlim=(0.5, len(letters) + 0.5), ylabel="speaks for it")
        axes.axhline(0, color="k", linewidth=0.5)
        axes.margins(y=0.25)
        if len(letters) <= _LETTERS_FIT:
            for n, (letter, value) in enumerate(zip(letters, values, strict=True), 1):
                side = "bottom" if value >= 0 else "top"
                axes.text(n, value, letter, ha="center", va=side, fontsize=7, color=COLOURS.get(letter, "grey"))
        else:
            _name_strongest(axes, letters, weights)
    axes.set_xlabel("base")
    axes.legend(
        handles=[_patch(letter, colour) for letter, colour in COLOURS.items()],
        loc="upper right",
        ncols=4,
        frameon=False,
        fontsize=7,
    )
    with storing(path):
        figure.savefig(path, dpi=120)
    return path


def _name_strongest(axes: object, letters: str, weights: Tensor, width: int = 12) -> None:
    """Write the letters of the stretch that speaks most for the label above it."""
    sums = weights.unfold(0, width, 1).sum(dim=1)
    begin = int(sums.argmax())
    axes.annotate(  # type: ignore[attr-defined]
        letters[begin : begin + width],
        (begin + (1 + width) / 2, float(weights[begin : begin + width].max())),
        ha="center",
        va="bottom",
        fontsize=8,
        family="monospace",
    )


def _patch(label: str, colour: str) -> object:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
