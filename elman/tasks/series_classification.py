"""Series classification: columns over time in, one of K labels out; many to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from elman.architectures import Inputs, Numbers, StepPatterns
from elman.codecs.columns import Columns
from elman.codecs.saved import Codec
from elman.config import Options
from elman.errors import DataError
from elman.randomness import draw_generator
from elman.readers import Example, Reading
from elman.readers.series import Series, SeriesReading
from elman.readers.series_files import read_series
from elman.tasks.generated_signals import write_sines
from elman.tasks.options import POOLED, Pooled
from elman.tasks.sequence_labels import LabelOptions, LabelTask, refuse_width_of_nothing
from elman.tasks.supervised import Answer, Item, Setting

Columned = TypeVar("Columned", bound="ColumnOptions")


class ColumnOptions(Options):
    """Which columns of series are read, and how."""

    ignore: tuple[str, ...] = Field((), description="column of a table that is not read; repeat for several")
    category: tuple[str, ...] = Field((), description="column whose numbers are names; repeat for several")
    missing: Literal["stop", "fill"] = Field(
        "stop", description="at a missing number: stop (or skip it, see on_error), or fill it with the one before it"
    )


class SeriesClassificationOptions(ColumnOptions, LabelOptions):
    """Options of series classification."""

    channels: int = Field(1, ge=1, le=1_000_000, description="values of a step, for format rows")
    ragged: bool = Field(False, description="rows may differ in their number of values, for format rows")
    filters: int = Field(64, ge=0, le=65_536, description="patterns of neighbouring steps; 0 reads single steps")
    filter_width: int = Field(9, ge=1, le=999, description="steps of a pattern, odd")
    hidden_size: int = Field(64, ge=1, le=65_536, description="units of a layer and direction")
    pooling: Pooled = Field("mean", description=POOLED)
    noise: float = Field(0.2, ge=0, le=100, description="deviation of noise on standardised values in training")
    crop: float = Field(0.0, ge=0, lt=1, description="training takes parts of series that are up to so much shorter")
    dropout: float = Field(0.3, ge=0, lt=1, description="between layers and before the output")

    @model_validator(mode="after")
    def _refuse_a_width_of_nothing(self) -> SeriesClassificationOptions:
        refuse_width_of_nothing(self)
        return self


class SeriesClassification(LabelTask[SeriesClassificationOptions]):
    """A label for each series."""

    name = "series-classification"
    summary = "the label of a series: sensors, gestures, rows of an image"
    shape = "many to one"
    config: ClassVar[type[Any]] = SeriesClassificationOptions

    def read(self, path: Path, how: Reading, config: SeriesClassificationOptions) -> Iterator[Example]:
        """Yield series with their labels; see elman.readers.series_files."""
        return read_series(path, series_reading(how, config, channels=config.channels, ragged=config.ragged))

    def settled(self, examples: Sequence[Example], config: SeriesClassificationOptions) -> SeriesClassificationOptions:
        """Return options by which later data has names where this has."""
        return with_names(config, examples[0].x)

    def fit_inputs(self, examples: Sequence[Example], config: SeriesClassificationOptions) -> dict[str, Codec]:
        """Return what columns are standardised by."""
        return {"columns": Columns.build(*columns_of(examples), config.category)}

    def vectors(self, example: Example, setting: Setting[SeriesClassificationOptions]) -> Tensor:
        """Return columns (T, I), standardised."""
        return encoded_columns(example, setting)

    def inputs(self, setting: Setting[SeriesClassificationOptions], seed: int) -> Inputs:
        """Columns, or patterns of neighbouring steps of them."""
        config = setting.config
        columns = Numbers(setting.codecs["columns"].size, dropout=config.input_dropout)
        return StepPatterns(columns, config.filters, config.filter_width, seed=seed) if config.filters else columns

    def augmented(self, item: Item, setting: Setting[SeriesClassificationOptions]) -> Item:
        """Return a part of the series."""
        x, crop = item.x, setting.config.crop
        if not crop:
            return item
        share, place = torch.rand(2, generator=draw_generator("crop")).tolist()
        length = max(1, round(len(x) * (1 - crop * share)))
        begin = round((len(x) - length) * place)
        return replace(item, x=x[begin : begin + length], length=length)

    def augmented_batch(self, items: Sequence[Item], setting: Setting[SeriesClassificationOptions]) -> Sequence[Item]:
        """Return parts of the series, with noise."""
        parts = super().augmented_batch(items, setting)
        if not setting.config.noise:
            return parts
        draws = torch.cat([torch.randn(part.x.shape, generator=draw_generator("noise")) for part in parts])
        noisy = torch.cat([part.x for part in parts]) + setting.config.noise * draws  # (T_1 + ... + T_B, I)
        rows = torch.split(noisy, [part.length for part in parts])
        return [Item(x, part.y, part.length) for x, part in zip(rows, parts, strict=True)]

    def told(self, example: Example) -> dict[str, Any]:
        """Return the name of the series, where its file has one."""
        return {} if example.id is None else {"series": example.id}

    def named(self, x: Any, answer: Answer) -> str:
        """Return the name of a series, or where it stands."""
        return str(answer.get("series") or x.where)

    def example(self, folder: Path) -> list[str]:
        """Write made-up waves."""
        write_sines(folder / "waves.csv")
        columns = "--column series=id --column time=time"
        return [
            f"elman train series-classification waves.csv {columns}",
            "elman predict waves-model waves.csv -o answers",
        ]


def series_reading(how: Reading, config: ColumnOptions, **further: Any) -> SeriesReading:
    """Return how series are read, for options of reading and of columns."""
    return SeriesReading(
        **vars(how), ignore=config.ignore, category=config.category, missing=config.missing == "fill", **further
    )


def with_names(config: Columned, series: Series) -> Columned:
    """Return options with the columns of texts among their categories: other data may hold only numbers there."""
    return config.model_copy(update={"category": tuple(dict.fromkeys((*config.category, *series.text_names)))})


def columns_of(examples: Sequence[Example]) -> tuple[list[Series], tuple[str, ...]]:
    """Return the series of examples and the names of their columns, those of the first."""
    found = [example.x for example in examples]
    return found, (*found[0].names, *found[0].text_names)


def encoded_columns(example: Example, setting: Setting[Any]) -> Tensor:
    """Return the columns of an example (T, I), standardised.

    Raises:
        DataError: it is no series, or lacks columns.
    """
    if not isinstance(example.x, Series) or not len(example.x):
        raise DataError(f"{example.where}: must be a series of at least one step; got {type(example.x).__name__}")
    columns: Columns = setting.codecs["columns"]
    return columns.encode(example.x)
