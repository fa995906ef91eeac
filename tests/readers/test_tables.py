"""Files that libraries decode: whatever is damaged in them is told with the file, or costs the file alone."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from elman.errors import DataError, ElmanError
from elman.readers.examples import Reading, Rejects
from elman.readers.numpy_files import plain_arrays
from elman.readers.tables import rows


def write_parquet(path: Path) -> Path:
    columns: dict[str, Any] = {"text": [f"row {n}" for n in range(300)], "n": range(300)}
    parquet.write_table(pa.table(columns), path, row_group_size=100)
    return path


def read_parquet(path: Path) -> list[Any]:
    return list(rows(path, "parquet", Reading(), ("text",)))


def test_rows_of_all_groups_come_in_order_with_their_types(tmp_path: Path) -> None:
    found = read_parquet(write_parquet(tmp_path / "a.parquet"))
    assert [row.values for row in found] == [{"text": f"row {n}", "n": n} for n in range(300)]
    assert found[-1].where == f"{tmp_path / 'a.parquet'}: row 300"


def test_a_text_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": pa.array([b"good", b"b\xff"], pa.binary()).view(pa.string())})
    parquet.write_table(table, path)
    with pytest.raises(DataError, match=r"a\.parquet: must be a whole Parquet file"):
        read_parquet(path)


def test_a_list_is_no_text_and_no_label(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(
        '{"text": "a", "label": "x"}\n{"text": ["a", "b"], "label": "x"}\n{"text": "a", "label": ["x", "y"]}\n'
    )
    rejects = Rejects(skip=True)
    assert [row.values["text"] for row in rows(path, "jsonl", Reading(rejects), ("text", "label"))] == ["a"]
    assert [row["problem"] for row in rejects.rows] == [
        "text must be one text or number; got \"['a', 'b']\"",
        "label must be one text or number; got \"['x', 'y']\"",
    ]
    parquet.write_table(pa.table({"text": [b"a"]}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="text must be one text or number; got"):
        list(rows(tmp_path / "d.parquet", "parquet", Reading(), ("text",)))


def write_npz(path: Path) -> Path:
    np.savez_compressed(path, x=np.arange(600.0).reshape(10, 30, 2), y=np.arange(10) % 2)
    return path


@pytest.mark.parametrize(
    ("write", "read", "name", "times"),
    [(write_parquet, read_parquet, "a.parquet", 4), (write_npz, plain_arrays, "a.npz", 400)],
)
def test_no_change_of_bytes_gives_anything_but_an_error_of_ours(
    write: Callable[[Path], Path], read: Callable[[Path], Any], name: str, times: int, tmp_path: Path
) -> None:
    whole, draws = write(tmp_path / name).read_bytes(), random.Random(0)
    for _ in range(times):
        data = bytearray(whole)
        for _ in range(draws.choice([1, 2, 5])):
            data[draws.choice([draws.randrange(len(data)), -draws.randrange(1, 250)])] = draws.randrange(256)
        (tmp_path / name).write_bytes(data[: draws.choice([None, None, draws.randrange(len(data))])])
        with suppress(ElmanError):
            read(tmp_path / name)


def test_a_method_of_compression_that_nobody_knows_is_told(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz")
    with zipfile.ZipFile(path) as archive:
        (at, *_) = [entry.header_offset for entry in archive.infolist()]
    data = bytearray(path.read_bytes())
    for begin, place in ((at, 8), (data.index(b"PK\x01\x02"), 10)):  # in the entry, and in the directory
        data[begin + place] = 99
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.npz: must be a whole \.npz of plain arrays; .*compression"):
        plain_arrays(path)


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"must be a whole \.npz of plain arrays; got one array"):
        plain_arrays(tmp_path / "a.npz")


def test_damaged_parquet_is_no_row_that_can_be_skipped(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a\.parquet: must be a whole Parquet file"):
        list(rows(path, "parquet", Reading(Rejects(skip=True)), ("text",)))
