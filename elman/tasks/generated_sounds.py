"""Small made-up sounds, so that a task of sounds can be tried without a download."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from elman.randomness import generator
from elman.storage import make_folder, write_file
from elman.tasks.generated import Choices, write_table

RATE = 8000
# First and second formant of five vowels, in Hz (Peterson and Barney 1952, table II, men; rounded).
_VOWELS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}
_SECONDS = {"vowel": 0.14, "hiss": 0.08, "silence": 0.06}


def write_tunes(folder: Path, count: int = 40) -> None:
    """Write made-up tunes of about a second below FOLDER/rising, FOLDER/falling and FOLDER/level.

    Args:
        folder: A new folder.
        count: Sounds of each label.
    """
    for label, slope in (("rising", 1.0), ("falling", -1.0), ("level", 0.0)):
        make_folder(folder / label)
        for n in range(count):
            draws = generator(0, "example", "tunes", label, n)
            seconds, octaves, start = torch.rand(3, generator=draws).tolist()
            time = torch.arange(int(RATE * (0.6 + 0.6 * seconds))) / RATE
            pitch = 700 * 2 ** (0.4 * start + slope * (0.7 + 0.5 * octaves) * time)
            tone = torch.sin(2 * torch.pi * torch.cumsum(pitch, dim=0) / RATE)
            write_wave(folder / label / f"{n:02d}.wav", 0.4 * tone + _noise(len(tone), 0.02, draws))


def write_spoken(folder: Path, count: int = 160) -> None:
    """Write made-up speech, syllables of hisses and vowels at two formants, with a manifest: path, transcript."""
    choose = Choices("spoken")
    rows = []
    make_folder(folder / "sounds")
    for n in range(count):
        text = " ".join(_word(choose) for _ in range(2))
        write_wave(folder / "sounds" / f"{n:03d}.wav", _spoken(text, generator(0, "example", "spoken", n)))
        rows.append((f"sounds/{n:03d}.wav", text))
    write_table(folder / "spoken.csv", ("path", "transcript"), rows)


def _word(choose: Choices) -> str:
    """Two syllables."""
    return "".join(choose.one_of(("s", "")) + choose.one_of(sorted(_VOWELS)) for _ in range(2))


def _spoken(text: str, draws: torch.Generator) -> Tensor:
    """The sound of a text: for each letter a piece, with a voice of its own pitch and tempo."""
    pitch, tempo = (torch.rand(2, generator=draws) * torch.tensor([60.0, 0.4]) + torch.tensor([90.0, 0.8])).tolist()
    pieces = [_letter(letter, pitch, tempo, draws) for letter in f" {text} "]
    sound = torch.cat(pieces)
    return sound + _noise(len(sound), 0.005, draws)


def _letter(letter: str, pitch: float, tempo: float, draws: torch.Generator) -> Tensor:
    kind = "silence" if letter == " " else "vowel" if letter in _VOWELS else "hiss"
    count = int(RATE * _SECONDS[kind] / tempo)
    time = torch.arange(count) / RATE
    edges = torch.sin(torch.pi * torch.arange(count) / count).clamp(max=0.5) * 2  # in and out without a click
    if kind == "silence":
        return torch.zeros(count)
    if kind == "hiss":
        return edges * _noise(count, 0.1, draws)
    harmonics = torch.arange(1, int(3500 / pitch)) * pitch
    loud = sum(torch.exp(-(((harmonics - formant) / 120) ** 2)) for formant in _VOWELS[letter])
    tones = torch.sin(2 * torch.pi * harmonics.unsqueeze(1) * time)  # (harmonics, N)
    return 0.2 * edges * (torch.as_tensor(loud).unsqueeze(1) * tones).sum(dim=0)


def _noise(count: int, size: float, draws: torch.Generator) -> Tensor:
    return size * torch.randn(count, generator=draws)


def write_wave(path: Path, samples: Tensor | Sequence[float]) -> None:
    """Write samples within [-1, 1] at 8,000 Hz as 16-bit WAV.

    Raises:
        StorageError: it cannot be written.
    """
    numbers = (torch.as_tensor(samples).clamp(-1, 1) * 32767).round().to(torch.int16)
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(numbers.numpy().astype("<i2").tobytes())
    write_file(path, [held.getvalue()])
