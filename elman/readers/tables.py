"""Tables: CSV, TSV, JSON lines and Parquet to one dictionary a row, with the line where it begins."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from elman.errors import DataError, ModelFileError, closest, nearest
from elman.readers import parquet_decoder
from elman.readers.apart import Apart
from elman.readers.examples import Reading, Rejects, shown
from elman.readers.lines import lines
from elman.storage import parse_json

FORMS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
TABLES = ("csv", "tsv", "jsonl", "parquet")
PARTS = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}

# Python's limit for one field, 128 KiB, is less than a long document.
csv.field_size_limit(1 << 24)


@dataclass(frozen=True)
class Row:
    """One row: where it begins, and its values by column."""

    where: str
    values: dict[str, Any]

    def part(self, how: Reading) -> str | None:
        """Return the part that the row says it belongs to; None where there is no such column, or parts do not matter.

        Raises:
            DataError: the row names none of the parts.
        """
        column = self._dividing("part", how, "predict")
        if column is None:
            return None
        name = text_of(self.values.get(column)).lower()
        if name not in PARTS:
            raise DataError(f"{self.where}: {column} must be one of {', '.join(PARTS)}; got {name!r}")
        return PARTS[name]

    def group(self, how: Reading) -> str | None:
        """Return the group that the row says it belongs to; None where there is no such column, or nothing is trained.

        Raises:
            DataError: the row names none.
        """
        column = self._dividing("group", how, "predict", "measure", "remeasure", "whole")
        if column is None:
            return None
        if self.values.get(column) in (None, ""):
            raise DataError(f"{self.where}: {column} must name a group; got nothing")
        return str(self.values[column])

    def _dividing(self, key: str, how: Reading, *idle: str) -> str | None:
        """The column that divides data in this respect; None where there is none or it has no meaning."""
        column = how.columns.get(key)
        if column is None or how.purpose in idle:
            return None
        if column in self.values:
            return column
        if how.purpose == "train":
            raise lacking(self.where, key, how, self.values)
        return None


def lacking(where: str, key: str, how: Reading, names: Iterable[str]) -> DataError:
    """Return the error of a table without the column that holds `key`: names those there are and hints at the nearest.

    Args:
        where: The table or its row.
        key: "text", "label", "part", ...
        how: Its columns.
        names: Columns that the table has.
    """
    name, found = how.column(key), list(names)
    taken = {column for other in how.columns if other != key for column in how.columns[other].split(",")}
    free = [column for column in found if column not in taken]
    problem = f"{where}: must have a column {name!r}; got {', '.join(map(shown, found)) or 'none'}{nearest(name, free)}"
    likely = key if key in free else closest(name, free) or "NAME"
    return DataError(problem, "name the column with --column " + shlex.quote(f"{key}={likely}"))


def text_of(value: Any) -> str:
    """Return a cell as text without white space around it, "" where it is missing; 0 and False are not."""
    return "" if value is None else str(value).strip()


def form_of(path: Path) -> str | None:
    """Return the form of table that a file's name tells: one of TABLES; None for another name."""
    return FORMS.get(Path(path.name.removesuffix(".gz")).suffix.lower())


def rows(path: Path, form: str, how: Reading, needed: tuple[str, ...], listed: tuple[str, ...] = ()) -> Iterator[Row]:
    """Yield the rows of a table.

    Args:
        path: The file.
        form: One of TABLES.
        how: Encoding, columns, what happens to rows that cannot be used.
        needed: What every row must have, one text or number each; empty text counts as missing.
        listed: Those of them that may be something else, which the caller checks.

    Raises:
        DataError: a column is missing in the header; or a row cannot be used and is not to be skipped.
    """
    dividing = [key for key in ("part", "group") if key in how.columns and how.purpose == "train"]
    known: set[str] = set()
    for row in _rows(path, form, how, (*needed, *dividing)):
        known |= row.values.keys()
        missing = next((key for key in needed if _is_empty(row.values.get(how.column(key)))), None)
        single = (how.column(key) for key in needed if key not in listed)
        several = next((name for name in single if _is_no_cell(row.values.get(name))), None)
        if several is not None:
            how.rejects.refuse(row.where, f"{several} must be one text or number; got {shown(row.values[several])}")
        elif missing is None:
            yield row
        elif (name := how.column(missing)) in known:
            how.rejects.refuse(row.where, f"{name} must not be empty; got {_got(row, name)}")
        else:
            how.rejects.take(row.where, lacking(row.where, missing, how, row.values))


def named_files(manifest: Path, form: str, how: Reading) -> dict[str, Path]:
    """Return the files that a manifest names in its column "path", those that exist, by the name that it gives them.

    Of a folder that it names they are all files in it.

    Raises:
        DataError, StorageError: it is not a table with such a column.
    """
    leniently = replace(how, rejects=Rejects(skip=True), labelled=False, purpose="predict")
    found: dict[str, Path] = {}
    for row in rows(manifest, form, leniently, ("path",)):
        name = str(row.values[how.column("path")])
        named = manifest.parent / name
        inside = sorted(named.iterdir()) if named.is_dir() else []
        found |= {f"{name}/{file.name}": file for file in inside if file.is_file()}
        if named.is_file():
            found[name] = named
    return found


def _rows(path: Path, form: str, how: Reading, wanted: tuple[str, ...]) -> Iterator[Row]:
    if form == "parquet":
        return _parquet_rows(path)
    if form == "jsonl":
        return _json_rows(path, how)
    return _separated_rows(path, how, wanted, "," if form == "csv" else "\t")


def _is_empty(value: Any) -> bool:
    return not text_of(value)


def _is_no_cell(value: Any) -> bool:
    """Whether JSON or Parquet holds more there than a cell of CSV could."""
    return isinstance(value, list | dict | bytes)


def _got(row: Row, name: str) -> str:
    return "nothing" if name in row.values else f"the columns {', '.join(row.values) or 'none'}"


class _Counted:
    """Lines for csv.reader, which wants ends of line; remembers where a row began."""

    def __init__(self, path: Path, how: Reading) -> None:
        self._lines: Iterator[tuple[int, str]] = lines(path, how)
        self.first: int | None = None
        header = next(self._lines, None)
        self.header = "" if header is None else header[1]
        self._lines = chain([] if header is None else [header], self._lines)

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        number, text = next(self._lines)
        self.first = number if self.first is None else self.first
        return text + "\n"


def _separated_rows(path: Path, how: Reading, wanted: tuple[str, ...], separator: str) -> Iterator[Row]:
    source = _Counted(path, how)
    if separator == ",":  # what spreadsheets of many countries write as CSV stands between semicolons
        found = next((sign for sign in ",;\t" if sign in source.header), ",")
        reader = csv.reader(source, delimiter=found, strict=True)
    else:  # a quote is a sign like any other
        reader = csv.reader(source, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    header: list[str] | None = None
    while True:
        source.first = None
        try:
            cells = next(reader, None)
        except csv.Error as error:
            how.rejects.refuse(f"{path}:{source.first}", f"must be a row of CSV; {error}")
            continue
        if cells is None:
            return
        if header is None:
            header = _header(path, cells, how, wanted)
        elif cells and len(cells) != len(header):
            how.rejects.refuse(f"{path}:{source.first}", f"must have {len(header)} columns; got {len(cells)}")
        elif cells:
            yield Row(f"{path}:{source.first}", dict(zip(header, cells, strict=True)))


def _header(path: Path, cells: list[str], how: Reading, wanted: tuple[str, ...]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names):
        raise DataError(f"{path}:1: columns must have different names; got {', '.join(names)}")
    for key in wanted:
        if how.column(key) not in names:
            raise lacking(f"{path}:1", key, how, names)
    return names


def _json_rows(path: Path, how: Reading) -> Iterator[Row]:
    for number, text in lines(path, how):
        where = f"{path}:{number}"
        if not text.strip():
            continue
        try:
            values = parse_json(text.encode("utf-8", "surrogatepass"), where)
        except ModelFileError as error:
            how.rejects.take(where, error)
            continue
        if isinstance(values, dict):
            yield Row(where, values)
        else:
            how.rejects.refuse(where, f"must be a JSON object; got {shown(text)}")


def _parquet_rows(path: Path) -> Iterator[Row]:
    with Apart.decoder(parquet_decoder, "pyarrow", "tables") as apart:
        _, data = apart.decode(path)
    import pyarrow  # type: ignore[import-untyped]

    number = 0
    try:
        with pyarrow.ipc.open_stream(data) as stream:
            for batch in stream:
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}: row {number}", values)
    except (pyarrow.ArrowException, ValueError) as error:  # texts that are not UTF-8 are ValueErrors
        raise DataError(f"{path}: must be a whole Parquet file; {str(error).splitlines()[0]}") from None
