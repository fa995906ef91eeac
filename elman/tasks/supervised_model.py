"""A trained model of a task by examples in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from elman.codecs.saved import codecs_from_json
from elman.errors import DataError, ElmanError, ModelFileError, UsageError
from elman.model_config import restored_cell
from elman.model_folder import read_extra_file, read_model_folder
from elman.readers import Example, Reading
from elman.search_options import SearchOptions
from elman.storage import parse_json
from elman.tasks.cell_option import refuse_absurd_size
from elman.tasks.options import SupervisedOptions
from elman.tasks.supervised import Answer, Setting, SupervisedTask
from elman.tasks.supervised_measure import answers_to, judge
from elman.tasks.supervised_problem import CODECS, encoded


@dataclass(frozen=True)
class Judged:
    """What a model said of labelled data.

    Args:
        metrics: "loss" and the metrics of the task.
        examples: Those that could be used.
        answers: One for each.
    """

    metrics: dict[str, float]
    examples: list[Example]
    answers: list[Answer]


class SupervisedModel:
    """A network with its task and what was learnt before training.

    Args:
        task: The task.
        network: Its network.
        setting: Options, codecs, cell.
    """

    def __init__(self, task: SupervisedTask[Any], network: nn.Module, setting: Setting[Any]) -> None:
        self.task, self.network, self.setting = task, network.eval(), setting

    @classmethod
    def load(cls, task: SupervisedTask[Any], folder: Path) -> SupervisedModel:
        """Load a model folder; nothing in it is executed.

        Raises:
            MissingInputError: there is no model.
            ModelFileError: it is damaged, or of another task.
        """
        settings: list[Setting[Any]] = []

        def expected(config: dict[str, Any]) -> Mapping[str, torch.Tensor]:
            settings.append(_described(task, folder, config))
            with torch.device("meta"):  # shapes without memory: the weights are checked before any is allocated
                shapes = task.network(settings[0], seed=0)
            refuse_absurd_size(sum(p.numel() for p in shapes.parameters()))
            return shapes.state_dict()

        _, tensors = read_model_folder(folder, expected)
        network = task.network(settings[0], seed=0)
        network.load_state_dict(tensors)
        return cls(task, network, settings[0])

    def reading(self, options: Mapping[str, Any] | None = None, *, labelled: bool = True) -> Reading:
        """Return how data is read: as the training data was, but for these options of ReadingOptions."""
        config: SupervisedOptions = self.setting.config
        return config.model_copy(update=dict(options or {})).reading(labelled)

    def search(self, **options: Any) -> None:
        """Set how answers are searched for; see elman.search_options.

        Raises:
            UsageError: an option that the answers of this task do not obey.
        """
        idle = [name for name in options if name not in self.task.searching]
        if idle:
            raise UsageError(f"search: {', '.join(idle)} would have no effect on a model of {self.task.name}")
        self.setting = replace(self.setting, search=SearchOptions(**options))

    def predict(self, inputs: Sequence[Any]) -> list[Answer]:
        """Return what the model says of raw inputs, each an `x` of the task's reader.

        Raises:
            DataError: one of them cannot be used.
        """
        return self.answer([Example(f"input {n}", x) for n, x in enumerate(inputs, 1)], Reading())[1]

    def answer(self, examples: Sequence[Example], how: Reading) -> tuple[list[Example], list[Answer]]:
        """Return the examples that could be used and what the model says of each."""
        kept = encoded(self.task, [replace(e, y=None) for e in examples], self.setting, how.rejects)
        return [e for e, _ in kept], answers_to(self.task, self.network, [item for _, item in kept], self.setting)

    def read(self, data: Path, how: Reading) -> list[Example]:
        """Return the examples of a file or folder.

        Raises:
            DataError: there is none.
        """
        found = list(self.task.read(data, how, self.setting.config))
        if not found:
            raise DataError(f"{data}: must hold at least one example; got none that can be used")
        return found

    def judge(self, data: Path, how: Reading | None = None) -> Judged:
        """Return metrics and answers on labelled data.

        Raises:
            DataError, MissingInputError, StorageError: it cannot be used.
        """
        how = how or self.reading()
        kept = encoded(self.task, self.read(data, how), self.setting, how.rejects)
        if not kept:
            raise DataError(f"{data}: must hold at least one example; got none that can be used")
        examples = [example for example, _ in kept]
        truths = [example.y for example in examples]
        metrics, answers = judge(self.task, self.network, [item for _, item in kept], truths, self.setting)
        return Judged({**metrics, "examples": len(examples)}, examples, answers)

    def remarks(self, examples: Sequence[Example]) -> list[str]:
        """Return what should be known of examples that were judged, a line each."""
        return self.task.remarks({"test": examples}, self.setting)

    @torch.no_grad()
    def sample(self, **options: Any) -> list[Any]:
        """Write something new; see the task's `sample`."""
        return self.task.sample(self.network, self.setting, options)

    def evaluate(self, data: Path) -> dict[str, Any]:
        """Return metrics on labelled data, and how they are computed."""
        return {**self.judge(Path(data)).metrics, **self.task.notes()}


def _described(task: SupervisedTask[Any], folder: Path, config: dict[str, Any]) -> Setting[Any]:
    """What a config describes, after checking that it is a model of the task."""
    where = folder / "config.json"
    if config.get("task") != task.name:
        raise ModelFileError(f"{where}: task must be {task.name!r}; got {str(config.get('task'))[:40]!r}")
    values, cell = config.get("model"), config.get("cell")
    if not isinstance(values, dict) or not isinstance(cell, dict):
        raise ModelFileError(f"{where}: must describe a model and a cell")
    codecs = codecs_from_json(parse_json(read_extra_file(folder, CODECS), str(folder / CODECS)))
    try:
        own = {name: value for name, value in values.items() if name not in task.config.of_training}
        return Setting(task.config(**own), codecs, restored_cell(cell))
    except ModelFileError:
        raise
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(map(str, wrong["loc"])) or "options"
        raise ModelFileError(f"{where}: must describe a model of {task.name}; {name[:80]}: {wrong['msg']}") from None
    except (ElmanError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelFileError(f"{where}: must describe a model of {task.name}; {first}") from None
