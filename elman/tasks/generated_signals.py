"""Small made-up data of DNA, series and moving pictures, so that their tasks can be tried without a download."""

from __future__ import annotations

import math
import struct
import zlib
from datetime import date, timedelta
from pathlib import Path

import torch

from elman.randomness import generator
from elman.storage import make_folder, storing
from elman.tasks.generated import Choices, write_table

_MOTIF = "GGTATAWAARGC"
_MEANINGS = {"W": "AT", "R": "AG"}


def write_motifs(folder: Path, count: int = 250, length: int = 60) -> None:
    """Write FASTA files of random DNA, `promoter.fa` with GGTATAWAARGC somewhere in each sequence, `background.fa`."""
    choose = Choices("motifs")
    make_folder(folder)
    places = [str(n) for n in range(length - len(_MOTIF))]
    for name in ("promoter", "background"):
        records = []
        for n in range(count):
            letters = [choose.one_of("ACGT") for _ in range(length)]
            if name == "promoter":
                at = int(choose.one_of(places))
                letters[at : at + len(_MOTIF)] = [choose.one_of(_MEANINGS.get(letter, letter)) for letter in _MOTIF]
            records.append(f">{name}{n}\n{''.join(letters)}\n")
        with storing(folder / f"{name}.fa"):
            (folder / f"{name}.fa").write_text("".join(records), encoding="ascii")


def write_moving_blobs(folder: Path, count: int = 15, frames: int = 9, size: int = 24) -> None:
    """Write clips, as folders of PNG images, of a bright blob that moves: FOLDER/left, right, up and down."""
    draws = generator(0, "example", "blobs")
    steps = torch.arange(size, dtype=torch.float32)
    for label, (across, down) in {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.items():
        for n in range(count):
            speed, x, y = (
                torch.rand(3, generator=draws) * torch.tensor([0.5, 4, 4]) + torch.tensor([0.8, 10, 10])
            ).tolist()
            for t in range(frames):
                at = (x + (t - frames / 2) * across * speed, y + (t - frames / 2) * down * speed)
                blob = torch.exp(-((steps - at[0]) ** 2)[None, :] / 8 - ((steps - at[1]) ** 2)[:, None] / 8)
                noise = torch.rand(size, size, generator=draws) * 30
                write_grey_png(folder / label / f"{n:02}" / f"{t:02}.png", (blob * 200 + noise).to(torch.uint8))


def write_grey_png(path: Path, pixels: torch.Tensor) -> None:
    """Write brightness (H, W) of bytes as a PNG.

    Raises:
        StorageError: it cannot be written.

    Source: Portable Network Graphics, W3C recommendation 2003: a header, the rows compressed as one, an end.
    """
    height, width = pixels.shape
    raw = b"".join(b"\0" + row.numpy().tobytes() for row in pixels)  # filter 0: as it is
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    make_folder(path.parent)
    with storing(path):
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(
                struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                for name, data in chunks
            )
        )


def write_sines(path: Path, count: int = 200) -> None:
    """Write a CSV of noisy series of 30 to 60 steps: columns id, time, wave, label, a slow, fast or square wave."""
    choose, draws = Choices("sines"), generator(0, "example", "sines")
    rows: list[tuple[object, ...]] = []
    for n in range(count):
        label = choose.one_of(("slow", "fast", "square"))
        steps, phase = 30 + int(torch.randint(31, (), generator=draws)), float(torch.rand((), generator=draws)) * 20
        noise = (torch.randn(steps, generator=draws) * 0.3).tolist()
        for t in range(steps):
            wave = math.sin((t + phase) * (0.6 if label == "fast" else 0.3))
            value = math.copysign(1.0, wave) if label == "square" else wave
            rows.append((f"s{n}", t, f"{value + noise[t]:.3f}", label))
    write_table(path, ("id", "time", "wave", "label"), rows)


def write_mood(path: Path, days: int = 1100) -> None:
    """Write a CSV of made-up days: date, sky, temperature, sleep, mood.

    Mood follows sunshine of the last days, sleep and the weekend, with noise that nobody can know.
    """
    draws = generator(0, "example", "mood")
    first, light, rows = date(2021, 1, 1), 0.0, list[tuple[object, ...]]()
    noise = torch.randn(days, 4, generator=draws).tolist()
    sun = 0.0
    for n in range(days):
        day = first + timedelta(days=n)
        season = math.cos(2 * math.pi * (n - 200) / 365.25)
        sun = 0.6 * sun + 0.4 * season + 0.5 * noise[n][0]
        sky = "clear" if sun > 0.5 else "cloudy" if sun > -0.4 else "rain"
        temperature, sleep = 12 + 9 * season + 2 * noise[n][1], 7 + 0.8 * noise[n][2]
        light = 0.8 * light + 0.2 * {"clear": 1.0, "cloudy": 0.0, "rain": -1.0}[sky]
        mood = 5 + 3 * light + 0.5 * (sleep - 7) + 0.8 * (day.weekday() > 4) + 0.3 * noise[n][3]
        rows.append((day.isoformat(), sky, f"{temperature:.1f}", f"{sleep:.1f}", f"{mood:.2f}"))
    write_table(path, ("date", "sky", "temperature", "sleep", "mood"), rows)
