"""Makes the tasks of the spoken digits (FSDD) ready: a manifest of digits, and sounds of strings of digits.

    python -m benchmarks.speech_data FSDD OUT     # FSDD holds recordings/DIGIT_SPEAKER_INDEX.wav

    OUT/digits.csv     path, label, speaker, part     index 0 to 4 is test, as the set's own rule says
    OUT/strings.csv    path, transcript, speaker, part

A string is 2 to 7 digits of one speaker with 0.1 s of silence between them. Test strings are made of recordings
with index 0 to 4, validation strings of index 5, training strings of the others. Draws are functions of a fixed seed:
everybody gets the same bytes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from elman.randomness import seed_of
from elman.storage import make_folder
from elman.tasks.generated import write_table

RATE, PAUSE = 8000, 0.1
SHORTEST, LONGEST = 2, 7
STRINGS = {"train": 2000, "validation": 200, "test": 300}
Voices = Mapping[str, Mapping[str, Sequence[Path]]]
"""Recordings by speaker and digit."""


def part_of(recording: Path) -> str:
    """Return the part of the strings that a recording DIGIT_SPEAKER_INDEX.wav belongs to."""
    index = int(recording.stem.split("_")[2])
    return "test" if index < 5 else "validation" if index == 5 else "train"


def write_digits(fsdd: Path, folder: Path) -> Path:
    """Write the manifest of single digits; return it."""
    rows = []
    for path in sorted((fsdd / "recordings").glob("*.wav")):
        digit, speaker, _ = path.stem.split("_")
        rows.append((path.absolute(), digit, speaker, "test" if part_of(path) == "test" else "train"))
    write_table(folder / "digits.csv", ("path", "label", "speaker", "part"), rows)
    return folder / "digits.csv"


def write_strings(fsdd: Path, folder: Path, counts: Mapping[str, int] = STRINGS) -> Path:
    """Write strings of digits and their manifest; return it."""
    make_folder(folder / "strings")
    rows = []
    for part, count in counts.items():
        for n, (speaker, digits, samples) in enumerate(strings(voices(fsdd, part), part, count)):
            path = Path("strings") / f"{part}_{n:04d}.wav"
            soundfile.write(folder / path, samples, RATE, subtype="PCM_16")
            rows.append((path, digits, speaker, part))
    write_table(folder / "strings.csv", ("path", "transcript", "speaker", "part"), rows)
    return folder / "strings.csv"


def voices(fsdd: Path, part: str) -> Voices:
    """Return the recordings of a part, by speaker and digit."""
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((fsdd / "recordings").glob("*.wav")):
        digit, speaker, _ = path.stem.split("_")
        if part_of(path) == part:
            found[speaker][digit].append(path)
    return found


def strings(voices: Voices, part: str, count: int) -> Iterator[tuple[str, str, npt.NDArray[np.int16]]]:
    """Yield speaker, digits and samples of strings."""
    draws = np.random.Generator(np.random.PCG64(seed_of(0, "strings of digits", part)))
    pause = np.zeros(round(PAUSE * RATE), dtype=np.int16)
    for _ in range(count):
        speaker = sorted(voices)[draws.integers(len(voices))]
        digits = [str(d) for d in draws.integers(10, size=draws.integers(SHORTEST, LONGEST + 1))]
        pieces: list[npt.NDArray[np.int16]] = []
        for digit in digits:
            takes = voices[speaker][digit]
            samples, _ = soundfile.read(takes[draws.integers(len(takes))], dtype="int16")
            pieces += [pause, samples] if pieces else [samples]
        yield speaker, "".join(digits), np.concatenate(pieces)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fsdd", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    print(write_digits(given.fsdd, given.out))
    print(write_strings(given.fsdd, given.out))
