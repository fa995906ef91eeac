"""Tasks: each puts reader, codecs, architecture, head and metric together. The table is for the command line."""

from __future__ import annotations

from pathlib import Path

from elman.errors import ModelFileError, nearest
from elman.model_folder import read_config
from elman.tasks.audio_classification import AudioClassification
from elman.tasks.captioning import Captioning
from elman.tasks.dna import Dna
from elman.tasks.language_model_task import LanguageModelTask
from elman.tasks.music import Music
from elman.tasks.series_classification import SeriesClassification
from elman.tasks.series_regression import SeriesRegression
from elman.tasks.speech_recognition import SpeechRecognition
from elman.tasks.strings import Strings
from elman.tasks.tagging import Tagging
from elman.tasks.task import Task, TrainedModel
from elman.tasks.text_classification import TextClassification
from elman.tasks.translation import Translation
from elman.tasks.video import Video

__all__ = ["TASKS", "Task", "load", "task_of"]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        LanguageModelTask(),
        TextClassification(),
        Music(),
        Tagging(),
        SpeechRecognition(),
        AudioClassification(),
        Strings(),
        Captioning(),
        Dna(),
        Video(),
        SeriesClassification(),
        SeriesRegression(),
        Translation(),
    )
}


def task_of(folder: Path) -> Task:
    """Return the task of a model folder.

    Raises:
        MissingInputError: there is no model.
        ModelFileError: it is damaged, or of no task that this version knows.
    """
    name = read_config(folder).get("task")
    if not isinstance(name, str) or name not in TASKS:
        raise ModelFileError(
            f"{folder / 'config.json'}: task must be one of {', '.join(TASKS)}; got {str(name)[:40]!r}"
            f"{nearest(str(name), TASKS)}"
        )
    return TASKS[name]


def load(folder: Path | str) -> TrainedModel:
    """Load a trained model of any task; nothing in its folder is executed.

    Raises:
        MissingInputError: there is no model.
        ModelFileError: it is damaged, or of no task that this version knows.
    """
    return task_of(Path(folder)).load(Path(folder))
