"""Answers that are one of K labels: what a network says, how well, and the picture of what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from elman.codecs.labels import Labels
from elman.diagnosis.picture import plain, room
from elman.errors import DataError
from elman.metrics import Confusion, accuracy
from elman.storage import storing
from elman.tasks.supervised import Answer

_MOST_NUMBERS, _MOST_LABELS, _SHORT = 20, 60, 0.8


def labels_to_tell_apart(found: Sequence[str]) -> Labels:
    """Return the labels of the training data.

    Raises:
        DataError: there are fewer than two.
    """
    labels = Labels.build(found)
    if labels.size < 2:
        raise DataError(f"labels: must be at least 2 to tell apart; training data has {labels.names} only")
    return labels


def class_answers(probabilities: Tensor, labels: Labels) -> list[Answer]:
    """Return the most probable label of each row of probabilities (B, K), and the probability of each label."""
    found: list[Answer] = []
    for best, row in zip(probabilities.argmax(dim=1).tolist(), probabilities.tolist(), strict=True):
        found.append({"label": labels.names[best], "probabilities": dict(zip(labels.names, row, strict=True))})
    return found


def class_metrics(answers: Sequence[Answer], truths: Sequence[str]) -> dict[str, float]:
    """Return accuracy and macro F1 of the labels in answers."""
    found = [answer["label"] for answer in answers]
    confusion = Confusion.of(found, truths, sorted({*found, *truths}))
    return {"accuracy": accuracy(found, truths), "macro_f1": confusion.macro_f1()}


def draw_confusion(answers: Sequence[Answer], truths: Sequence[Any], folder: Path) -> list[Path]:
    """Draw which label was answered for which as confusion.png; return it, or nothing where truths are unknown.

    Raises:
        StorageError: it cannot be written.
    """
    if not answers or not all(isinstance(truth, str) for truth in truths):
        return []
    found = [answer["label"] for answer in answers]
    confusion = Confusion.of(found, truths, sorted({*found, *truths}))
    path = folder / "confusion.png"
    with storing(path):
        _picture(confusion).savefig(path, dpi=120)
    return [path]


def _picture(confusion: Confusion) -> Any:
    from matplotlib.figure import Figure

    count = len(confusion.names)
    beside = room(confusion.names) if count <= _MOST_LABELS else 0.0
    side = min(2.5 + 0.45 * count, 13.5) + beside
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    shares = [[n / max(sum(row), 1) for n in row] for row in confusion.counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true label", shrink=0.8)
    axes.set(xlabel="answered", ylabel="true", title="which label was taken for which")
    if count <= _MOST_LABELS:
        names = [plain(name) for name in confusion.names]
        axes.set_xticks(range(count), names, rotation=90 if count > 3 or beside > _SHORT else 0)
        axes.set_yticks(range(count), names)
    if count <= _MOST_NUMBERS:
        for i, row in enumerate(confusion.counts):
            for j, number in enumerate(row):
                axes.text(j, i, f"{number:,}", ha="center", va="center", color="w" if shares[i][j] > 0.5 else "k")
    return figure
