"""A whole series in each row, its label first: the UCR archive's files, windows of sensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from elman.errors import DataError
from elman.readers.examples import Example, shown
from elman.readers.lines import lines
from elman.readers.series import Series, SeriesReading, number_of, refuse_missing


def row_series(path: Path, how: SeriesReading, part: str | None = None) -> Iterator[Example]:
    """Yield a series for each row: LABEL, x<1>, x<2>, ...; with several channels, all values of a step together.

    Where no labels are needed, to predict or where targets are what is to be said, a row is values alone.

    Values stand between commas, or tabs where a row has no comma. A first row without numbers is a header. All rows
    have as many values as most of them: where series may differ in length, a row that is cut off cannot be told.

    Args:
        path: The file; compressed by gzip if its name ends in ".gz".
        how: Encoding, channels, missing values, whether rows begin with a label, whether they are ragged, rejects.
        part: Part of the data that all of them belong to.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: it is damaged, or a row cannot be used and is not to be skipped.
    """
    found = [(number, text) for number, text in lines(path, how) if text.strip()]
    usual = None if how.ragged else _usual(text for _, text in found)
    for number, text in found:
        where, fields = f"{path}:{number}", _fields(text)
        if number == 1 and _is_header(fields):
            continue
        try:
            if usual is not None and usual != len(fields):
                label = int(how.classed)
                raise DataError(
                    f"{where}: must have {usual - label} values as most rows; got {len(fields) - label}",
                    "leave such rows out with --on-error skip, or say --ragged where series differ in length",
                )
            yield _example(where, fields, how, part)
        except DataError as error:
            how.rejects.take(where, error)


def _fields(text: str) -> list[str]:
    return text.split("," if "," in text else "\t")


def _usual(texts: Iterable[str]) -> int | None:
    """How many fields most rows have; None where there are no rows."""
    counts = Counter(len(_fields(text)) for text in texts)
    return counts.most_common(1)[0][0] if counts else None


def _is_header(fields: list[str]) -> bool:
    try:
        number_of(fields[-1])
    except ValueError:
        return True
    return False


def _example(where: str, fields: list[str], how: SeriesReading, part: str | None) -> Example:
    label = fields.pop(0).strip() if how.classed else None
    if label == "":
        raise DataError(f"{where}: must begin with a label; got nothing")
    if not fields or len(fields) % how.channels:
        raise DataError(
            f"{where}: must have values for whole steps of {how.channels}; got {len(fields)}",
            "say how many values a step has with --channels",
        )
    values = []
    for n, text in enumerate(fields, 1):
        try:
            values.append(number_of(text))
        except ValueError:
            raise DataError(f"{where}: value {n} must be a number; got {shown(text)}") from None
    numbers = np.array(values).reshape(-1, how.channels)  # (T, C)
    refuse_missing(where, numbers, how)
    names = tuple(f"x{n}" for n in range(1, how.channels + 1))
    return Example(where, Series(where, names, numbers), label, part=part)
