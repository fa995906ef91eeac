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
from elman.config import first_problem
from elman.errors import DataError, ElmanError, ModelFileError, UsageError, check_several
from elman.model_config import restored_cell
from elman.model_folder import WEIGHTS, read_extra_file, read_model_folder
from elman.readers import Example, Reading
from elman.readers.examples import Purpose
from elman.search_options import SearchOptions
from elman.storage import parse_json
from elman.tasks.cell_option import refuse_absurd_size
from elman.tasks.fingerprint import fingerprint_of, size_of
from elman.tasks.options import SupervisedOptions
from elman.tasks.parts import measured
from elman.tasks.supervised import Answer, Setting, SupervisedTask
from elman.tasks.supervised_measure import answers_to, judge
from elman.tasks.supervised_problem import CODECS, encoded
from elman.tensor_file import check_finite
from elman.training.run_folder import RUN, read_description


@dataclass(frozen=True)
class Judged:
    """What a model said of labelled data.

    Args:
        metrics: "loss", the metrics of the task, how many "examples" they are of, and of which "part" unless of all.
        examples: Those that could be used.
        answers: One for each.
        note: What has to be known of the choice; None where it is no matter.
    """

    metrics: dict[str, Any]
    examples: list[Example]
    answers: list[Answer]
    note: str | None = None


class SupervisedModel:
    """A network with its task and what was learnt before training.

    Args:
        task: The task.
        network: Its network.
        setting: Options, codecs, cell.
        folder: Where it was loaded from; None for a model that was not.
    """

    def __init__(
        self, task: SupervisedTask[Any], network: nn.Module, setting: Setting[Any], folder: Path | None = None
    ) -> None:
        self.task, self.network, self.setting, self.folder = task, network.eval(), setting, folder

    @classmethod
    def load(cls, task: SupervisedTask[Any], folder: Path) -> SupervisedModel:
        """Load a model folder; nothing in it is executed.

        Raises:
            MissingInputError: there is no model.
            ModelFileError: it is damaged, or of another task.
            DivergedError: a weight is not finite.
        """
        settings: list[Setting[Any]] = []

        def expected(config: dict[str, Any]) -> Mapping[str, torch.Tensor]:
            settings.append(_described(task, folder, config))
            with torch.device("meta"):  # shapes without memory: the weights are checked before any is allocated
                shapes = task.network(settings[0], seed=0)
            refuse_absurd_size(sum(p.numel() for p in shapes.parameters()))
            return shapes.state_dict()

        _, tensors = read_model_folder(folder, expected)
        check_finite(folder / WEIGHTS, tensors)
        network = task.network(settings[0], seed=0)
        network.load_state_dict(tensors)
        return cls(task, network, settings[0], folder)

    def reading(self, options: Mapping[str, Any] | None = None, *, labelled: bool = True) -> Reading:
        """Return how data is read: as the training data was, but for these options of ReadingOptions."""
        config: SupervisedOptions = self.setting.config
        given = dict(options or {})
        columns = given.get("column", {})
        asked = frozenset(columns) | ({"format"} & given.keys())
        given["column"] = {**config.column, **columns}
        how = config.model_copy(update=given).reading(labelled)
        return replace(how, purpose="measure" if labelled else "predict", asked=asked)

    def search(self, **options: Any) -> None:
        """Set how answers are searched for; see elman.search_options.

        Raises:
            UsageError: an option that the answers of this task do not obey, or one that cannot be used as given.
        """
        idle = [name for name in options if name not in self.task.searching]
        if idle:
            raise UsageError(f"search: {', '.join(idle)} would have no effect on a model of {self.task.name}")
        try:
            self.setting = replace(self.setting, search=SearchOptions(**options))
        except ValidationError as error:
            raise UsageError(f"search: {first_problem(error)}; got {error.errors()[0]['input']!r}") from None

    def predict(self, inputs: Sequence[Any]) -> list[Answer]:
        """Return what the model says of raw inputs, each an `x` of the task's reader.

        Raises:
            DataError: one of them cannot be used.
            UsageError: one text is given in place of a list.
        """
        check_several("inputs", inputs)
        return self.answer([Example(f"input {n}", x) for n, x in enumerate(inputs, 1)], Reading())[1]

    def answer(self, examples: Sequence[Example], how: Reading) -> tuple[list[Example], list[Answer]]:
        """Return the examples that could be used and what the model says of each."""
        kept = encoded(self.task, [replace(e, y=None) for e in examples], self.setting, how.rejects)
        answers = answers_to(self.task, self.network, [item for _, item in kept], self.setting)
        return [e for e, _ in kept], [self.task.completed(a, e.x) for a, (e, _) in zip(answers, kept, strict=True)]

    def read(self, data: Path, how: Reading) -> list[Example]:
        """Return the examples of a file or folder.

        Raises:
            DataError: there is none.
        """
        found = list(self.task.read(data, how, self.setting.config))
        if not found:
            raise DataError(f"{data}: must hold at least one example; got none that can be used")
        return found

    def judge(self, data: Path, how: Reading | None = None, part: str | None = None) -> Judged:
        """Return metrics and answers on labelled data.

        Args:
            data: File or folder.
            how: How it is read; as the training data was.
            part: "train", "validation", "test" or "all"; without it the test where the data says which examples are
                of it, else all.

        Raises:
            DataError, MissingInputError, StorageError: it cannot be used.
        """
        how, known = how or self.reading(), self._trained_on(data)
        purpose: Purpose = "whole" if part == "all" else "remeasure" if known else how.purpose
        found = self.read(data, replace(how, purpose=purpose))
        chosen, name = measured(found, part, str(data))
        kept = encoded(self.task, chosen, self.setting, how.rejects)
        if not kept:
            raise DataError(f"{data}: must hold at least one example; got none that can be used")
        examples = [example for example, _ in kept]
        truths = [example.y for example in examples]
        metrics, answers = judge(self.task, self.network, [item for _, item in kept], truths, self.setting)
        answers = [self.task.completed(a, e.x) for a, e in zip(answers, examples, strict=True)]
        note = _note_of(found, chosen, name, part, ("folder" if data.is_dir() else "file") if known else None)
        told = {"examples": len(examples)} | ({} if name == "all" else {"part": name})
        return Judged({**metrics, **told}, examples, answers, note)

    def _trained_on(self, data: Path) -> bool:
        """Whether the model was trained on this file or folder, by what its run keeps of it."""
        if self.folder is None or not data.exists() or not (self.folder / RUN).is_file():
            return False
        known = read_description(self.folder / RUN)["data"].get("train")
        if not isinstance(known, dict) or known.get("bytes") != size_of(data):  # need not be read
            return False
        return bool(known.get("sha256") == fingerprint_of(data)["sha256"])

    def remarks(self, examples: Sequence[Example]) -> list[str]:
        """Return what should be known of examples that were judged, a line each."""
        return self.task.remarks({"test": examples}, self.setting)

    @torch.no_grad()
    def sample(self, **options: Any) -> list[Any]:
        """Write something new; see the task's `sample`.

        Raises:
            UsageError: an option that the task takes is not given, or one that it does not take.
        """
        wanted = self.task.sampling
        if set(options) != set(wanted) and wanted:
            raise UsageError(f"sample: must be given {', '.join(wanted)}; got {', '.join(options) or 'nothing'}")
        return self.task.sample(self.network, self.setting, options)

    def evaluate(self, data: Path) -> dict[str, Any]:
        """Return metrics on labelled data, and how they are computed."""
        return {**self.judge(Path(data)).metrics, **self.task.notes()}


def _note_of(
    found: Sequence[Example], chosen: Sequence[Example], name: str, asked: str | None, known: str | None
) -> str | None:
    """What has to be known of the examples that were measured: which they are, whether they were trained on.

    `known`: "file" or "folder" where the model was trained on it.
    """
    trained = sum(example.part == "train" for example in chosen)
    if trained:
        return f"{trained:,} of the {len(chosen):,} examples measured are of the part train: metrics flatter"
    if name == "all":
        divided = any(example.part for example in chosen)
        return f"the model was trained on examples of this {known}: metrics flatter" if known and not divided else None
    if asked is None and len(chosen) < len(found):
        return f"measured on the part {name} ({len(chosen):,} of {len(found):,} examples); --part all measures all"
    return None


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
        raise ModelFileError(f"{where}: must describe a model of {task.name}; {first_problem(error)}") from None
    except (ElmanError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelFileError(f"{where}: must describe a model of {task.name}; {first}") from None
