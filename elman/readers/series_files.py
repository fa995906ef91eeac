"""Files and folders of series: which reader reads which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.array_files import array_series
from elman.readers.examples import Example
from elman.readers.series import SeriesReading
from elman.readers.series_rows import row_series
from elman.readers.series_tables import table_series
from elman.readers.tables import TABLES, form_of
from elman.readers.ts_files import ts_series

FORMS = ("auto", *TABLES, "rows", "ts", "npz")
COLUMNS = ("time", "series", "label", "group", "part")
_OTHERS = ("ts", "rows", "npz")
"""Forms that are no tables: their columns have no names of their own."""

_PARTS = {"_train": "train", "_validation": "validation", "_test": "test"}


def read_series(path: Path, how: SeriesReading) -> Iterator[Example]:
    """Yield the series of a file or folder.

        csv, tsv, jsonl, parquet  a row a step; see elman.readers.series_tables
        rows                      a row a series, its label first; see elman.readers.series_rows
        ts                        sktime's and aeon's; see elman.readers.ts_files
        npz                       NumPy's arrays; see elman.readers.array_files

    Without a form the name tells. A folder holds files of any form whose names, without their ends, end in _TRAIN,
    _VALIDATION or _TEST: the parts of the data.

    Args:
        path: File or folder.
        how: Form, columns, missing values and the rest.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        UsageError: an unknown form or column, or in training an option of another form.
    """
    how.known_columns(*COLUMNS)
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    for file, part in _files(path):
        yield from _of_file(file, part, how)


def _files(path: Path) -> list[tuple[Path, str | None]]:
    if not path.is_dir():
        return [(path, None)]
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    named = {file: _PARTS.get("_" + _stem(file).rpartition("_")[2].lower()) for file in files}
    found: list[tuple[Path, str | None]] = [(file, part) for file, part in named.items() if part and file.is_file()]
    if not found:
        raise DataError(
            f"{path}: must hold files whose names end in _TRAIN and _TEST; got none",
            "name one file, or validation and test data with --validation and --test",
        )
    return found


def _stem(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).stem


def _refuse_idle(form: str | None, how: SeriesReading) -> None:
    """Refuse options of other forms where a model is trained; it may be used on data of any form.

    Raises:
        UsageError: one was given.
    """
    idle = [
        name
        for name, given in (
            ("ignore", how.ignore and form in _OTHERS),
            ("channels", how.channels != 1 and form != "rows"),
            ("ragged", how.ragged and form != "rows"),
        )
        if given
    ]
    if idle and form is not None and how.purpose == "train":
        raise UsageError(f"{', '.join(idle)}: must be for data of another form; has no effect on format {form}")


def _of_file(path: Path, part: str | None, how: SeriesReading) -> Iterator[Example]:
    name = path.name.removesuffix(".gz")
    form = how.form if how.form != "auto" else {".ts": "ts", ".npz": "npz"}.get(Path(name).suffix) or form_of(path)
    if form in _OTHERS:
        how.refuse_columns(form)
    _refuse_idle(form, how)
    if form == "ts":
        yield from ts_series(path, how, part)
    elif form == "rows":
        yield from row_series(path, how, part)
    elif form == "npz":
        yield from array_series(path, how)
    elif form is None:
        raise DataError(
            f"{path}: must be .csv, .tsv, .jsonl, .parquet, .ts or .npz by its name; got {path.name!r}",
            f"say what it is with --format, one of {', '.join(FORMS)}",
        )
    else:
        yield from table_series(path, form, how)
