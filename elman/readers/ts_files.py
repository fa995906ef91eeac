"""Files .ts of sktime and aeon: "#" comments, "@" headers, then a series a line, dimensions between colons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elman.errors import DataError
from elman.readers.examples import Example, shown
from elman.readers.lines import lines
from elman.readers.series import Series, SeriesReading, number_of, refuse_missing


def ts_series(path: Path, how: SeriesReading, part: str | None = None) -> Iterator[Example]:
    """Yield the series of a file with their labels.

    Args:
        path: The file; compressed by gzip if its name ends in ".gz".
        how: Encoding, missing values, rejects.
        part: Part of the data that all of them belong to.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: its header cannot be used, or a series cannot and is not to be skipped.
    """
    header: dict[str, str] = {}
    begun = False
    for number, raw in lines(path, how):
        where, text = f"{path}:{number}", raw.strip()
        if not text or text.startswith("#"):
            continue
        if begun:
            try:
                yield _example(where, text, header, how, part)
            except DataError as error:
                how.rejects.take(where, error)
        elif not text.startswith("@"):
            raise DataError(f"{where}: must be a header line '@name value', or @data before series; got {shown(text)}")
        elif text.lower() == "@data":
            _check(path, header, how.classed)
            begun = True
        else:
            name, _, value = text[1:].partition(" ")
            header[name.lower()] = value.strip()
    if not begun:
        raise DataError(f"{path}: must have a line @data and series after it; got none")


def _check(path: Path, header: dict[str, str], labelled: bool) -> None:
    if header.get("timestamps", "false").lower() == "true":
        raise DataError(f"{path}: must have series without time stamps (@timeStamps false); got them")
    if not header.get("dimensions", "1").isdecimal():
        raise DataError(f"{path}: @dimensions must be a number; got {shown(header['dimensions'])}")
    if labelled and not _labels(header):
        found = shown(header["classlabel"]) if "classlabel" in header else "no such line"
        raise DataError(f"{path}: must have a label a series, of those that @classLabel true names; got {found}")


def _labels(header: dict[str, str]) -> list[str]:
    """Names of the classes that series end in; none where they end in no label."""
    return header.get("classlabel", "false").split()[1:]


def _example(where: str, text: str, header: dict[str, str], how: SeriesReading, part: str | None) -> Example:
    fields = text.split(":")
    names = _labels(header)
    label = fields.pop().strip() if names else None
    if names and label not in names:
        raise DataError(f"{where}: must end in a label, {', '.join(names)}; got {shown(label)}")
    expected = header.get("dimensions", "1" if header.get("univariate", "false").lower() == "true" else "")
    if expected and len(fields) != int(expected):
        raise DataError(f"{where}: must have {expected} dimensions; got {len(fields)}")
    columns = [_numbers(where, field, n) for n, field in enumerate(fields, 1)]
    for n, column in enumerate(columns, 1):
        if len(column) != len(columns[0]):
            raise DataError(
                f"{where}: dimension {n} must have {len(columns[0])} values as the first; got {len(column)}"
            )
    numbers = np.array(columns).T  # (T, C)
    refuse_missing(where, numbers, how)
    return Example(where, Series(where, tuple(f"x{n}" for n in range(1, len(fields) + 1)), numbers), label, part=part)


def _numbers(where: str, field: str, dimension: int) -> list[float]:
    values = []
    for n, text in enumerate(field.split(","), 1):
        try:
            values.append(number_of(text))
        except ValueError:
            raise DataError(
                f"{where}: value {n} of dimension {dimension} must be a number; got {shown(text)}"
            ) from None
    return values
