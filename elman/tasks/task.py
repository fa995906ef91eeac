"""What programs and the command line see of a task: options in, a problem for the loop, a trained model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from elman.training import TrainingConfig
from elman.training.problem import Problem


class TaskProblem(Problem, Protocol):
    """A problem that also tells people what it read and chose, and knows a test."""

    config: Any
    """Options, with what was chosen for those that were left out."""

    @property
    def data(self) -> dict[str, Any]:
        """Fingerprints of the data by name, for run.json."""

    def summary(self) -> list[str]:
        """Return lines that say what was read and what was chosen by itself."""

    def test(self) -> dict[str, float]:
        """Return the metrics of the model on test data; nothing without any."""


class TrainedModel(Protocol):
    """A model of a task in use."""

    def evaluate(self, data: Path) -> dict[str, Any]:
        """Return metrics on data, among them "loss"."""


class Task(Protocol):
    """One problem that `elman train` knows."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def summary(self) -> str:
        """What it learns, in a few words."""

    @property
    def shape(self) -> str:
        """Which of the five shapes it has."""

    @property
    def config(self) -> type[Any]:
        """Class of its options, `cell` among them."""

    @property
    def training(self) -> type[TrainingConfig]:
        """Class of the options of its training, with its defaults."""

    @property
    def sampling(self) -> tuple[str, ...]:
        """Options of `elman sample` that its models take; none where they write nothing."""

    def fingerprints(self, data: Path, config: Any) -> dict[str, Any]:
        """Return what identifies the content of the data, by part, as run.json keeps it."""

    def problem(self, data: Path, config: Any, seed: int, folder: Path) -> TaskProblem:
        """Read data and build a model.

        Args:
            data: File or folder.
            config: Options; `config.cell` is a name or equations.
            seed: Seed of first values, splits and batches.
            folder: Of the run, for what is made of the data.
        """

    def load(self, folder: Path) -> TrainedModel:
        """Load a model of this task from its folder; nothing in it is executed."""

    def example(self, folder: Path) -> list[str]:
        """Write a small generated example into a new folder; return command lines to try on it."""
