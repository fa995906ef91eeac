"""The picture of a recognised sound: its spectrogram, what was said when, and how sure the network was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from elman.codecs.audio import SoundFeatures, resampled
from elman.diagnosis.picture import plain
from elman.heads.ctc import BLANK
from elman.readers.recordings import Recording
from elman.storage import storing
from elman.tasks.supervised import Answer

_LEAST_SHOWN, _MOST_LINES = 0.05, 20


def draw_alignment(
    recording: Recording,
    answer: Answer,
    probabilities: Tensor,
    symbols: Sequence[str],
    sound: SoundFeatures,
    path: Path,
) -> Path:
    """Draw a recording's spectrogram with its symbols above, and below it P(symbol) over time; return the file.

    Args:
        recording: The sound.
        answer: "transcript" and "times" of its symbols.
        probabilities: (T, K + 1) of blank and symbols at equal steps of the whole sound.
        symbols: Names of the K symbols.
        sound: How it was heard.
        path: A PNG file to write.

    Raises:
        StorageError: it cannot be written.
    """
    from matplotlib.figure import Figure

    width = min(max(6.0, 3.0 * recording.seconds), 40.0)
    figure = Figure(figsize=(width, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_spectrogram(upper, recording, sound)
    _write_symbols(upper, answer["times"])
    _draw_probabilities(lower, probabilities, symbols, recording.seconds)
    figure.suptitle(plain(f"{recording.path.name}:  {answer['transcript']}"), fontsize="medium")
    with storing(path):
        figure.savefig(path, dpi=110)
    return path


def _draw_spectrogram(axes: Any, recording: Recording, sound: SoundFeatures) -> None:
    heard = SoundFeatures(sound.rate, bands=sound.bands, window=sound.window, hop=sound.hop)
    logs = heard.spectra(resampled(recording.samples(), recording.rate, sound.rate))  # (T, bands)
    extent = (0, len(logs) * sound.step_seconds, 0, sound.bands)
    axes.imshow(logs.T.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    axes.set_ylabel("mel band")


def _write_symbols(axes: Any, times: Sequence[dict[str, Any]]) -> None:
    """A line where each symbol begins and the symbol above it."""
    for time in times:
        axes.axvline(time["from"], color="w", linewidth=0.8, alpha=0.8)
        shown = {" ": "␣"}.get(time["symbol"], time["symbol"])
        middle = (time["from"] + time["to"]) / 2
        axes.annotate(plain(shown), (middle, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom")


def _draw_probabilities(axes: Any, probabilities: Tensor, symbols: Sequence[str], seconds: float) -> None:
    """A line for the blank and for each of the symbols that ever get likely, the likeliest first."""
    steps = [(t + 0.5) * seconds / len(probabilities) for t in range(len(probabilities))]
    axes.plot(steps, probabilities[:, BLANK].tolist(), color="lightgrey", label="blank")
    peaks = probabilities.amax(dim=0)
    likely = [k for k in peaks.argsort(descending=True).tolist() if k != BLANK and float(peaks[k]) > _LEAST_SHOWN]
    for k in likely[:_MOST_LINES]:
        axes.plot(steps, probabilities[:, k].tolist(), label=plain({" ": "␣"}.get(symbols[k - 1], symbols[k - 1])))
    axes.set(xlabel="seconds", ylabel="probability", ylim=(-0.02, 1.02))
    axes.legend(frameon=False, ncols=2, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
