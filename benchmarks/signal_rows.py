"""Rows of benchmarks.applications on DNA, video and series: data as the tasks read it, and what a row must reach."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.application_rows import Row, Words, part_of
from elman.readers import Reading
from elman.readers.dna import read_dna

GESTURES = ("Stop", "Clockwise", "Counter Clockwise", "Move")


def _dna(source: Path, columns: dict[str, str], path: Path, *, by_class: bool) -> Path:
    """Sequences as a table with their parts, numbered through or class by class."""
    numbers: defaultdict[str, int] = defaultdict(int)
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sequence", "label", "part"))
        for example in read_dna(source, Reading(columns=columns)):
            name = example.y if by_class else ""
            writer.writerow((example.x, example.y, part_of(numbers[name])))
            numbers[name] += 1
    return path


def splice(data: Path, folder: Path) -> Words:
    """Splice junctions: the border stands in the centre."""
    columns = {"sequence": "Sequence", "label": "Class"}
    path = _dna(data / "splice" / "splice.csv", columns, folder / "splice.csv", by_class=False)
    return ["dna", path, "--column", "part=part", "--pooling", "centre", "--octaves", "0", "--epochs", "11"]


def promoters(data: Path, folder: Path) -> Words:
    """TATA promoters of Arabidopsis against other sequences, every tenth of each file for the test."""
    path = _dna(data / "arabidopsis_tata_promoters", {}, folder / "promoters.csv", by_class=True)
    return ["dna", path, "--column", "part=part", "--hidden-size", "32", "--epochs", "4"]


def clips(data: Path, folder: Path) -> Words:
    """Digits that move in six ways."""
    manifest = data / "moving_digit_videos_synthetic" / "labels.csv"
    return ["video", manifest, "--column", "part=split", "--epochs", "5"]


def vowels(data: Path, folder: Path) -> Words:
    """Nine speakers by two vowels."""
    return ["series-classification", data / "japanese_vowels", "--epochs", "20"]


def motions(data: Path, folder: Path) -> Words:
    """Four activities by a watch."""
    return ["series-classification", data / "basic_motions", "--epochs", "15", "--batch-size", "4"]


def gestures(data: Path, folder: Path) -> Words:
    """Tracks of a finger tip: of each class the first 70 % train, the next 10 % validate, the rest tests."""
    with (data / "finger_gesture_keypoints" / "point_history.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for number, name in enumerate(GESTURES):
        own = [np.array(row[1:], dtype=np.float64).reshape(16, 2) for row in rows if int(row[0]) == number]
        ends = int(0.7 * len(own)), int(0.8 * len(own))
        for part, tracks in zip(("train", "validation", "test"), np.split(np.array(own), ends), strict=True):
            found[f"x_{part}"] += list(tracks)
            found[f"y_{part}"] += [name] * len(tracks)
    np.savez(folder / "gestures.npz", **{name: np.array(values) for name, values in found.items()})
    options = "--epochs 14 --filter-width 5 --noise 0.05 --dropout 0.5 --pooling max --learning-rate 0.004"
    return ["series-classification", folder / "gestures.npz", *options.split()]


def _bikes(data: Path) -> Words:
    options = "--column time=dteday,hr --target cnt --validation-from 2012-07-01 --test-from 2012-10-01"
    # Those who are counted in cnt, and the number of the row.
    options += " --ignore casual --ignore registered --ignore instant"
    options += " --category weathersit --category season --category mnth"
    return [
        "series-regression",
        data / "bike_sharing" / "hour.csv",
        *options.split(),
        "--window",
        "168",
        "--batch-size",
        "8",
    ]


def bikes(data: Path, folder: Path) -> Words:
    """Bikes rented in an hour, by weather and calendar."""
    return [*_bikes(data), "--warm-up", "168", "--epochs", "30", "--learning-rate", "0.006"]


def bikes_with_lag(data: Path, folder: Path) -> Words:
    """The same, the hour before being counted."""
    options = "--lag 1 --warm-up 48 --hidden-size 128 --dropout 0.1 --epochs 24 --learning-rate 0.006"
    return [*_bikes(data), *options.split()]


def melbourne(data: Path, folder: Path) -> Words:
    """The lowest temperature of a day, from those of the days before; the last tenth is the test."""
    options = "--column time=Date --target Temp --lag 1 --validation-from 0.8 --test-from 0.9"
    options += " --hidden-size 32 --epochs 100 --dropout 0.4 --learning-rate 0.002"
    return ["series-regression", data / "melbourne_min_temp" / "daily-min-temperatures.csv", *options.split()]


def _idx(path: Path) -> npt.NDArray[np.uint8]:
    """An array of bytes in the format of MNIST."""
    data = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(sizes)


def _mnist(data: Path) -> Iterator[tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Name, images and digits of each part; the last 5,000 of those to train on validate."""
    base = data / "mnist"
    x, y = (_idx(base / f"train-{name}.gz") for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    yield "train", x[:-5000], y[:-5000]
    yield "validation", x[-5000:], y[-5000:]
    yield "test", _idx(base / "t10k-images-idx3-ubyte.gz"), _idx(base / "t10k-labels-idx1-ubyte.gz")


def _digits(data: Path, path: Path, *, pixels: bool) -> Path:
    arrays: dict[str, Any] = {}
    for part, x, y in _mnist(data):
        arrays[f"x_{part}"] = x.reshape(len(x), -1) if pixels else x
        arrays[f"y_{part}"] = y
    np.savez(path, **arrays)
    return path


def digits_by_row(data: Path, folder: Path) -> Words:
    """MNIST, a step being a row of 28 pixels."""
    path = _digits(data, folder / "rows.npz", pixels=False)
    options = "--filters 0 --hidden-size 128 --cell gru --noise 0.1 --learning-rate 0.004 --epochs 3 --batch-size 64"
    return ["series-classification", path, *options.split()]


def digits_by_pixel(data: Path, folder: Path) -> Words:
    """MNIST, a step being one of 784 pixels; a pattern of 57 of them reaches the rows above and below."""
    path = _digits(data, folder / "pixels.npz", pixels=True)
    return ["series-classification", path, "--filter-width", "57", "--epochs", "5", "--batch-size", "64"]


SIGNAL_ROWS = (
    Row("splice", "splice junctions, i % 10", "accuracy", "accuracy", 0.955, "95.6 %, 25 s", splice),
    Row("promoters", "Arabidopsis TATA promoters, i % 10", "accuracy", "accuracy", 0.92, "92.0 %, 28 s", promoters),
    Row("clips", "moving digits, 6 motions", "accuracy", "accuracy", 0.99, "100 %, 11 s", clips),
    Row("vowels", "Japanese vowels", "accuracy", "accuracy", 0.984, "98.4 %", vowels),
    Row("motions", "BasicMotions", "accuracy", "accuracy", 1.0, "100 %", motions),
    Row("gestures", "finger gestures, in blocks", "accuracy", "accuracy", 0.974, "97.4 %", gestures),
    Row("bikes", "bikes an hour", "rmse", "RMSE", 73, "72.9, 17 s", bikes, rising=False, percent=False),
    Row(
        "bikes-lag",
        "bikes an hour, knowing the hour before",
        "rmse",
        "RMSE",
        46,
        "46.0, 17 s",
        bikes_with_lag,
        rising=False,
        percent=False,
    ),
    # The naive forecast: the day before.
    Row(
        "melbourne",
        "Melbourne, lowest of a day",
        "rmse",
        "RMSE",
        2.58,
        "not run",
        melbourne,
        rising=False,
        percent=False,
    ),
    Row("digits", "MNIST by rows", "accuracy", "accuracy", 0.99, "98.99 %, 78 s", digits_by_row),
    Row("pixels", "MNIST by pixels", "accuracy", "accuracy", 0.97, "not run", digits_by_pixel),
)
