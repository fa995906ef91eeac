"""Arrays of series in NumPy's .npz; nothing pickled is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt

from elman.errors import DataError
from elman.readers.examples import Example, shown
from elman.readers.numpy_files import plain_arrays
from elman.readers.series import Series, SeriesReading, refuse_missing
from elman.readers.tables import PARTS

Array = npt.NDArray[Any]


def array_series(path: Path, how: SeriesReading) -> Iterator[Example]:
    """Yield the series of a .npz with their labels.

        x (N, T, I) or (N, T), y (N,), and where there are some lengths (N,) and groups (N,)
        or x_train, y_train, x_test, y_test, x_validation, ...: one set for each part

    Args:
        path: The file.
        how: Missing values, rejects.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: it is damaged, its arrays do not fit, or a series cannot be used and is not to be skipped.
    """
    arrays = plain_arrays(path)
    ends = [name[1:] for name in arrays if name == "x" or (name.startswith("x_") and name[2:] in PARTS)]
    if not ends:
        raise DataError(f"{path}: must hold an array x, or x_train and x_test; got {', '.join(arrays) or 'none'}")
    others = [name for name in arrays if name.startswith("x_") and name[1:] not in ends and f"y{name[1:]}" in arrays]
    if others:
        raise DataError(f"{path}: {others[0]} must be of one of the parts {', '.join(PARTS)}", "rename it and its y")
    for end in ends:
        yield from _of_part(path, arrays, end, how)


def _of_part(path: Path, arrays: dict[str, Array], end: str, how: SeriesReading) -> Iterator[Example]:
    x = arrays[f"x{end}"]
    beside = {name: arrays[name + end] for name in ("y", "lengths", "groups") if name + end in arrays}
    _check(path, end, x, beside, how)
    part = PARTS[end[1:]] if end else None
    names = tuple(f"x{n}" for n in range(1, (x.shape[2] if x.ndim == 3 else 1) + 1))
    for n in range(len(x)):
        where = f"{path}: x{end}[{n}]"
        rows = x[n] if x.ndim == 3 else x[n, :, None]  # (T, I)
        numbers = rows[: int(beside["lengths"][n])] if "lengths" in beside else rows
        label = _text(beside["y"][n]) if "y" in beside else None
        group = str(beside["groups"][n]) if "groups" in beside else None
        try:
            if how.classed and label is None:
                raise DataError(f"{where}: must have a label in y{end}; got {shown(beside['y'][n])}")
            refuse_missing(where, numbers, how)
            yield Example(where, Series(where, names, numbers), label, group, part)
        except DataError as error:
            how.rejects.take(where, error)


def _text(value: Any) -> str | None:
    """A label as text; None for a number that is none, and for blanks."""
    if value != value:
        return None
    return (value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)).strip() or None


def _check(path: Path, end: str, x: Array, beside: dict[str, Array], how: SeriesReading) -> None:
    if x.ndim not in (2, 3) or 0 in x.shape or x.dtype.kind not in "buif":
        raise DataError(f"{path}: x{end} must be numbers (N, T) or (N, T, I); got {x.dtype} {x.shape}")
    if how.classed and "y" not in beside:
        raise DataError(f"{path}: must have labels y{end} for x{end}; got none")
    for name, values in beside.items():
        if values.shape != (len(x),):
            raise DataError(f"{path}: {name}{end} must have shape ({len(x)},), one a series; got {values.shape}")
    lengths = beside.get("lengths")
    if lengths is not None and (lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > x.shape[1]):
        raise DataError(f"{path}: lengths{end} must be integers from 1 to {x.shape[1]}")
