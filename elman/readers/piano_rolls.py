"""Piano rolls that are there already: .mat of MATLAB, .npz of NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError
from elman.readers import matlab_decoder
from elman.readers.apart import Apart
from elman.readers.notes import KEYS, LOWEST
from elman.readers.numpy_files import plain_arrays
from elman.readers.tables import PARTS
from elman.storage import reading as guarded

Roll = npt.NDArray[np.bool_]
_MIDI_NUMBERS = 128


def read_rolls(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield place, name and content of every array of a file: "music.mat: testdata[3]", "testdata", (T, 88).

        .mat  a variable is a cell array of matrices, one a piece, or one matrix
        .npz  an array is a piece

    Raises:
        DataError: it is not such a file.
        MissingExtraError: scipy is not installed, and a .mat is to be read.
    """
    if path.suffix.lower() == ".mat":
        yield from _of_matlab(path)
        return
    hint = "save every piece as an array of its own: np.savez(FILE, train_0=..., train_1=..., test_0=...)"
    for name, value in plain_arrays(path, hint).items():
        yield f"{path}: {name}", name, value


def _of_matlab(path: Path) -> Iterator[tuple[str, str, Any]]:
    with guarded(path), path.open("rb") as file:
        newer = file.read(512).startswith(b"MATLAB 7.3")
    if newer:
        raise DataError(f"{path}: must be a .mat of version 7 or older; got 7.3", "save it with -v7 in MATLAB")
    with Apart.decoder(matlab_decoder, "scipy", "music") as apart:
        facts, data = apart.decode(path)
    begin = 0
    for array in facts["arrays"]:
        place = "" if array["number"] is None else f"[{array['number']}]"
        value: Any = None
        if array["type"] is not None:
            kind, count = np.dtype(array["type"]), math.prod(array["shape"])
            value = np.frombuffer(data, kind, count, begin).reshape(array["shape"])
            begin += value.nbytes
        yield f"{path}: {array['name']}{place}", array["name"], value


def roll_of(where: str, value: Any) -> Roll:
    """Return a piece as bool (T, 88).

    Args:
        where: Where it stands, for errors.
        value: (T, 88), or (T, 128) with a column for each MIDI number; what is not 0 sounds.

    Raises:
        DataError: it is something else, holds no notes, or notes beyond the 88 keys.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif" or value.ndim != 2:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise DataError(f"{where}: must be numbers of shape (T, {KEYS}); got {got}")
    if value.shape[1] not in (KEYS, _MIDI_NUMBERS):
        raise DataError(f"{where}: must have {KEYS} or {_MIDI_NUMBERS} keys in each step; got shape {value.shape}")
    if not np.isfinite(value).all() or (value < 0).any():
        raise DataError(f"{where}: must be 0 or more; got a number that is not")
    roll: Roll = value != 0
    if value.shape[1] == _MIDI_NUMBERS:
        if roll[:, :LOWEST].any() or roll[:, LOWEST + KEYS :].any():
            raise DataError(f"{where}: MIDI numbers must be from {LOWEST} to {LOWEST + KEYS - 1}; got one outside")
        roll = roll[:, LOWEST : LOWEST + KEYS]
    if not roll.any():
        raise DataError(f"{where}: must hold notes; got silence only")
    return roll


def part_of_name(name: str) -> str | None:
    """Return the part of the data that a name begins with: "testdata" is "test"; None where it begins with none."""
    return next((part for prefix, part in PARTS.items() if name.lower().startswith(prefix)), None)
