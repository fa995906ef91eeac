"""Series: every form reads the same numbers, and every broken file is told with its place or left out and counted."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from elman.errors import DataError, MissingInputError, UsageError
from elman.readers.examples import Example, Rejects
from elman.readers.series import Series, SeriesReading, number_of
from elman.readers.series_files import read_series
from elman.readers.series_tables import time_of

# Two series of two columns, of three steps and of two.
SERIES = [("up", [[0.5, 2.0], [1.0, 2.5], [1.5, -3.0]]), ("down", [[9.0, 1e-3], [8.0, 0.0]])]
ROWS = [
    {"id": f"s{n}", "day": f"2024-03-0{t + 1}", "kind": label, "a": a, "b": b}
    for n, (label, values) in enumerate(SERIES)
    for t, (a, b) in enumerate(values)
]
COLUMNS = {"series": "id", "time": "day", "label": "kind"}
TS = "#about\n@problemName x\n@timeStamps false\n@dimensions 2\n@classLabel true up down\n@data\n"


def written(folder: Path, form: str) -> Path:
    """The two series in a form."""
    path = folder / f"data.{form}"
    if form == "csv":
        path.write_text(",".join(ROWS[0]) + "\n" + "".join(",".join(map(str, r.values())) + "\n" for r in ROWS))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in reversed(ROWS)), encoding="ascii")
    elif form == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif form == "ts":
        lines = [":".join(",".join(map(str, c)) for c in zip(*values, strict=True)) + f":{y}\n" for y, values in SERIES]
        path.write_text(TS + "".join(lines), encoding="ascii")
    elif form == "rows":
        path.write_text("label,v1\n" + "".join(f"{y},{','.join(map(str, chain(*v)))}\n" for y, v in SERIES))
    else:
        x = np.zeros((2, 3, 2))
        x[0], x[1, :2], x[1, 2] = SERIES[0][1], SERIES[1][1], np.nan  # beyond its length
        np.savez(path, x=x, y=np.array(["up", "down"]), lengths=np.array([3, 2]))
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "ts", "rows", "npz"])
@pytest.mark.parametrize("named", [False, True])
def test_every_form_reads_the_same(form: str, named: bool, tmp_path: Path) -> None:
    columns = COLUMNS if form in ("csv", "jsonl", "parquet") else {}
    chosen = form if named or form == "rows" else "auto"
    rows: dict[str, Any] = {"channels": 2, "ragged": True} if form == "rows" else {}
    found = list(read_series(written(tmp_path, form), SeriesReading(form=chosen, columns=columns, **rows)))
    assert sorted((e.y, e.x.numbers.tolist()) for e in found) == sorted(SERIES)
    if columns:
        assert all(e.x.names == ("a", "b") and e.x.times[1] == np.datetime64("2024-03-02") for e in found)
        assert {e.group for e in found} == {"s0", "s1"}


def test_a_folder_holds_the_parts_of_the_data(tmp_path: Path) -> None:
    text = written(tmp_path, "ts").read_text(encoding="ascii")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x_TRAIN.ts.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "set" / "x_TEST.ts").write_text(text, encoding="ascii")
    (tmp_path / "set" / "README.md").write_text("about", encoding="ascii")
    (tmp_path / "set" / "._x_TEST.ts").write_bytes(b"\0\5\x16\7")
    found = list(read_series(tmp_path / "set", SeriesReading()))
    assert [(e.part, e.y) for e in found] == [("test", "up"), ("test", "down"), ("train", "up"), ("train", "down")]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="must hold files whose names end in _TRAIN and _TEST"):
        list(read_series(tmp_path / "none", SeriesReading()))


def test_arrays_name_their_parts(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=[0, 1], x_test=x + 1, y_test=[1, 0], groups_test=[7, 8])
    found = list(read_series(tmp_path / "d.npz", SeriesReading()))
    assert [(e.part, e.y, e.group) for e in found] == [
        ("train", "0", None),
        ("train", "1", None),
        ("test", "1", "7"),
        ("test", "0", "8"),
    ]
    assert found[2].x.numbers.tolist() == [[1], [2], [3]] and found[2].x.names == ("x1",)


def test_columns_are_numbers_or_texts_and_rows_come_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("at,hour,sky,wind,note\n2024-03-01,10,dry,3,x\n2024-03-01,9,wet,2,y\n2024-02-29,23,,?,z\n")
    how = SeriesReading(columns={"time": "at,hour"}, ignore=("note",), targets=("wind",), labelled=True)
    (found,) = read_series(path, how)
    assert found.x.times.tolist() == [
        time_of(t).tolist() for t in ("2024-02-29 23:00", "2024-03-01T09", "2024-03-01 10:00")
    ]
    assert found.x.names == ("wind",) and found.x.text_names == ("sky",)
    assert found.x.column("sky").tolist() == ["", "wet", "dry"]
    np.testing.assert_equal(found.x.column("wind"), [np.nan, 2.0, 3.0])
    with pytest.raises(DataError, match=r"must have a column 'wnd'; got wind, sky; did you mean 'wind'"):
        found.x.column("wnd")
    assert found.x.part(1, 3).column("wind").tolist() == [2.0, 3.0] and len(found.x.part(1, 3)) == 2


def test_series_are_equal_by_what_they_hold() -> None:
    one, other = (Series(where, ("a",), np.array([[1.0], [np.nan]])) for where in ("x:1", "y:1"))
    assert one == other and hash(one) == hash(other) and one != other.part(0, 1)
    assert one != Series("x:1", ("b",), one.numbers) and one != "a"


def test_missing_numbers_are_kept_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "d.ts").write_text(TS + "1,?:3,NaN:up\n", encoding="ascii")
    (found,) = read_series(tmp_path / "d.ts", SeriesReading(missing=True))
    np.testing.assert_equal(found.x.numbers, [[1, 3], [np.nan, np.nan]])
    with pytest.raises(DataError, match=r"d\.ts:7: .*got nan at step 2 of column 1[^?]*--missing fill"):
        list(read_series(tmp_path / "d.ts", SeriesReading()))


def test_numbers_and_times() -> None:
    assert number_of(" -1e3 ") == -1000 and np.isnan(number_of("N/A"))
    assert time_of("2024-03-01T00:00+02:00") == np.datetime64("2024-02-29T22:00")
    assert time_of("12.5") == 12.5
    assert time_of("20240331") == time_of("20240331.0") == np.datetime64("2024-03-31")
    assert time_of("20240332") == 20240332 and time_of("12340331") == 12340331
    for text in ("inf", "12,5", "", "31.3.2024", "2011_01"):
        with pytest.raises(ValueError, match=r"could not convert|Invalid isoformat|inf|^$"):
            time_of(text)


def test_names_with_a_stroke_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("room,v,y\n10_1,1,1\n101,2,1\n1_01,3,1\n", encoding="ascii")
    (found,) = read_series(tmp_path / "d.csv", SeriesReading(targets=("y",)))
    assert found.x.text_names == ("room",) and found.x.column("room").tolist() == ["10_1", "101", "1_01"]


TABLE = "id,day,kind,a\n"
BROKEN: dict[str, tuple[str, str, str, str, int]] = {
    # what is wrong: name, content, place, what the error says, how many series are left of those that are good
    "a row with a column more": ("d.csv", TABLE + "s,1,x,1\ns,2,x,2,3\n", ":3", "must have 4 columns; got 5", 1),
    "a bad number": ("d.csv", TABLE + "s,1,x,1\ns,2,x,2\ns,3,x,1o\n", ":4", "a must be a number; got '1o'", 1),
    "a missing number": ("d.csv", TABLE + "s,1,x,1\ns,2,x,\n", ":3", "a must be a number; got nothing", 1),
    "an infinite number": ("d.csv", TABLE + "s,1,x,1\ns,2,x,inf\n", ":3", "a must be a number; got 'inf'", 1),
    "a time twice": (
        "d.csv",
        TABLE + "s,1,x,1\ns,1,x,2\n",
        ":3",
        "time must differ from that of .*:2; got 1.0 again",
        1,
    ),
    "no time": ("d.csv", TABLE + "s,1,x,1\ns,,x,2\n", ":3", "day must be a time", 1),
    "a date that is none": ("d.csv", TABLE + "s,2024-03-01,x,1\ns,2024-02-30,x,2\n", ":3", "got '2024-02-30'", 1),
    "dates and numbers": ("d.csv", TABLE + "s,2024-03-01,x,1\ns,12,x,2\nu,1,x,1\n", ":2", "got both in one series", 1),
    "zones and none": (
        "d.csv",
        TABLE + "s,2024-03-01T00:00+00:00,x,1\ns,2024-03-01T01:00,x,2\nu,1,x,1\n",
        ":2",
        "times must all name their zone, or none; got both in one series",
        1,
    ),
    "no series": ("d.csv", TABLE + "s,1,x,1\n,1,x,2\n", ":3", "id must not be empty", 1),
    "no label": ("d.csv", TABLE + "s,1,x,1\nu,1,,2\n", ":3", "kind must name the class of the series; got nothing", 1),
    "two labels": ("d.csv", TABLE + "s,1,x,1\nu,1,x,1\nu,2,y,1\n", ":3", "kind must be the same in all rows", 1),
    "a label that is unknown": (
        "d.ts",
        TS + "1,2:3,4:up\n1:2:left\n",
        ":8",
        "must end in a label, up, down; got 'left'",
        1,
    ),
    "a line that is cut off": ("d.ts", TS + "1,2:3,4:up\n1,2:3", ":8", "must end in a label, up, down; got '3'", 1),
    "a dimension less": ("d.ts", TS + "1,2:3,4:up\n1,2:up\n", ":8", "must have 2 dimensions; got 1", 1),
    "a dimension that is short": ("d.ts", TS + "1,2:3,4:up\n1,2:3:up\n", ":8", "dimension 2 must have 2 values", 1),
    "a bad number in a .ts": (
        "d.ts",
        TS + "1,2:3,4:up\n1,x:3,4:up\n",
        ":8",
        "value 2 of dimension 1 must be a number",
        1,
    ),
    "half a step": ("d.rows", "a,1,2\nb,1,2,3\n", ":2", "must have 2 values as most rows; got 3", 1),
    "a row that is cut off": (
        "d.rows",
        "a,1,2,3,4\nb,1,2\nb,5,6,7,8\n",
        ":2",
        "must have 4 values as most rows; got 2",
        2,
    ),
    "a bad number in a row": ("d.rows", "a,1,2\nb,1,x\na,1,2\n", ":2", "value 2 must be a number; got 'x'", 2),
    "a row without a label": ("d.rows", "a,1,2\n,1,2\n", ":2", "must begin with a label; got nothing", 1),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_with_file_and_line_or_left_out(case: str, tmp_path: Path) -> None:
    name, text, place, message, left = BROKEN[case]
    (tmp_path / name).write_text(text, encoding="ascii")
    form = "rows" if name == "d.rows" else "auto"
    columns = COLUMNS if name == "d.csv" else {}
    with pytest.raises(DataError, match=f"{name}{place}: .*{message}"):
        list(
            read_series(tmp_path / name, SeriesReading(form=form, columns=columns, channels=2 if form == "rows" else 1))
        )
    rejects = Rejects(skip=True)
    how = SeriesReading(rejects, form, columns=columns, channels=2 if form == "rows" else 1)
    assert len(list(read_series(tmp_path / name, how))) == left
    assert [row["where"] for row in rejects.rows] == [f"{tmp_path / name}{place}"]


HOPELESS: dict[str, tuple[str, bytes, str]] = {
    "a .ts without data": ("d.ts", TS.removesuffix("@data\n").encode(), "must have a line @data"),
    "a .ts that begins with values": ("d.ts", b"1,2:3,4:up\n", ":1: must be a header line"),
    "a .ts with time stamps": ("d.ts", b"@timeStamps true\n@data\n", "must have series without time stamps"),
    "a .ts with a dimension that is no number": ("d.ts", b"@dimensions two\n@data\n", "@dimensions must be a number"),
    "a .ts without labels": ("d.ts", b"@classLabel false\n@data\n1,2\n", "must have a label a series, .*; got 'false'"),
    "a .ts that names no labels": (
        "d.ts",
        b"@targetLabel true\n@data\n1:2\n",
        "must have a label .*; got no such line",
    ),
    "a .npz that is none": ("d.npz", b"PK\x03\x04", "must be a whole .npz of plain arrays"),
    "an empty file": ("d.npz", b"", "the file is empty"),
    "a Parquet file that is none": ("d.parquet", b"PAR1 and so on", "must be a whole Parquet file"),
    "a name that tells nothing": ("d.dat", b"1,2", "must be .csv, .tsv, .jsonl, .parquet, .ts or .npz by its name"),
    "a table without rows": ("d.csv", b"id,day,kind,a\n", "must have rows; got none"),
    "a table without a column": ("d.csv", b"id,day,a\n1,1,1\n", "must have a column 'kind'; got 'id', 'day', 'a'"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_files_that_hold_no_series_are_errors_in_any_case(case: str, tmp_path: Path) -> None:
    name, data, message = HOPELESS[case]
    (tmp_path / name).write_bytes(data)
    columns = COLUMNS if name == "d.csv" else {}
    with pytest.raises(DataError, match=message):
        list(read_series(tmp_path / name, SeriesReading(Rejects(skip=True), columns=columns)))


def test_labels_of_bytes_are_texts(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.array([b"up", b"down"]))
    assert [e.y for e in read_series(tmp_path / "d.npz", SeriesReading())] == ["up", "down"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": [1]}, "must hold an array x, or x_train and x_test; got z"),
        ({"x": np.zeros((2, 3))}, "must have labels y for x; got none"),
        ({"x": np.zeros((2, 3)), "y": [1]}, r"y must have shape \(2,\), one a series; got \(1,\)"),
        ({"x": np.zeros(3), "y": [1, 2, 3]}, r"x must be numbers \(N, T\) or \(N, T, I\); got float64 \(3,\)"),
        ({"x": np.array([["a"]]), "y": [1]}, "x must be numbers"),
        ({"x": np.array([[1j]]), "y": [1]}, "x must be numbers"),
        ({"x": np.zeros((2, 3)), "y": [1, np.nan]}, r"x\[1\]: must have a label in y; got .*nan"),
        ({"x": np.zeros((2, 3)), "y": ["a", " "]}, r"x\[1\]: must have a label in y; got .*' '"),
        ({"x": np.zeros((2, 3)), "y": [1, 2], "lengths": [3, 4]}, "lengths must be integers from 1 to 3"),
        ({"x": np.array([[1.0, np.inf]]), "y": [1]}, r"x\[0\]: must be finite numbers; got inf at step 2 of column 1"),
        ({"x": np.array([{}, {}]), "y": [1, 2]}, "must be a whole .npz of plain arrays"),
        (
            {**{f"{name}_train": np.ones(2) for name in "xy"}, "x_val": np.ones(2), "y_val": np.ones(2)},
            "x_val must be of",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_told(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{name: np.asarray(values) for name, values in arrays.items()})
    with pytest.raises(DataError, match=message):
        list(read_series(tmp_path / "d.npz", SeriesReading()))


def test_options_and_paths_that_do_not_exist_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"format: must be one of .*; got 'tss'; did you mean 'ts'"):
        list(read_series(tmp_path, SeriesReading(form="tss")))
    with pytest.raises(UsageError, match=r"column: must be for one of time, series, .*; got 'when'"):
        list(read_series(tmp_path, SeriesReading(columns={"when": "day"})))
    with pytest.raises(MissingInputError, match="data must exist"):
        list(read_series(tmp_path / "none.ts", SeriesReading()))


def test_without_labels_none_are_needed(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("1,2,3,4\n", encoding="ascii")
    (found,) = read_series(tmp_path / "d.csv", SeriesReading(form="rows", channels=2, labelled=False))
    assert found == Example(f"{tmp_path}/d.csv:1", Series("", ("x1", "x2"), np.array([[1.0, 2.0], [3.0, 4.0]])))
    (tmp_path / "e.csv").write_text("a,b\n1,2\n", encoding="ascii")
    (found,) = read_series(tmp_path / "e.csv", SeriesReading(labelled=False))
    assert found.x.names == ("a", "b") and found.y is None


def test_targets_need_no_labels(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("1,2,3\n4,5,6\n", encoding="ascii")
    np.savez(tmp_path / "d.npz", x=np.array([[1.0, 2, 3], [4, 5, 6]]))
    (tmp_path / "d.ts").write_text("@classLabel false\n@data\n1,2,3\n4,5,6\n", encoding="ascii")
    for name, form in (("d.csv", "rows"), ("d.npz", "npz"), ("d.ts", "ts")):
        for labelled in (True, False):
            found = list(read_series(tmp_path / name, SeriesReading(form=form, targets=("x1",), labelled=labelled)))
            assert [e.x.column("x1").tolist() for e in found] == [[1, 2, 3], [4, 5, 6]]


def test_ragged_rows_must_hold_whole_steps(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,1,2\nb,1,2,3\nb,1,2,3,4\n", encoding="ascii")
    with pytest.raises(DataError, match="must have values for whole steps of 2; got 3"):
        list(read_series(tmp_path / "d.csv", SeriesReading(form="rows", channels=2, ragged=True)))


def test_columns_called_series_and_time_are_taken_as_such_in_training(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("series,time,v,label\ns,2,5,x\ns,1,4,x\nu,1,6,y\n", encoding="ascii")
    how = SeriesReading()
    found = list(read_series(path, how))
    assert [(e.y, e.x.names, e.x.numbers.tolist()) for e in found] == [
        ("x", ("v",), [[4.0], [5.0]]),
        ("y", ("v",), [[6.0]]),
    ]
    assert how.taken == {"series": "series", "time": "time"}
    assert how.notes == ["the column series tells the series apart", "the column time orders the steps"]
    (other,) = read_series(path, SeriesReading(purpose="measure", ignore=("label",), targets=("v",)))
    assert other.x.names == ("time", "v")  # a model that was trained without them reads what it read then
    for given in ({"columns": {"label": "time", "series": "series"}}, {"ignore": ("time", "series", "label")}):
        how = SeriesReading(targets=("v",), **given)  # type: ignore[arg-type]
        assert len(list(read_series(path, how))) <= 2 and how.taken == {}
    path.write_text("series,v,label\ns,2,x\n,1,x\n", encoding="ascii")
    with pytest.raises(DataError, match=r"d.csv:3: series must not be empty; got nothing"):
        list(read_series(path, SeriesReading()))


def test_a_column_without_a_name_tells_no_series_apart(tmp_path: Path) -> None:
    (tmp_path / "numbered.csv").write_text(",time,v,y\n0,1,2.5,3\n1,2,3.5,4\n2,3,4.5,5\n")  # as pandas writes an index
    (example,) = read_series(tmp_path / "numbered.csv", SeriesReading(targets=("y",), columns={"time": "time"}))
    assert example.x.column("v").tolist() == [2.5, 3.5, 4.5] and example.id is None


def test_zero_and_false_are_values_of_a_cell(tmp_path: Path) -> None:
    rows = [{"series": s, "code": c, "label": "x"} for s, c in ((0, "A"), (0, 0), (0, "B"), (1, False), (1, None))]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    first, second = read_series(tmp_path / "d.jsonl", SeriesReading(category=("code",)))
    assert first.id == "0" and first.x.column("code").tolist() == ["A", "0", "B"]
    assert second.id == "1" and second.x.column("code").tolist() == ["False", ""]


def test_a_label_is_needed_by_name_to_train_and_never_to_predict(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("id,v,activity\ns,2,up\ns,1,down\n", encoding="ascii")
    with pytest.raises(DataError, match=r"must have a column 'label'; got 'id', .*\n\nhint: .*--column label=NAME"):
        list(read_series(path, SeriesReading(columns={"series": "id"})))
    columns = {"series": "id", "label": "activity"}
    (found,) = read_series(path, SeriesReading(columns=columns, labelled=False, purpose="predict"))
    assert found.x.names == ("v",) and found.y is None
    path.write_text("id,v\ns,2\ns,1\n", encoding="ascii")
    assert list(read_series(path, SeriesReading(columns=columns, labelled=False, purpose="predict"))) == [found]


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("npz", {"ignore": ("x1",)}, "ignore: must be for data of another form; has no effect on format npz"),
        ("ts", {"channels": 2, "ragged": True}, "channels, ragged: must be for .* has no effect on format ts"),
        ("csv", {"channels": 2}, "channels: must be for data of another form; has no effect on format csv"),
    ],
)
def test_options_of_other_forms_are_refused_in_training_only(
    form: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    how = SeriesReading(columns=COLUMNS if form == "csv" else {}, **options)
    with pytest.raises(UsageError, match=message):
        list(read_series(written(tmp_path, form), how))
    assert len(list(read_series(written(tmp_path, form), replace(how, purpose="measure")))) == 2


def test_names_may_be_numbers_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("room,v,label\n101,1,x\nB1,2,x\n102,3,x\n", encoding="ascii")
    with pytest.raises(DataError, match=r"d.csv:3: room must be a number; got 'B1'"):
        list(read_series(path, SeriesReading()))
    (found,) = read_series(path, SeriesReading(category=("room",)))
    assert found.x.text_names == ("room",) and found.x.column("room").tolist() == ["101", "B1", "102"]
    path.write_text("room,v,label\n,1,x\n,2,x\n", encoding="ascii")
    (found,) = read_series(path, SeriesReading(category=("room",)))  # as where other rows have names
    assert found.x.text_names == ("room",) and found.x.column("room").tolist() == ["", ""]


def test_columns_that_options_name_must_be_there_to_train_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("v,label\n1,x\n2,x\n", encoding="ascii")
    for option in ("ignore", "category"):
        how = SeriesReading(**{option: ("room",)})  # type: ignore[arg-type]
        with pytest.raises(DataError, match=r"must have a column 'room'; got v, label"):
            list(read_series(path, how))
        (found,) = read_series(path, replace(how, purpose="predict"))
        assert found.x.names == ("v",)
    with pytest.raises(UsageError, match=r"category: must name columns that are read; got 'label', which is not"):
        list(read_series(path, SeriesReading(category=("label",))))


def test_a_column_is_not_left_out_and_read(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("v,t,label\n1,1,x\n2,2,x\n", encoding="ascii")
    for how, use in (
        (SeriesReading(ignore=("v",), targets=("v",)), "'v', which is a target"),
        (SeriesReading(ignore=("t",), columns={"time": "t"}), "'t', which is time"),
        (SeriesReading(ignore=("label",)), "'label', which is label"),
    ):
        with pytest.raises(UsageError, match=f"ignore: must name columns that nothing else reads; got {use}"):
            list(read_series(path, how))


def test_compact_dates_are_dates_in_order(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("time,v\n20240301,2\n20240229,1\n", encoding="ascii")
    (found,) = read_series(path, SeriesReading(labelled=False))
    assert found.x.times.tolist() == [datetime(2024, 2, 29), datetime(2024, 3, 1)]


def test_numbers_with_a_comma_are_no_names(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("v;label\n1,5;x\n2,5;x\n", encoding="ascii")
    with pytest.raises(DataError, match=r"d.csv:2: v must be a number; got '1,5'"):
        list(read_series(tmp_path / "d.csv", SeriesReading()))


@pytest.mark.parametrize("form", ["ts", "rows", "npz"])
def test_columns_of_forms_without_any_are_refused_in_training_only(form: str, tmp_path: Path) -> None:
    path, columns = written(tmp_path, form), {"label": "kind"}
    with pytest.raises(UsageError, match=f"column: has no effect on format {form}, which has no columns; got 'label'"):
        list(read_series(path, SeriesReading(form=form, columns=columns)))
    later = SeriesReading(form=form, columns=columns, channels=2, ragged=True, purpose="measure")
    assert len(list(read_series(path, later))) == 2
