"""Series regression: columns over time in, numbers at each step out, of what is known by then only; in step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from elman.architectures import ManyToManyInStep, Numbers, Ragged
from elman.codecs.calendar import calendar_parts
from elman.codecs.columns import Columns
from elman.codecs.saved import Codec
from elman.errors import DataError, UsageError
from elman.heads.regression import RegressionHead
from elman.metrics import mae, rmse
from elman.readers import Example, Reading
from elman.readers.examples import Purpose
from elman.readers.series_files import read_series
from elman.tasks.forecast_picture import draw_forecasts
from elman.tasks.generated_signals import write_mood
from elman.tasks.options import PlainLayers, SmallBatches, SupervisedOptions
from elman.tasks.series_classification import ColumnOptions, series_reading, with_names
from elman.tasks.series_windows import Cutting, Truth, Window, is_share, shown_time, windows
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

KINDS = ("forecasts", "low", "high")
DEVIATIONS = 1.2816
"""So many deviations on both sides of its mean hold eight of ten values of a normal distribution."""


@dataclass(frozen=True)
class Windows(Ragged):
    """Windows of series in one tensor.

    Args:
        warm_up: Steps of each that are only read.
        times: Of the steps after them, as people write them; () without times.
    """

    warm_up: tuple[int, ...]
    times: tuple[tuple[str, ...], ...]

    def to(self, device: torch.device) -> Windows:
        """Return the same on another device."""
        return replace(self, values=self.values.to(device))


class SeriesRegressionOptions(ColumnOptions, SmallBatches, PlainLayers, SupervisedOptions):
    """Options of series regression."""

    target: tuple[str, ...] = Field((), description="column to say at each step; repeat for several")
    lag: tuple[int, ...] = Field(
        (),
        description="read the target of so many steps before the one said, too; at least ahead; repeat for several",
    )
    ahead: int = Field(
        0, ge=0, le=1_000_000, description="say the target of so many steps later, of which nothing is known yet"
    )
    calendar: bool = Field(True, description="read hour, weekday and season of the time, where it is a date")
    loss: Literal["mse", "mae", "quantile", "gaussian"] = Field(
        "mse",
        description="mse says means, mae medians; quantile medians and gaussian means with a range that holds 8 of 10",
    )
    validation_from: str | None = Field(
        None, description="where validation begins: a time, or a share of the steps; without it validation_fraction"
    )
    test_from: str | None = Field(None, description="where the test begins: a time, or a share of the steps")
    window: int = Field(64, ge=1, le=1_000_000, description="steps of a series to say at once")
    warm_up: int = Field(64, ge=0, le=1_000_000, description="steps that are read before them")
    season: int | None = Field(None, ge=1, le=10**9, description="steps of a season, for the naive forecast")
    bidirectional: bool = Field(False, description="refused: what is said of a step must not know those after it")
    hidden_size: int = Field(64, ge=1, le=65_536, description="units of a layer")
    dropout: float = Field(0.2, ge=0, lt=1, description="between layers and before the output")
    batch_size: int = Field(16, ge=1, le=65_536, description="windows of a batch")

    @model_validator(mode="after")
    def _refuse_what_does_not_go_together(self) -> SeriesRegressionOptions:
        usual = type(self).model_fields["validation_fraction"].default
        if self.validation_from is not None and (self.validation is not None or self.validation_fraction != usual):
            raise ValueError("validation_from has an effect without validation and validation_fraction only")
        if self.test_from is not None and (self.validation is not None or self.test is not None):
            raise ValueError("test_from has an effect where one file holds all parts only; got another file")
        if any(lag < 1 for lag in self.lag):
            raise ValueError("lag must be at least 1: the target of the step itself is what is to be said")
        if any(lag < self.ahead for lag in self.lag):
            raise ValueError(f"lag must be at least ahead, {self.ahead}: later targets are not known yet")
        if self.season is not None and self.season < self.ahead:
            raise ValueError(
                f"season must be at least ahead, {self.ahead}: its naive forecast would know later targets"
            )
        return self

    def division(self, purpose: Purpose) -> tuple[str | None, str | None, float]:
        """Return where validation and test begin, and the share of validation where nobody says.

        A file that is one part by itself is not divided, nor one that answers are wanted of; and a share of the
        training data says nothing of other data.
        """
        share = 0.0 if self.validation is not None else self.validation_fraction
        if purpose in ("train", "remeasure"):
            return self.validation_from, self.test_from, share
        dates = [text if text and not is_share(text) else None for text in (self.validation_from, self.test_from)]
        if purpose != "measure" or dates == [None, None]:
            return None, None, 0.0
        return dates[0], dates[1], share


class SeriesRegressionTraining(TrainingConfig):
    """Options of training, with the defaults of series regression."""

    default_epochs: ClassVar[int] = 60

    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


class SeriesRegression(SupervisedTask[SeriesRegressionOptions]):
    """Numbers at each step of a series, strictly causal."""

    name = "series-regression"
    summary = "numbers at each step of a series: demand, temperature, mood from weather"
    shape = "many to many in step, causal"
    config: ClassVar[type[Any]] = SeriesRegressionOptions
    training: ClassVar[type[TrainingConfig]] = SeriesRegressionTraining
    unit = "numbers"

    def read(self, path: Path, how: Reading, config: SeriesRegressionOptions) -> Iterator[Example]:
        """Yield windows of series, each with its part of the data by its time; see elman.tasks.series_windows."""
        if not config.target:
            raise UsageError("target: must name at least one column; got none", "say --target NAME")
        cutting = Cutting(
            config.target,
            config.lag,
            config.window,
            config.warm_up,
            config.season,
            config.ahead,
            *config.division(how.purpose),
        )
        for example in read_series(path, series_reading(how, config, targets=config.target)):
            try:
                yield from windows(example, cutting, how.labelled)
            except DataError as error:
                how.rejects.take(example.where, error)

    def settled(self, examples: Sequence[Example], config: SeriesRegressionOptions) -> SeriesRegressionOptions:
        """Return options by which later data has names where this has."""
        return with_names(config, examples[0].x.series)

    def identity(self, example: Example) -> Any:
        """Return the columns that are read: windows of the same values are the same."""
        return example.x.series

    def check_parts(self, parts: Mapping[str, Sequence[Example]], config: SeriesRegressionOptions) -> None:
        """Refuse a time for validation or the test to begin after which no series has a step of that part."""
        if config.validation_from is not None and not any(e.part == "validation" for e in parts["validation"]):
            raise UsageError(  # what stands there was drawn of the windows to train on
                f"validation_from: must leave steps to validate on; got {config.validation_from}, the last window "
                f"to train on is {parts['train'][-1].where}"
            )
        if config.test_from is not None and not parts["test"]:
            last = parts["validation"][-1].where
            raise UsageError(
                f"test_from: must leave steps to test on; got {config.test_from}, the last window is {last}"
            )

    def remarks(self, parts: Mapping[str, Sequence[Example]], setting: Setting[SeriesRegressionOptions]) -> list[str]:
        """Say how many targets are missing, and where steps are uneven though steps are counted."""
        return [*_missing(parts), *(_uneven(parts) if setting.config.lag or setting.config.ahead else [])]

    def told(self, example: Example) -> dict[str, Any]:
        """Return the name of the series."""
        return {"series": example.x.name}

    def truth(self, y: Truth, answer: Answer) -> dict[str, list[float]]:
        """Return the values of each target."""
        return {name: values.tolist() for name, values in y.targets.items()}

    def batch_size(self, count: int, config: SeriesRegressionOptions) -> int:
        """Return the option's, or less where windows are few."""
        return config.batch_of(count, config.batch_size)

    def fit(self, examples: Sequence[Example], config: SeriesRegressionOptions) -> dict[str, Codec]:
        """Return what columns and targets are standardised by."""
        found = [example.x.series.part(example.x.warm_up, len(example.x.series)) for example in examples]
        names = (*found[0].names, *found[0].text_names)
        calendar = calendar_parts([series.times for series in found]) if config.calendar else ()
        if not names and not calendar:
            raise DataError(
                f"{examples[0].where}: must have columns to read besides {', '.join(config.target)}; got none",
                "read the target of the step before with --lag 1",
            )
        targets = [example.y.targets for example in examples]
        truth = {name: np.concatenate([values[name] for values in targets]) for name in config.target}
        for name, values in truth.items():
            if np.isnan(values).all():
                raise DataError(f"{examples[0].where}: must have values of {name} to train on; got none")
        return {
            "columns": Columns.build(found, names, config.category, calendar),
            "targets": Columns.of_numbers(truth),
        }

    def described(self, setting: Setting[SeriesRegressionOptions]) -> str:
        """Return what is read and said."""
        columns, targets = setting.codecs["columns"], setting.codecs["targets"]
        read = ", ".join((*columns.names, *(f"{part} of the time" for part in columns.calendar)))
        later = f" {setting.config.ahead:,} steps later" if setting.config.ahead else ""
        return f"windows of {setting.config.window} steps; reads {read}; says {', '.join(targets.names)}{later}"

    def encode(self, example: Example, setting: Setting[SeriesRegressionOptions]) -> Item:
        """Return columns (T, I) and targets (T, K), both standardised; targets of the warm-up are NaN."""
        window = example.x
        if not isinstance(window, Window):
            raise DataError(f"{example.where}: must be a window of a series; got {type(window).__name__}")
        x = setting.codecs["columns"].encode(window.series)
        times = () if window.times is None else tuple(shown_time(time, window.dated) for time in window.times)
        if example.y is None:
            return Item((x, window.warm_up, times), None, len(x))
        targets: Columns = setting.codecs["targets"]
        said = targets.standardise(np.stack([example.y.targets[name] for name in targets.names], axis=1))  # (W, K)
        y = torch.full((len(x), len(targets.names)), torch.nan)
        y[window.warm_up :] = torch.from_numpy(said.astype(np.float32))
        return Item((x, window.warm_up, times), y, len(x))

    def network(
        self, setting: Setting[SeriesRegressionOptions], seed: int, examples: Sequence[Example] = ()
    ) -> ManyToManyInStep:
        """Columns, recurrent layers in the direction of time, plain layers, regression."""
        config = setting.config
        outputs = len(setting.codecs["targets"].names)
        return ManyToManyInStep(
            Numbers(setting.codecs["columns"].size, dropout=config.input_dropout),
            partial(RegressionHead, outputs=outputs, kind=config.loss),
            bidirectional=config.bidirectional,
            causal=True,
            dense=config.dense,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    def collate(
        self, items: Sequence[Item], setting: Setting[SeriesRegressionOptions]
    ) -> tuple[Windows, Tensor | None]:
        """Return columns (B, T, I) with lengths, and targets (B, T, K)."""
        columns, warm_up, times = zip(*(item.x for item in items), strict=True)
        read = padded(columns)
        x = Windows(read.values, read.lengths, warm_up, times)
        if any(item.y is None for item in items):
            return x, None
        return x, nn.utils.rnn.pad_sequence([item.y for item in items], batch_first=True, padding_value=torch.nan)

    def answers(self, network: Any, x: Windows, setting: Setting[SeriesRegressionOptions]) -> list[Answer]:
        """Return what is said of each target at each step, in its unit, and the ends of its range where it has one."""
        scores, lengths = network(x)  # (B, T, K, P)
        targets: Columns = setting.codecs["targets"]
        said = {"forecasts": network.head.centre(scores)}  # (B, T, K)
        if setting.config.loss == "quantile":
            ends = scores.sort(dim=3).values  # quantiles that cross say nothing
            said |= {"low": ends[..., 0], "forecasts": ends[..., 1], "high": ends[..., 2]}
        elif setting.config.loss == "gaussian":
            around = DEVIATIONS * network.head.deviation(scores)
            said |= {"low": said["forecasts"] - around, "high": said["forecasts"] + around}
        found: list[Answer] = []
        for row, (length, begin) in enumerate(zip(lengths.tolist(), x.warm_up, strict=True)):
            answer: Answer = {"times": list(x.times[row])} if x.times[row] else {}
            for name, values in said.items():
                numbers = targets.decode(values[row, begin:length].double().cpu().numpy())  # (W, K)
                answer[name] = {target: numbers[:, k].tolist() for k, target in enumerate(targets.names)}
            found.append(answer)
        return found

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return MAE and RMSE in the unit of the target, and those of naive forecasts where these are known.

        With several targets the name of each is added: rmse_load.
        """
        found: dict[str, float] = {}
        names = list(answers[0]["forecasts"])
        for name in names:
            said = {"": np.concatenate([np.asarray(answer["forecasts"][name]) for answer in answers])}
            said |= _naive(name, truths)
            wanted = np.concatenate([truth.targets[name] for truth in truths])
            end = f"_{name}" if len(names) > 1 else ""
            for kind, forecast in said.items():
                known = ~np.isnan(wanted) & ~np.isnan(forecast)
                if known.any():
                    found[f"rmse{kind}{end}"] = rmse(forecast[known], wanted[known])
                    found[f"mae{kind}{end}"] = mae(forecast[known], wanted[known])
        return found

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return a line for each step: its time and what is said of each target, then the ends of its range, if any."""
        steps = len(next(iter(answer["forecasts"].values())))
        times = answer.get("times") or [str(n) for n in range(1, steps + 1)]
        said = [values for kind in KINDS if kind in answer for values in answer[kind].values()]
        values = ["\t".join(f"{each[n]:.6g}" for each in said) for n in range(steps)]
        return "\n".join(f"{time}\t{value}" for time, value in zip(times, values, strict=True))

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw what is said of each target over time, beside the truth where it is known."""
        return draw_forecasts(examples, answers, folder)

    def example(self, folder: Path) -> list[str]:
        """Write made-up days."""
        write_mood(folder / "mood.csv")
        options = "--column time=date --target mood --test-from 2023-07-01"
        return [
            f"elman train series-regression mood.csv {options}",
            "elman evaluate mood-model mood.csv -o answers",
            "elman predict mood-model mood.csv",
        ]


def _missing(parts: Mapping[str, Sequence[Example]]) -> list[str]:
    """How many targets are NaN, and which window has the first."""
    said = [(e.where, v) for examples in parts.values() for e in examples for v in e.y.targets.values()]
    empty = sum(int(np.isnan(values).sum()) for _, values in said)
    if not empty:
        return []
    first = next(where for where, values in said if np.isnan(values).any())
    total = sum(len(values) for _, values in said)
    return [f"{empty:,} of {total:,} targets are missing, the first in {first}: left out of loss and metrics"]


def _uneven(parts: Mapping[str, Sequence[Example]]) -> list[str]:
    """How many steps are longer than the usual one, where steps are counted."""
    times: dict[str, list[Any]] = {}
    for example in (example for examples in parts.values() for example in examples if example.x.times is not None):
        times.setdefault(example.x.name, []).append(example.x.times)
    joined = {name: np.sort(np.concatenate(found)) for name, found in times.items()}
    steps = {name: np.diff(found).astype(np.float64) for name, found in joined.items()}
    if not any(map(len, steps.values())):
        return []
    usual = np.median(np.concatenate(list(steps.values())))
    longer = {name: np.flatnonzero(found > 1.5 * usual) for name, found in steps.items()}
    count = sum(map(len, longer.values()))
    if not count:
        return []
    name, places = next((name, places) for name, places in longer.items() if len(places))
    first = shown_time(joined[name][places[0]], dated=False)
    return [f"{count:,} steps are longer than most, the first of {name} after {first}: --lag and --ahead count rows"]


def _naive(name: str, truths: Sequence[Truth]) -> dict[str, Any]:
    """Naive forecasts of a target by the end of their metric's name, NaN where a window has none."""
    kinds = dict.fromkeys(kind for truth in truths for kind in truth.naive[name])
    return {
        f"_{kind}": np.concatenate(
            [truth.naive[name].get(kind, np.full(len(truth.targets[name]), np.nan)) for truth in truths]
        )
        for kind in kinds
    }
