"""Piano rolls that are there already: .mat of MATLAB, .npz of NumPy."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError, MissingExtraError
from elman.readers.notes import KEYS, LOWEST
from elman.readers.tables import PARTS
from elman.storage import reading as guarded

Roll = npt.NDArray[np.bool_]
_MIDI_NUMBERS = 128
_BROKEN = (ValueError, TypeError, LookupError, OSError, EOFError, MemoryError, struct.error, zlib.error)


def read_rolls(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield place, name and content of every array of a file: "music.mat: testdata[3]", "testdata", (T, 88).

        .mat  a variable is a cell array of matrices, one a piece, or one matrix
        .npz  an array is a piece

    Raises:
        DataError: it is not such a file.
        MissingExtraError: scipy is not installed, and a .mat is to be read.
    """
    arrays = _of_matlab(path) if path.suffix.lower() == ".mat" else _of_numpy(path)
    for name, value in arrays.items():
        if value.dtype == object:
            for number, piece in enumerate(value.ravel()):
                yield f"{path}: {name}[{number}]", name, piece
        else:
            yield f"{path}: {name}", name, value


def _of_matlab(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: reading .mat needs scipy, which is not installed", "pip install scipy"
        ) from error
    with guarded(path), path.open("rb") as file:
        newer = file.read(512).startswith(b"MATLAB 7.3")
        if newer:
            raise DataError(f"{path}: must be a .mat of version 7 or older; got 7.3", "save it with -v7 in MATLAB")
        file.seek(0)
        try:
            found = loadmat(file)
        except (*_BROKEN, MatReadError) as error:
            raise DataError(f"{path}: must be a whole .mat file; {error or type(error).__name__}") from None
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def _of_numpy(path: Path) -> dict[str, Any]:
    with guarded(path), path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (*_BROKEN, AttributeError, zipfile.BadZipFile) as error:
            hint = "save every piece as an array of its own: np.savez(FILE, train_0=..., train_1=..., test_0=...)"
            raise DataError(
                f"{path}: must be a whole .npz of plain arrays; {error or type(error).__name__}", hint
            ) from None


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
