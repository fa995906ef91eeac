"""Series regression: nothing knows the future, units are those of the targets, options that contradict are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from elman.cells import cells
from elman.errors import DataError, UsageError
from elman.readers import Example, Reading, Rejects
from elman.tasks.series_regression import SeriesRegression, SeriesRegressionOptions, Windows
from elman.tasks.supervised import Item, Setting
from elman.tasks.supervised_model import SupervisedModel
from elman.tasks.supervised_problem import SupervisedProblem

TASK = SeriesRegression()
USUAL = {"column": {"time": "day"}, "target": ("load",), "hidden_size": 6, "window": 7, "warm_up": 5}


def options(**given: Any) -> SeriesRegressionOptions:
    return SeriesRegressionOptions(**{**USUAL, **given})


def table(path: Path, days: int = 40, change: int | None = None) -> Path:
    """Days with wind and load, the load being what the wind was the day before; from a day on all is other."""
    draws = np.random.default_rng(0)
    wind = np.round(draws.normal(size=days + 1), 3)
    if change is not None:
        wind[change + 1 :] += 5
    rows = [f"{np.datetime64('2024-01-01') + n},{wind[n + 1]},{100 + 10 * wind[n]:.3f}" for n in range(days)]
    path.write_text("\n".join(["day,wind,load", *rows]) + "\n", encoding="ascii")
    return path


def read(path: Path, config: SeriesRegressionOptions, labelled: bool = True) -> list[Example]:
    return list(TASK.read(path, config.reading(labelled), config))


def built(path: Path, **given: Any) -> tuple[SupervisedModel, list[Example]]:
    """A model whose parameters are all drawn, and the examples of a table."""
    config = options(**given)
    examples = read(path, config)
    train = [example for example in examples if example.part == "train"]
    setting = Setting(config, TASK.fit(train, config), cells["lstm"])
    network = TASK.network(setting, 1)
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return SupervisedModel(TASK, network, setting), examples


@pytest.mark.parametrize("lag", [(), (1, 3)])
def test_what_is_said_of_a_step_knows_nothing_after_it(lag: tuple[int, ...], tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), lag=lag, test_from="0.8")
    for change in (1, 18, 30):
        other = read(table(tmp_path / "b.csv", change=change), model.setting.config)
        said = [answers_of(model, found) for found in (examples, other)]
        # The wind of the day itself is known; the load of a changed day is other from the day after the change on.
        assert said[0][:change].tolist() == said[1][:change].tolist()
        assert not np.allclose(said[0][change:], said[1][change:])


def answers_of(model: SupervisedModel, examples: list[Example]) -> np.ndarray:
    answers = model.answer(examples, Reading())[1]
    return np.concatenate([answer["forecasts"]["load"] for answer in answers])


def test_a_direction_from_the_end_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be bidirectional: .* sees what comes after t"):
        built(table(tmp_path / "a.csv"), bidirectional=True)


def test_answers_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"))
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            parameter.zero_() if name.startswith("head") else None
    train = np.concatenate([e.y.targets["load"] for e in examples if e.part == "train"])
    assert answers_of(model, examples) == pytest.approx(train.mean(), rel=1e-6), "zero is the mean of training"
    (first, *_) = model.answer(examples, Reading())[1]
    assert first["times"] == [f"2024-01-0{n}" for n in range(1, 8)]
    lines = TASK.show(model, examples[0].x, first).splitlines()
    assert len(lines) == 7 and lines[0] == f"2024-01-01\t{train.mean():.6g}"


def test_metrics_are_those_of_all_steps_and_of_naive_forecasts(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), season=2)
    answers = model.answer(examples, Reading())[1]
    found = TASK.measure(answers, [example.y for example in examples])
    wanted = np.concatenate([example.y.targets["load"] for example in examples])
    error = answers_of(model, examples) - wanted
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean())) and found["mae"] == pytest.approx(
        abs(error).mean()
    )
    for name, lag in (("naive", 1), ("naive_week", 7), ("naive_season", 2)):
        change = wanted[lag:] - wanted[:-lag]
        assert found[f"rmse_{name}"] == pytest.approx(np.sqrt((change**2).mean()))
        assert found[f"mae_{name}"] == pytest.approx(abs(change).mean())


def test_warm_up_has_no_part_in_the_loss(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"))
    items = [TASK.encode(example, model.setting) for example in examples]
    x, y = TASK.collate(items, model.setting)
    assert isinstance(x, Windows) and x.warm_up == (0, *[5] * (len(items) - 1)) and y is not None
    assert x.to(torch.device("cpu")).warm_up == x.warm_up
    for row, begin in enumerate(x.warm_up):
        assert torch.isnan(y[row, :begin]).all() and not torch.isnan(y[row, begin : x.lengths[row]]).any()
    assert model.network.loss(x, y).items == 40
    assert TASK.collate([Item(items[0].x, None, items[0].length)], model.setting)[1] is None


def test_quantiles_have_a_range_around_what_is_said(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), loss="quantile")
    for answer in model.answer(examples, Reading())[1]:
        low, middle, high = (np.array(answer[name]["load"]) for name in ("low", "forecasts", "high"))
        assert (low <= middle).all() and (middle <= high).all() and (low < high).any()


def test_a_normal_has_the_range_that_holds_eight_of_ten(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), loss="gaussian")
    with torch.no_grad():
        model.network.head.weight.zero_()
        model.network.head.bias.copy_(torch.tensor([0.5, np.log(0.25)]))  # mean and ln variance, standardised
    (load,) = model.setting.codecs["targets"].columns
    draws = load.mean + load.deviation * np.random.default_rng(0).normal(0.5, 0.5, size=100_000)
    answer = model.answer(examples, Reading())[1][0]
    low, middle, high = (answer[name]["load"][0] for name in ("low", "forecasts", "high"))
    assert middle == pytest.approx(load.mean + 0.5 * load.deviation)
    assert np.mean(draws < low) == pytest.approx(0.1, abs=0.005)
    assert np.mean(draws > high) == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize("ahead", [1, 4])
def test_what_is_said_ahead_knows_nothing_of_the_steps_between(ahead: int, tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), ahead=ahead, lag=(ahead, ahead + 2), test_from="0.8")
    assert f"says load {ahead} steps later" in TASK.described(model.setting)
    for change in (1, 18, 30):
        other = read(table(tmp_path / "b.csv", change=change), model.setting.config)
        said = [answers_of(model, found) for found in (examples, other)]
        assert len(said[0]) == 40 - ahead, "the first that can be said is that of day `ahead`"
        assert said[0][:change].tolist() == said[1][:change].tolist()
        assert not np.allclose(said[0][change:], said[1][change:])
    found = TASK.measure(model.answer(examples, Reading())[1], [example.y for example in examples])
    load = read(tmp_path / "a.csv", options())
    values = np.concatenate([example.y.targets["load"] for example in load])
    assert found["rmse_naive"] == pytest.approx(np.sqrt(((values[ahead:] - values[:-ahead]) ** 2).mean()))


def test_days_after_the_table_are_said(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", days=10)
    model, _ = built(table(tmp_path / "b.csv"), ahead=3)
    found = read(path, model.setting.config, labelled=False)
    answers = model.answer(found, Reading())[1]
    times = [time for answer in answers for time in answer["times"]]
    assert times[0] == "2024-01-04" and times[-3:] == ["2024-01-11", "2024-01-12", "2024-01-13"]
    assert TASK.draw(model, found, answers, tmp_path)[0].exists()


def test_the_same_windows_in_two_parts_are_noted(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", days=40)
    for other, repeated in ((path, 6), (table(tmp_path / "b.csv", change=0), 0)):
        config = options(validation=other)
        assert TASK.problem(path, config, 0, tmp_path).repeated == repeated


def test_several_targets_are_named_in_the_metrics(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), target=("load", "wind"), lag=(1,))
    assert model.setting.codecs["columns"].names == ("load<t-1>", "wind<t-1>")
    found = TASK.measure(model.answer(examples, Reading())[1], [example.y for example in examples])
    assert {"rmse_load", "mae_wind", "rmse_naive_load", "rmse_naive_week_wind"} <= set(found)


def test_future_steps_need_no_target(tmp_path: Path) -> None:
    model, _ = built(table(tmp_path / "a.csv"))
    (tmp_path / "next.csv").write_text("day,wind\n2024-03-01,0.5\n2024-03-02,1.5\n", encoding="ascii")
    found = read(tmp_path / "next.csv", model.setting.config, labelled=False)
    assert [e.y for e in found] == [None] and len(answers_of(model, found)) == 2


def test_data_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="target: must name at least one column"):
        read(path, options(target=()))
    with pytest.raises(DataError, match=r"must have a column 'lod'; got day, wind, load"):
        read(path, options(target=("lod",)))
    with pytest.raises(DataError, match=r"must have columns to read besides load; got none[^?]*--lag 1"):
        TASK.fit(read(path, options(ignore=("wind",), calendar=False)), options(ignore=("wind",), calendar=False))
    empty = tmp_path / "empty.csv"
    empty.write_text("day,wind,load\n2024-01-01,1,\n2024-01-02,2,?\n", encoding="ascii")
    with pytest.raises(DataError, match="must have values of load to train on; got none"):
        TASK.fit(read(empty, options()), options())
    rejects = Rejects(skip=True)
    numbered = options(column={}, test_from="2024-01-01")
    assert not list(TASK.read(path, Reading(rejects), numbered)) and "must have times" in rejects.rows[0]["problem"]
    with pytest.raises(DataError, match="x: must be a window of a series; got str"):
        TASK.encode(Example("x", "abc"), Setting(options(), {}, cells["lstm"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"validation_from": "0.5", "validation_fraction": 0.3}, "validation_from has an effect without"),
        ({"validation_from": "0.5", "validation": "x.csv"}, "validation_from has an effect without"),
        ({"test_from": "0.5", "test": "x.csv"}, "test_from has an effect where one file holds all parts"),
        ({"lag": (0,)}, "lag must be at least 1"),
        ({"lag": (24, 5), "ahead": 24}, "lag must be at least ahead, 24: later targets are not known yet"),
        ({"season": 12, "ahead": 24}, "season must be at least ahead, 24: its naive forecast would know later targets"),
    ],
)
def test_options_that_contradict_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(**given)


# ---- what is told of the data


def problem_of(path: Path, **given: Any) -> SupervisedProblem:
    return TASK.problem(path, options(**given), 0, path.parent)


def test_missing_targets_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = table(tmp_path / "a.csv").read_text("ascii").splitlines()
    rows[5] = rows[5].rpartition(",")[0] + ","
    (tmp_path / "b.csv").write_text("\n".join(rows) + "\n", encoding="ascii")
    assert not any("missing" in line for line in problem_of(tmp_path / "a.csv").summary())
    (told,) = (line for line in problem_of(tmp_path / "b.csv").summary() if "missing" in line)
    assert told == (
        f"note: 1 of 40 targets are missing, the first in {tmp_path / 'b.csv'}:2: 2024-01-01: left out of loss and "
        "metrics"
    )
    model, _ = built(tmp_path / "a.csv")
    judged = model.judge(tmp_path / "b.csv")
    said = np.concatenate([answer["forecasts"]["load"] for answer in judged.answers])
    truth = np.concatenate([example.y.targets["load"] for example in judged.examples])
    known = np.arange(40) != 4
    assert judged.metrics["mae"] == pytest.approx(np.abs(said - truth)[known].mean())
    assert model.remarks(judged.examples) == [told.removeprefix("note: ")]


def test_steps_that_are_longer_are_told_where_steps_are_counted(tmp_path: Path) -> None:
    rows = table(tmp_path / "a.csv").read_text("ascii").splitlines()
    del rows[8:10]  # the 7th and 8th day: window 1 of 7 ends on the 6th and the 9th
    (tmp_path / "b.csv").write_text("\n".join(rows) + "\n", encoding="ascii")
    assert not any("longer" in line for line in problem_of(tmp_path / "a.csv", lag=(1,)).summary())
    (told,) = (line for line in problem_of(tmp_path / "b.csv", lag=(1,)).summary() if "longer" in line)
    assert told == (
        f"note: 1 steps are longer than most, the first of {tmp_path / 'b.csv'}:2 after 2024-01-07T00:00:00: "
        "--lag and --ahead count rows"
    )
    assert not any("longer" in line for line in problem_of(tmp_path / "b.csv").summary())


def test_a_test_that_begins_after_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="test_from: must leave steps to test on; got 2025-01-01, the last window is"):
        problem_of(table(tmp_path / "a.csv"), test_from="2025-01-01")


@pytest.mark.parametrize("test_from", [None, "2024-02-01"])
def test_a_validation_without_a_step_is_refused(test_from: str | None, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"validation_from: must leave steps to validate on; got 202.*, the last window"
    ):
        problem_of(table(tmp_path / "a.csv"), validation_from=test_from or "2025-01-01", test_from=test_from, window=1)


def test_midnight_is_a_date_among_dates_and_a_time_among_times(tmp_path: Path) -> None:
    assert answered_times(table(tmp_path / "a.csv"))[:2] == ["2024-01-01", "2024-01-02"]
    hours = (f"{np.datetime64('2024-01-01T00') + n}:00,{n % 5},{n % 7}" for n in range(40))
    (tmp_path / "b.csv").write_text("\n".join(["day,wind,load", *hours]) + "\n", encoding="ascii")
    times = answered_times(tmp_path / "b.csv")
    assert times[0] == "2024-01-01T00:00:00" and times[24] == "2024-01-02T00:00:00"


def answered_times(path: Path) -> list[str]:
    model, examples = built(path)
    return [time for answer in model.answer(examples, Reading())[1] for time in answer["times"]]


def test_a_range_is_shown_beside_what_is_said(tmp_path: Path) -> None:
    model, examples = built(table(tmp_path / "a.csv"), loss="quantile")
    answer = model.answer(examples[:1], Reading())[1][0]
    day, *values = TASK.show(model, examples[0].x, answer).splitlines()[0].split("\t")
    assert day == "2024-01-01"
    assert [float(value) for value in values] == pytest.approx(
        [answer[kind]["load"][0] for kind in ("forecasts", "low", "high")], rel=1e-5
    )


def test_a_column_of_names_has_names_in_data_where_they_look_like_numbers(tmp_path: Path) -> None:
    header, *rows = table(tmp_path / "a.csv").read_text("ascii").splitlines()
    names = {"train": ["B1", "07", "C", "D"], "later": ["07", "07", "07", "C"]}
    for name, rooms in names.items():
        lines = [f"{header},room", *(f"{row},{rooms[n % 4]}" for n, row in enumerate(rows))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="ascii")
    problem = problem_of(tmp_path / "train.csv", validation=tmp_path / "later.csv")
    assert problem.setting.config.category == ("room",)
    codec = problem.setting.codecs["columns"]
    axis = codec.encode(problem.examples["validation"][0].x.series)[:, 1 + codec.columns[-1].names.index("07")]
    assert axis[:4].tolist() == [1, 1, 1, 0]
