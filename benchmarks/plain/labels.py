"""A label for a sequence: splice sites, promoters, spoken digits, clips, gestures, MNIST by rows."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.plain.fit import fit, reached

Examples = list[tuple[Tensor, int]]
"""Vectors (T, I) and the number of the label."""


class Net(nn.Module):
    """A bidirectional LSTM, read at both ends, in the centre, or by the maximum over time."""

    def __init__(self, inputs: int, hidden: int, classes: int, read: str, both: bool = True) -> None:
        super().__init__()
        self.read = read
        self.rnn = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=both)
        self.out = nn.Linear(hidden * (1 + both), classes)

    def forward(self, x: list[Tensor]) -> Tensor:
        lengths = torch.tensor([len(row) for row in x])
        padded = pad_sequence(x, batch_first=True)  # (B, T, I)
        if bool((lengths == lengths[0]).all()):
            y, (h, _) = self.rnn(padded)
        else:
            packed, (h, _) = self.rnn(pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False))
            y, _ = pad_packed_sequence(packed, batch_first=True, padding_value=-1.0)
        if self.read == "ends":
            state = torch.cat(list(h), 1)
        else:
            state = y[:, y.shape[1] // 2] if self.read == "centre" else y.amax(1)
        return self.out(functional.dropout(state, 0.3, self.training))  # type: ignore[no-any-return]


def run(
    train: Examples,
    test: Examples,
    net: nn.Module,
    *,
    epochs: int,
    size: int,
    rate: float,
    change: Callable[[Tensor], Tensor] = lambda x: x,
) -> dict[str, float]:
    """Train, and return the share of right answers on the test data."""

    def loss_of(numbers: list[int]) -> Tensor:
        return functional.cross_entropy(
            net([change(train[n][0]) for n in numbers]), torch.tensor([train[n][1] for n in numbers])
        )

    seconds = fit(net, [len(x) for x, _ in train], loss_of, epochs=epochs, size=size, rate=rate)
    right = 0
    with torch.no_grad():
        for n in range(0, len(test), 100):
            part = test[n : n + 100]
            right += int((net([x for x, _ in part]).argmax(1) == torch.tensor([y for _, y in part])).sum())
    return reached(right / len(test), seconds, net)


def _bases(sequence: str) -> Tensor:
    numbers = torch.tensor(["ACGT".find(letter) for letter in sequence])
    return functional.one_hot(numbers.clamp(min=0), 4).float() * (numbers >= 0).float()[:, None]  # (T, 4)


def tenths(rows: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    return [r for n, r in enumerate(rows) if n % 10 > 1], [r for n, r in enumerate(rows) if n % 10 == 0]


def splice(data: Path) -> dict[str, float]:
    with (data / "splice" / "splice.csv").open(encoding="utf-8") as file:
        rows = [(row[0].strip(), row[2].strip()) for row in list(csv.reader(file))[1:]]
    names = sorted({name for name, _ in rows})
    train, test = tenths([(_bases(sequence), names.index(name)) for name, sequence in rows])
    return run(train, test, Net(4, 64, 3, "centre"), epochs=20, size=32, rate=4e-3)


def promoters(data: Path) -> dict[str, float]:
    train: Examples = []
    test: Examples = []
    for label, name in enumerate(("Arabidopsis_non_prom.fa", "Arabidopsis_tata.fa")):
        text = (data / "arabidopsis_tata_promoters" / name).read_text(encoding="ascii")
        sequences = ["".join(part.split("\n")[1:]).upper() for part in text.split(">")[1:]]
        own = tenths([(_bases(sequence), label) for sequence in sequences])
        train, test = train + own[0], test + own[1]
    return run(train, test, MotifNet(), epochs=12, size=64, rate=4e-3)


class MotifNet(nn.Module):
    """Patterns of eleven bases, the largest of every four places, then the LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(4, 64, 11, padding=5), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2))
        self.rest = Net(64, 64, 2, "max")

    def forward(self, x: list[Tensor]) -> Tensor:
        return self.rest(list(self.front(torch.stack(x).transpose(1, 2)).transpose(1, 2)))  # type: ignore[no-any-return]


def log_spectrum(samples: Any, rate: int) -> Tensor:
    """25 ms windows every 10 ms, 40 bands of equal width in mel, three windows a step: (T / 3, 120)."""
    size = rate // 40
    spectrum = torch.stft(
        torch.from_numpy(samples), 256, rate // 100, size, torch.hann_window(size), return_complex=True
    )
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), 42) / 2595) - 1)
    bins = np.linspace(0, rate / 2, 129)
    bands = np.array([np.interp(bins, edges[n : n + 3], [0, 1, 0]) for n in range(40)])
    found = torch.log(torch.from_numpy(bands).float() @ spectrum.abs() ** 2 + 1e-6).T  # (T, 40)
    found = (found - found.mean(0)) / (found.std(0) + 1e-3)
    return found[: len(found) // 3 * 3].reshape(-1, 120)  # three steps are one


def masked(x: Tensor) -> Tensor:
    """Two spans of time and two of bands blanked out, as in SpecAugment."""
    x = x.clone().view(len(x), 3, 40)
    for _ in range(2):
        width = int(torch.randint(len(x) // 10 + 1, ()))
        begin = int(torch.randint(len(x) - width + 1, ()))
        x[begin : begin + width] = 0
    for _ in range(2):
        width = int(torch.randint(9, ()))
        begin = int(torch.randint(41 - width, ()))
        x[:, :, begin : begin + width] = 0
    return x.flatten(1)


def fsdd_digits(data: Path) -> dict[str, float]:
    train: Examples = []
    test: Examples = []
    for path in sorted((data / "fsdd" / "recordings").glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        digit, _, index = path.stem.split("_")
        (test if int(index) < 5 else train).append((log_spectrum(samples, rate), int(digit)))
    return run(train, test, Net(120, 128, 10, "max"), epochs=40, size=32, rate=3e-3, change=masked)


def _frames(path: Path) -> Tensor:
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
    rows = torch.from_numpy(np.stack(frames)).float()[:, None] / 255  # (T, 1, height, width)
    return functional.interpolate(rows, (32, 32), mode="area").flatten(1)  # (T, 1024)


def clips(data: Path) -> dict[str, float]:
    base = data / "moving_digit_videos_synthetic"
    with (base / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    parts: dict[str, Examples] = {"train": [], "test": []}
    for row in rows:
        if row["split"] in parts:
            parts[row["split"]].append((_frames(base / row["path"]), names.index(row["label"])))
    return run(parts["train"], parts["test"], ClipNet(len(names)), epochs=20, size=16, rate=2e-3)


class ClipNet(nn.Module):
    """Two layers of patterns a frame, then the LSTM."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 64)
        )
        self.rest = Net(64, 64, classes, "ends")

    def forward(self, x: list[Tensor]) -> Tensor:
        frames = self.front(torch.cat(x).view(-1, 1, 32, 32))
        return self.rest(list(frames.split([len(row) for row in x])))  # type: ignore[no-any-return]


def gestures(data: Path) -> dict[str, float]:
    with (data / "finger_gesture_keypoints" / "point_history.csv").open(encoding="utf-8") as file:
        rows = [(torch.tensor([float(x) for x in row[1:]]).view(16, 2), int(row[0])) for row in csv.reader(file)]
    train: Examples = []
    test: Examples = []
    for label in range(4):  # in blocks: neighbouring rows are almost the same track
        own = [row for row in rows if row[1] == label]
        train, test = train + own[: int(0.7 * len(own))], test + own[int(0.8 * len(own)) :]
    scale = torch.cat([x for x, _ in train]).std()
    train, test = ([(x / scale, label) for x, label in part] for part in (train, test))
    return run(train, test, Net(2, 64, 4, "max"), epochs=20, size=32, rate=3e-3, change=_trembling)


def _trembling(x: Tensor) -> Tensor:
    return x + 0.05 * torch.randn(x.shape)


def _idx(path: Path) -> Any:
    raw = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def digits(data: Path) -> dict[str, float]:
    parts = []
    for name in ("train", "t10k"):
        x, y = (_idx(data / "mnist" / f"{name}-{kind}.gz") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        parts.append(list(zip(torch.from_numpy(x).float() / 255, y.tolist(), strict=True)))
    return run(parts[0][:-5000], parts[1], Net(28, 128, 10, "ends", both=False), epochs=8, size=64, rate=3e-3)
