"""Tasks: each puts reader, codec, architecture, head and metric together. The table is for the command line."""

from __future__ import annotations

from dataclasses import dataclass

from elman.tasks import language_model
from elman.tasks.language_model import LanguageModelConfig, LanguageModelTraining
from elman.training import TrainingConfig


@dataclass(frozen=True)
class Task:
    """One problem that `elman train` knows.

    Args:
        name: Name on the command line.
        summary: What it learns, in a few words.
        config: Options of the task.
        training: Options of its training, with its defaults.
    """

    name: str
    summary: str
    config: type[LanguageModelConfig]
    training: type[TrainingConfig]


TASKS = {
    task.name: task
    for task in (
        Task(
            language_model.NAME,
            "the next token of a text; many to many in step",
            LanguageModelConfig,
            LanguageModelTraining,
        ),
    )
}
