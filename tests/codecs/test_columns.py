"""Columns of series to numbers: by hand, without the future, and saved with a model."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch

from elman.codecs.calendar import calendar_of, calendar_parts
from elman.codecs.columns import Columns, Number
from elman.codecs.saved import codecs_from_json, codecs_to_json
from elman.errors import DataError, ModelFileError, UsageError
from elman.readers.series import Series

NAN = np.nan


def dates(count: int, step: timedelta = timedelta(hours=7)) -> np.ndarray:
    return np.array([np.datetime64(datetime(2023, 12, 30) + n * step, "us") for n in range(count)])


def some(count: int = 5) -> Series:
    draws = np.random.default_rng(0)
    numbers = np.stack([draws.normal(5, 2, count), draws.integers(0, 3, count), np.full(count, 4.0)], axis=1)
    texts = draws.choice(["dry", "wet"], (count, 1))
    return Series("d.csv:2", ("wind", "code", "same"), numbers, ("sky",), texts, dates(count))


def test_numbers_are_standardised_by_training_and_names_have_axes() -> None:
    train = some(40)
    columns = Columns.build([train.part(0, 30), train.part(30, 40)], ["wind", "same", "code", "sky"], ["code"])
    found = columns.encode(train).numpy()
    assert found.shape == (40, columns.size) == (40, 1 + 1 + 3 + 2)
    assert found[:, 0].mean() == pytest.approx(0, abs=1e-6) and found[:, 0].std() == pytest.approx(1, abs=1e-5)
    assert not found[:, 1].any(), "a column that never varies says nothing"
    assert (found[:, 2:5].argmax(axis=1) == train.column("code")).all()
    assert [("dry", "wet")[n] for n in found[:, 5:].argmax(axis=1)] == train.column("sky").tolist()
    other = Series("", ("wind", "code", "same"), np.array([[5.0, 9.0, 4.0]]), ("sky",), np.array([["fog"]]))
    assert not columns.encode(other)[0, 2:].any(), "what training did not meet is none of the names"


def test_long_numbers_are_names_by_all_their_digits() -> None:
    train = Series("", ("shop",), np.array([[1000001.0], [1000002.0], [1000001.0]]))
    columns = Columns.build([train], ["shop"], ["shop"])
    assert columns.encode(train).tolist() == [[1, 0], [0, 1], [1, 0]]


def test_names_that_are_numbers_are_these_numbers() -> None:
    train = Series("", (), np.zeros((3, 0)), ("room",), np.array([["07"], ["B1"], ["12"]]))
    columns = Columns.build([train], ["room"])
    assert columns.columns[0].axes == 3 and columns.encode(train).argmax(dim=1).tolist() == [0, 2, 1]
    numbers = Series("", ("room",), np.array([[7.0], [12.0], [8.0]]))
    assert columns.encode(numbers).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_a_missing_name_is_one_however_it_is_written() -> None:
    texts = Series("", (), np.zeros((3, 0)), ("room",), np.array([[""], ["7"], ["NA"]]))
    numbers = Series("", ("room",), np.array([[NAN], [7.0], [NAN]]))
    assert Columns.build([texts], ["room"]).encode(numbers).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert Columns.build([numbers], ["room"], ["room"]).encode(texts).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_a_missing_value_is_the_one_before_it() -> None:
    train = Series("", ("a",), np.array([[NAN], [1.0], [NAN], [NAN], [3.0]]))
    columns = Columns.build([train], ["a"])
    assert columns.columns == (Number("a", 2.0, 1.0, misses=True),)
    assert columns.encode(train).tolist() == [[0, 1], [-1, 0], [-1, 1], [-1, 1], [1, 0]]
    whole = Columns.build([train.part(4, 5)], ["a"])
    assert whole.encode(train)[:, 0].tolist() == [0, -2, -2, -2, 0], "no axis where training misses nothing"


def test_what_is_missing_of_a_column_stands_behind_it_among_others() -> None:
    numbers = np.array([[1.0, NAN, 7.0], [3.0, 10.0, NAN], [NAN, 20.0, 9.0]])
    train = Series("", ("a", "b", "c"), numbers, ("sky",), np.array([["dry"], ["wet"], ["dry"]]))
    columns = Columns.build([train.part(0, 2), train.part(2, 3)], ["c", "a", "sky", "b"])
    assert columns.columns[:2] == (Number("c", 8.0, 1.0, misses=True), Number("a", 2.0, 1.0, misses=True))
    c, c_misses, a, a_misses, dry, wet, b, b_misses = columns.encode(train).T.tolist()
    assert (c, c_misses, a, a_misses) == ([-1, -1, 1], [0, 1, 0], [-1, 1, 1], [0, 0, 1])
    assert (dry, wet, b, b_misses) == ([1, 0, 1], [0, 1, 0], [0, -1, 1], [1, 0, 0])


def test_texts_where_training_met_numbers_are_one_error() -> None:
    columns = Columns.build([some(5)], ["wind", "code"])
    other = Series("e.csv:2", ("code",), np.zeros((2, 1)), ("wind",), np.array([["strong"], ["weak"]]))
    with pytest.raises(DataError, match=r"e\.csv:2: column 'wind' must hold numbers; got texts"):
        columns.encode(other)


def test_a_step_depends_on_steps_before_only() -> None:
    series = some(30)
    columns = Columns.build([series], ["wind", "sky"], calendar=("hour", "weekday", "year"))
    for cut in (1, 7, 29):
        assert torch.equal(columns.encode(series.part(0, cut)), columns.encode(series)[:cut])


def test_targets_come_back_in_their_unit() -> None:
    columns = Columns.build([some(40)], ["wind", "code"])
    values = np.random.default_rng(1).normal(size=(7, 2))
    np.testing.assert_allclose(columns.decode(columns.standardise(values)), values, rtol=1e-12)
    assert columns.standardise(np.array([columns.columns[0].mean, NAN]))[0] == 0  # type: ignore[union-attr]


def test_the_calendar_is_that_of_datetime() -> None:
    times = dates(200)
    for at, hour, weekday in zip(times, calendar_of("hour", times), calendar_of("weekday", times), strict=True):
        when = at.astype(datetime)
        assert (hour.argmax(), weekday.argmax()) == (when.hour, when.weekday())
    long_ago = np.array(["1969-12-28T23:59:59", "1901-02-03T04:05"], "datetime64[us]")  # a Sunday, and another one
    hour, weekday = calendar_of("hour", long_ago), calendar_of("weekday", long_ago)
    assert (hour.argmax(1).tolist(), weekday.argmax(1).tolist()) == ([23, 4], [6, 6])
    assert (hour.shape, weekday.shape) == ((2, 24), (2, 7)) and bool((hour.sum(1) == 1).all())
    at = np.array(["2023-01-01", "2023-04-02T06", "2023-07-02T15", "2024-01-01"], "datetime64[us]")
    quarters = [[0, 0, 1, 1], [1, 0, 0, -1], [0, 0, -1, 1], [0, 0, 1, 1]]
    np.testing.assert_allclose(calendar_of("year", at), quarters, atol=0.01)
    assert [calendar_of(part, None).shape for part in ("hour", "weekday", "year")] == [(0, 24), (0, 7), (0, 4)]
    with pytest.raises(UsageError, match="calendar: must be hour, weekday or year; got 'moon'"):
        calendar_of("moon", times)


def test_parts_of_the_calendar_are_those_that_vary() -> None:
    assert calendar_parts([dates(100)]) == ("hour", "weekday")
    assert calendar_parts([dates(400, timedelta(days=1))]) == ("weekday", "year")
    assert calendar_parts([dates(60, timedelta(days=7)), dates(3, timedelta(days=7))]) == ("year",)
    assert calendar_parts([dates(9)[[0, 1, 1]]]) == ("hour",), "two hours differ"
    assert calendar_parts([dates(2, timedelta(days=1))]) == ("weekday",), "two days differ"
    assert calendar_parts([dates(9), None]) == calendar_parts([np.arange(9.0)]) == ()


def test_columns_are_saved_with_a_model() -> None:
    columns = Columns.build([some(20)], ["wind", "code", "sky"], ["code"], ("hour",))
    (found,) = codecs_from_json(json.loads(json.dumps(codecs_to_json({"x": columns})))).values()
    assert (found.columns, found.calendar, found.size) == (columns.columns, columns.calendar, columns.size)
    assert torch.equal(found.encode(some(9)), columns.encode(some(9)))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"columns": [{"name": "a"}], "calendar": []},
        {"columns": [{"name": "a", "mean": 0, "deviation": 0, "misses": False}], "calendar": []},
        {"columns": [], "calendar": ["moon"]},
        {"columns": 3, "calendar": []},
    ],
)
def test_damaged_descriptions_are_told(value: dict[str, object]) -> None:
    with pytest.raises(ModelFileError, match="columns: must be described"):
        Columns.from_json(value)


def test_what_cannot_be_encoded_is_told() -> None:
    columns = Columns.build([some()], ["wind"], calendar=("hour",))
    with pytest.raises(DataError, match="x:1: must have dates as times"):
        columns.encode(Series("x:1", ("wind",), np.ones((2, 1))))
    many = Series("", (), np.zeros((300, 0)), ("id",), np.array([[f"n{n}"] for n in range(300)]))
    with pytest.raises(DataError, match=r"column 'id': must have at most 200 categories; got 300[^?]*--ignore id"):
        Columns.build([many], ["id"])
