"""Windows of series and naive forecasts by hand: each step once, no future, parts where the times say."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from elman.codecs.columns import Columns, Number
from elman.errors import DataError, UsageError
from elman.readers import Example
from elman.readers.series import Series
from elman.tasks.naive_forecasts import filled, naive_forecasts
from elman.tasks.series_windows import Cutting, is_share, place_of, shown_time, windows

NAN = np.nan


def hours(count: int, every: int = 1) -> np.ndarray:
    return np.array([np.datetime64(datetime(2024, 1, 1) + timedelta(hours=every * n), "us") for n in range(count)])


def series(count: int = 10, times: np.ndarray | None = None) -> Example:
    numbers = np.stack([np.arange(count) + 0.5, np.arange(count) * 10.0], axis=1)
    return Example("d.csv:2", Series("d.csv:2", ("wind", "load"), numbers, times=times), group="north")


def cutting(**given: object) -> Cutting:
    usual = {"targets": ("load",), "lags": (), "window": 4, "warm_up": 2, "season": None, "ahead": 0}
    parts = {"validation_from": "0.5", "test_from": "0.8", "validation_share": 0.1}
    return Cutting(**{**usual, **parts, **given})  # type: ignore[arg-type]


def test_each_step_is_said_once_and_read_after_its_warm_up() -> None:
    found = list(windows(series(), cutting(), labelled=True))
    assert [(e.part, e.x.warm_up, e.x.series.column("wind").tolist()) for e in found] == [
        ("train", 0, [0.5, 1.5, 2.5, 3.5]),
        ("train", 2, [2.5, 3.5, 4.5]),
        ("validation", 2, [3.5, 4.5, 5.5, 6.5, 7.5]),
        ("test", 2, [6.5, 7.5, 8.5, 9.5]),
    ]
    assert np.concatenate([e.y.targets["load"] for e in found]).tolist() == [10.0 * n for n in range(10)]
    assert all(e.x.series.names == ("wind",) and e.x.name == e.group == "north" for e in found)
    assert [e.where for e in found][1] == "d.csv:2: 5"
    for given, name in (
        (Example("d.csv:2", found[0].x.series, id="a", group="b"), "a"),
        (Example("d", series().x), "d"),
    ):
        assert next(windows(given, cutting(targets=()), labelled=True)).x.name == name


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_windows_know_the_naive_forecasts_of_their_steps(ahead: int) -> None:
    found = list(windows(series(), cutting(ahead=ahead, season=4), labelled=True))
    naive = {name: np.concatenate([e.y.naive["load"][name] for e in found]) for name in ("naive", "naive_season")}
    said = np.concatenate([e.y.targets["load"] for e in found])
    for name, back in (("naive", max(ahead, 1)), ("naive_season", 4)):
        np.testing.assert_equal(naive[name], np.where(said >= 10 * back, said - 10 * back, NAN))


def test_a_series_is_dated_where_all_its_times_are_midnights() -> None:
    days, at_noon = hours(10, every=24), hours(10, every=12)
    for times, dated in ((days, True), (at_noon, False), (np.arange(10.0), False), (None, False)):
        assert {e.x.dated for e in windows(series(10, times), cutting(), labelled=True)} == {dated}
    (alone,) = windows(series(1, days[:1]), cutting(validation_from=None, test_from=None, validation_share=0), True)
    assert alone.x.times == days[:1] and alone.x.dated


def test_lags_are_columns_of_what_was_known() -> None:
    found = list(windows(series(), cutting(lags=(1, 3), window=100, warm_up=0, test_from=None), labelled=True))
    assert found[1].part == "validation" and found[1].x.series.names == ("wind", "load<t-1>", "load<t-3>")
    assert found[1].x.series.numbers.tolist() == [[n + 0.5, 10.0 * (n - 1), 10.0 * (n - 3)] for n in range(5, 10)]
    np.testing.assert_equal(found[0].x.series.column("load<t-3>"), [NAN, NAN, NAN, 0.0, 10.0])


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_missing_number_is_the_one_before_it_wherever_windows_begin(ahead: int) -> None:
    wind = np.full(40, NAN)
    wind[[3, 17, 18]] = 1.0, -4.0, 2.5  # told seldom, as a number of each month among days
    told = Series("d.csv:2", ("load", "wind"), np.stack([np.arange(40.0), wind], axis=1))
    columns = Columns([Number("wind", 0.5, 2.0, misses=True)])
    whole = columns.encode(told)
    assert whole[10].tolist() == [0.25, 1.0] and whole[0].tolist() == [0.0, 1.0]
    for example in windows(Example("d", told), cutting(ahead=ahead), labelled=True):
        begin = int(example.y.targets["load"][0]) - ahead - example.x.warm_up
        series = example.x.series
        assert columns.encode(series).equal(whole[begin : begin + len(series)])
        assert columns.encode(series.part(1, len(series))).equal(whole[begin + 1 : begin + len(series)])


def test_without_targets_steps_are_read_alone() -> None:
    example = series()
    bare = Example(example.where, Series("", ("wind",), example.x.numbers[:, :1]))
    found = list(windows(bare, cutting(), labelled=False))
    assert all(e.y is None for e in found) and sum(len(e.x.series) - e.x.warm_up for e in found) == 10
    with pytest.raises(DataError, match="must have a column 'load'"):
        list(windows(bare, cutting(), labelled=True))
    with pytest.raises(DataError, match="must have a column 'load'"):
        list(windows(bare, cutting(lags=(1,)), labelled=False))


def test_parts_begin_at_shares_dates_or_numbers() -> None:
    dated, numbered = series(10, hours(10)), series(10, np.arange(10) * 0.5)
    assert place_of("0.8", dated.x, "test_from") == 8
    assert place_of("2024-01-01 03:30", dated.x, "test_from") == place_of("2024-01-01T04", dated.x, "test_from") == 4
    assert place_of("2025-01-01", dated.x, "test_from") == 10
    assert place_of("2.2", numbered.x, "test_from") == 5
    for example, text in ((dated, "3"), (numbered, "2024-01-01"), (series(), "2024-01-01")):
        first = {"3": "2024-01-01", "2024-01-01": "none" if example.x.times is None else "0"}[text]
        with pytest.raises(DataError, match=f"must have times to compare with test_from, {text}; got {first}\n"):
            place_of(text, example.x, "test_from")
    shares = {"0": False, "0.01": True, "0.99": True, "1": False, "1.5": False, "-0.5": False, "soon": False}
    assert {text: is_share(text) for text in shares} == shares
    with pytest.raises(UsageError, match=r"test_from: must be a time, .* or a share.*; got 'soon'"):
        place_of("soon", dated.x, "test_from")
    with pytest.raises(UsageError, match=r"validation_from: must be before test_from, 0.4; got 0.5"):
        list(windows(dated, cutting(test_from="0.4"), labelled=True))
    early = [
        e.part for e in windows(dated, cutting(validation_from=None, test_from="0.8", validation_share=0.25), True)
    ]
    assert early == ["train", "train", "validation", "test"], "a quarter of the steps before the test"


def test_a_series_that_says_its_part_is_not_divided() -> None:
    example = series()
    found = list(windows(Example("", example.x, part="test"), cutting(), labelled=True))
    assert {e.part for e in found} == {"test"} and len(found) == 3
    assert np.concatenate([e.y.targets["load"] for e in found]).tolist() == [10.0 * n for n in range(10)]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({}, [None]),
        ({"validation_from": "0.5"}, ["train", "validation"]),
        ({"test_from": "0.5"}, ["train", "test"]),
        ({"validation_share": 0.5}, ["train", "validation"]),
    ],
)
def test_a_series_has_the_parts_that_are_asked_for(given: dict[str, object], parts: list[str | None]) -> None:
    nothing = {"validation_from": None, "test_from": None, "validation_share": 0.0}
    found = list(windows(series(), cutting(window=10, **{**nothing, **given}), labelled=True))
    assert [e.part for e in found] == parts
    assert np.concatenate([e.y.targets["load"] for e in found]).tolist() == [10.0 * n for n in range(10)]


def test_naive_forecasts_repeat_what_was_known() -> None:
    values = np.array([1.0, NAN, 3.0, 4.0, 5.0])
    found = naive_forecasts(values, None, 2)
    np.testing.assert_equal(found["naive"], [NAN, 1, 1, 3, 4])
    np.testing.assert_equal(found["naive_season"], [NAN, NAN, 1, NAN, 3])
    assert set(found) == {"naive", "naive_season"}
    np.testing.assert_equal(filled(np.array([NAN, 2.0, NAN])), [NAN, 2, 2])


def test_naive_forecasts_of_the_calendar_look_for_the_time() -> None:
    times = np.delete(hours(24 * 9), [30, 100])  # two hours are missing
    values = np.random.default_rng(0).normal(size=len(times))
    found = naive_forecasts(values, times, None)
    assert set(found) == {"naive", "naive_day", "naive_week"}
    at = dict(zip(times, values, strict=True))
    for name, days in (("naive_day", 1), ("naive_week", 7)):
        wanted = [at.get(time - np.timedelta64(24 * days, "h"), NAN) for time in times]
        np.testing.assert_equal(found[name], wanted)
    weekly = hours(120, every=24 * 7)
    assert set(naive_forecasts(np.arange(120.0), weekly, None)) == {"naive", "naive_year"}, "no period within a step"
    year = naive_forecasts(np.arange(120.0), weekly, None)["naive_year"]
    np.testing.assert_equal(year[52:56], [0, 1, 2, 3])  # 365 days are a day more than 52 weeks


def test_naive_forecasts_of_the_calendar_take_the_nearest_time_within_half_a_step() -> None:
    times = hours(9, every=6)
    late = np.concatenate([times, [times[4] + np.timedelta64(3, "h"), times[8] + np.timedelta64(2, "h")]])
    order = np.argsort(late)
    values = np.arange(11.0)[order]
    found = dict(zip(late[order], naive_forecasts(values, late[order], None)["naive_day"], strict=True))
    assert found[late[9]] == 0, "three hours from both: the earlier one"
    assert found[late[10]] == 9, "an hour from one of six hours, two from the other"
    alone = np.delete(order, np.flatnonzero((order == 0) | (order == 1)))  # nothing is near a day before the ninth
    assert np.isnan(naive_forecasts(np.arange(11.0)[alone], late[alone], None)["naive_day"]).sum() > 4


def test_which_naive_forecasts_there_are() -> None:
    values = np.random.default_rng(3).normal(size=60)
    for every, days in ((12, {"naive_day", "naive_week"}), (16, {"naive_week"}), (24, {"naive_week"})):
        times = hours(60, every=every)
        found = naive_forecasts(values, times, None)
        assert set(found) == {"naive", *days}
        np.testing.assert_equal(naive_forecasts(values, times.astype("datetime64[h]"), None), found)
    assert set(naive_forecasts(values, np.arange(60) * 3600.0, 7)) == {"naive", "naive_season"}, (
        "seconds of no calendar"
    )
    assert set(naive_forecasts(values, hours(60), 24, 24)) == {"naive", "naive_day", "naive_season"}
    assert set(naive_forecasts(values, hours(60), 23, 24)) == {"naive", "naive_day"}
    assert naive_forecasts(values[:1], hours(1), None) == {}
    two = naive_forecasts(values[:2], hours(2, every=24 * 7), None)
    assert set(two) == {"naive"} and two["naive"][1] == values[0]
    assert set(naive_forecasts(values[:2], hours(2, every=24 * 200), None)) == {"naive"}


def test_no_forecast_knows_its_own_time_or_later() -> None:
    times, values = hours(400, every=5), np.random.default_rng(1).normal(size=400)
    for cut in (60, 200):
        changed = np.concatenate([values[:cut], values[cut:] + 100])
        before, after = naive_forecasts(values, times, 3), naive_forecasts(changed, times, 3)
        for name, forecast in before.items():
            np.testing.assert_equal(forecast[: cut + 1], after[name][: cut + 1])


def test_times_are_shown_short() -> None:
    shown = [shown_time(np.datetime64(text, "us")) for text in ("2024-03-01", "2024-03-01T17:05")]
    assert [*shown, shown_time(np.float64(2.50))] == ["2024-03-01", "2024-03-01T17:05:00", "2.5"]
    assert shown_time(np.datetime64("2024-03-01", "us"), dated=False) == "2024-03-01T00:00:00"
    assert [shown_time(np.float64(at)) for at in (1700003600, 0.1 + 0.2)] == ["1700003600", "0.3"]


def test_ahead_says_a_target_from_what_was_read_so_many_steps_before() -> None:
    far = cutting(ahead=3, lags=(3, 4), window=4, warm_up=2)
    found = list(windows(series(10, hours(10)), far, labelled=True))
    assert [(e.part, e.x.warm_up, e.x.series.column("wind").tolist()) for e in found] == [
        ("train", 0, [0.5, 1.5]),
        ("validation", 2, [0.5, 1.5, 2.5, 3.5, 4.5]),
        ("test", 2, [3.5, 4.5, 5.5, 6.5]),
    ], "parts are those of the steps that are said"
    assert np.concatenate([e.y.targets["load"] for e in found]).tolist() == [10.0 * n for n in range(3, 10)]
    for example in found:
        read, said = example.x.series, example.y.targets["load"]
        assert (read.column("load<t-3>")[example.x.warm_up :] == said - 30).all(), "the last one known"
        np.testing.assert_equal(example.x.times, read.times[example.x.warm_up :] + np.timedelta64(3, "h"))
    assert found[1].x.series.column("load<t-4>").tolist()[1:] == [0, 10, 20, 30]


def test_steps_after_the_end_are_said_where_no_target_is_needed() -> None:
    for times, after in ((hours(10), hours(13)[10:]), (np.arange(10) * 0.5, [5.0, 5.5, 6.0]), (None, None)):
        found = list(windows(series(10, times), cutting(ahead=3, window=6, warm_up=0), labelled=False))
        assert np.concatenate([e.x.series.column("wind") for e in found]).tolist() == [n + 0.5 for n in range(10)]
        if times is None:
            assert found[-1].x.times is None and found[-1].where == "d.csv:2: 9"
        else:
            np.testing.assert_equal(np.concatenate([e.x.times for e in found])[-3:], after)
    with pytest.raises(DataError, match=r"d\.csv:2: must have more than 10 steps, so far is looked ahead; got 10"):
        list(windows(series(), cutting(ahead=10), labelled=True))
    (alone,) = list(windows(series(1, hours(1)), cutting(ahead=1, test_from=None, validation_from=None), False))
    assert alone.x.times is None and len(alone.x.series) == 1


@pytest.mark.parametrize(
    ("known", "after"),
    [
        (["2023-10-01", "2023-11-01", "2023-12-01"], ["2024-01-01", "2024-02-01", "2024-03-01"]),
        (["2023-11-30", "2023-12-31"], ["2024-01-31", "2024-02-29"]),
        (["2023-03-30", "2023-04-30"], ["2023-05-30", "2023-06-30"]),
        (["2020-01-15T12", "2021-01-15T12"], ["2022-01-15T12", "2023-01-15T12"]),
        (["2023-06-01", "2023-09-01", "2023-12-01"], ["2024-03-01", "2024-06-01", "2024-09-01"]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
    ],
)
def test_months_and_years_go_on_by_the_calendar(known: list[str], after: list[str]) -> None:
    ahead = len(known)
    how = cutting(ahead=ahead, validation_from=None, test_from=None, validation_share=0.0)
    (said,) = windows(series(ahead, np.array(known, "datetime64[us]")), how, labelled=False)
    np.testing.assert_equal(said.x.times, np.array(after, "datetime64[us]"))


@pytest.mark.parametrize(
    ("weekdays", "at", "after"),
    [
        ("1111100", "T00", ["2024-01-29", "2024-01-30", "2024-01-31"]),  # up to Friday, 26 January
        ("1111110", "T17", ["2024-01-29", "2024-01-30", "2024-01-31"]),
        ("1111111", "T00", ["2024-01-29", "2024-01-30", "2024-01-31"]),
        ("1101111", "T00", ["2024-01-29", "2024-01-30", "2024-02-01"]),
    ],
)
def test_days_go_on_over_the_weekdays_that_there_are(weekdays: str, at: str, after: list[str]) -> None:
    days = np.arange("2024-01-01", "2024-01-29", dtype="datetime64[D]")  # begins on a Monday
    kept = days[np.tile([day == "1" for day in weekdays], 4)]
    times = kept.astype("datetime64[us]") + np.timedelta64(int(at[1:]), "h")
    how = cutting(ahead=3, window=99, warm_up=0, validation_from=None, test_from=None, validation_share=0.0)
    (said,) = windows(series(len(times), times), how, labelled=False)
    np.testing.assert_equal(said.x.times[-3:], np.array([day + at for day in after], "datetime64[us]"))


@pytest.mark.parametrize(("begin", "step", "after"), [("2024-01-04", 1, "2024-01-12"), ("2024-01-01", 2, "2024-01-17")])
def test_few_days_and_every_other_one_tell_no_week(begin: str, step: int, after: str) -> None:
    how = cutting(ahead=1, window=99, warm_up=0, validation_from=None, test_from=None, validation_share=0.0)
    times = np.datetime64(begin, "us") + np.arange(8) * np.timedelta64(step, "D")
    (said,) = windows(series(8, times), how, labelled=False)
    assert said.x.times[-1] == np.datetime64(after)


@pytest.mark.parametrize("ahead", [1, 2, 30])
def test_naive_forecasts_look_as_far_ahead(ahead: int) -> None:
    times, values = hours(400), np.random.default_rng(2).normal(size=400)
    found = naive_forecasts(values, times, 12, ahead)
    np.testing.assert_equal(found["naive"][ahead:], values[:-ahead])
    assert set(found) == {"naive", "naive_week", *(["naive_day", "naive_season"] if ahead <= 12 else [])}
    for cut in (60, 200):
        changed = np.concatenate([values[:cut], values[cut:] + 100])
        for name, forecast in naive_forecasts(changed, times, 12, ahead).items():
            np.testing.assert_equal(forecast[: cut + ahead], found[name][: cut + ahead])
