"""Tables: CSV, TSV, JSON lines and Parquet to one dictionary a row, with the line where it begins."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elman.errors import DataError, ModelFileError, nearest
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
        """Return the part that the row says it belongs to; None where there is no such column.

        Raises:
            DataError: the row names none of the parts.
        """
        column = how.columns.get("part")
        if column is None:
            return None
        name = str(self.values.get(column) or "").strip().lower()
        if name not in PARTS:
            raise DataError(f"{self.where}: {column} must be one of {', '.join(PARTS)}; got {name!r}")
        return PARTS[name]

    def group(self, how: Reading) -> str | None:
        """Return the group that the row says it belongs to; None where there is no such column.

        Raises:
            DataError: the row names none.
        """
        column = how.columns.get("group")
        if column is None:
            return None
        if self.values.get(column) in (None, ""):
            raise DataError(f"{self.where}: {column} must name a group; got nothing")
        return str(self.values[column])


def form_of(path: Path) -> str | None:
    """Return the form of table that a file's name tells: one of TABLES; None for another name."""
    return FORMS.get(Path(path.name.removesuffix(".gz")).suffix.lower())


def rows(path: Path, form: str, how: Reading, needed: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of a table.

    Args:
        path: The file.
        form: One of TABLES.
        how: Encoding, columns, what happens to rows that cannot be used.
        needed: What every row must have; empty text counts as missing.

    Raises:
        DataError: a column is missing in the header; or a row cannot be used and is not to be skipped.
    """
    wanted = [how.column(name) for name in needed]
    for row in _rows(path, form, how, wanted):
        missing = [name for name in wanted if row.values.get(name) is None or not str(row.values[name]).strip()]
        if missing:
            how.rejects.refuse(row.where, f"{missing[0]} must not be empty; got {_got(row, missing[0])}")
        else:
            yield row


def named_files(manifest: Path, form: str, how: Reading) -> dict[str, Path]:
    """Return the files that a manifest names in its column "path", those that exist, by the name that it gives them.

    Of a folder that it names they are all files in it.

    Raises:
        DataError, StorageError: it is not a table with such a column.
    """
    leniently = replace(how, rejects=Rejects(skip=True), labelled=False)
    found: dict[str, Path] = {}
    for row in rows(manifest, form, leniently, ("path",)):
        name = str(row.values[how.column("path")])
        named = manifest.parent / name
        inside = sorted(named.iterdir()) if named.is_dir() else []
        found |= {f"{name}/{file.name}": file for file in inside if file.is_file()}
        if named.is_file():
            found[name] = named
    return found


def _rows(path: Path, form: str, how: Reading, wanted: list[str]) -> Iterator[Row]:
    if form == "parquet":
        return _parquet_rows(path)
    if form == "jsonl":
        return _json_rows(path, how)
    return _separated_rows(path, how, wanted, "," if form == "csv" else "\t")


def _got(row: Row, name: str) -> str:
    return "nothing" if name in row.values else f"the columns {', '.join(row.values) or 'none'}"


class _Counted:
    """Lines for csv.reader, which wants ends of line; remembers where a row began."""

    def __init__(self, path: Path, how: Reading) -> None:
        self._lines = lines(path, how)
        self.first: int | None = None

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        number, text = next(self._lines)
        self.first = number if self.first is None else self.first
        return text + "\n"


def _separated_rows(path: Path, how: Reading, wanted: list[str], separator: str) -> Iterator[Row]:
    source = _Counted(path, how)
    if separator == ",":
        reader = csv.reader(source, strict=True)
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
            header = _header(path, cells, wanted)
        elif cells and len(cells) != len(header):
            how.rejects.refuse(f"{path}:{source.first}", f"must have {len(header)} columns; got {len(cells)}")
        elif cells:
            yield Row(f"{path}:{source.first}", dict(zip(header, cells, strict=True)))


def _header(path: Path, cells: list[str], wanted: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names):
        raise DataError(f"{path}:1: columns must have different names; got {', '.join(names)}")
    for name in wanted:
        if name not in names:
            raise DataError(
                f"{path}:1: must have a column {name!r}; got {', '.join(map(shown, names))}{nearest(name, names)}",
                f"name the column with --column, e.g. --column {name}={names[0] or 'NAME'}",
            )
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
