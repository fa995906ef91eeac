"""A task by examples as the training loop sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elman.codecs.saved import codecs_to_json
from elman.errors import DataError
from elman.model_config import describe_cell
from elman.model_folder import file_bytes, write_model_folder
from elman.randomness import drawing
from elman.readers import Example, Rejects
from elman.readers.cells import read_cell
from elman.tasks.cell_option import refuse_absurd_size
from elman.tasks.model_card import supervised_card
from elman.tasks.options import SupervisedOptions
from elman.tasks.parts import Parts, divided, of_part
from elman.tasks.supervised import Item, Setting, SupervisedTask
from elman.tasks.supervised_measure import judge, to_device
from elman.training import Carry, LossResult
from elman.training.batches import Batches

CODECS = "codecs.json"
REJECTS = "rejects.jsonl"


class SupervisedProblem:
    """Reads the data, fits codecs to its training part, builds the network.

    Args:
        task: The task.
        data: File or folder.
        config: Options.
        seed: Seed of first values, of the split and of the order of examples.
        folder: Of the run; gets rejects.jsonl where examples are skipped.

    Raises:
        DataError, MissingInputError, StorageError: data cannot be used.
        UsageError: options do not fit.
    """

    def __init__(
        self, task: SupervisedTask[Any], data: Path, config: SupervisedOptions, seed: int, folder: Path
    ) -> None:
        self.task, self.path, self.config, self.seed = task, Path(data), config, seed
        self.rejects = Rejects(config.on_error == "skip")
        self.notes: list[str] = []
        parts = self._parts()
        task.check_parts(vars(parts), config)
        self.repeated = parts.repeated(task.identity)
        self.setting = Setting(self.config, task.fit(parts.train, config), read_cell(config.cell))
        # As it is saved, and at once: what cannot be saved is refused before training.
        self.codecs = file_bytes(folder / CODECS, json.dumps(codecs_to_json(self.setting.codecs), ensure_ascii=False))
        self.selection, self.unit = task.selected(self.setting), task.counted(self.setting)
        self.examples, self.items = self._encoded(parts)
        if len(self.rejects):
            self.rejects.write(folder / REJECTS)
        lengths = [item.length for item in self.items["train"]]
        self.batches = Batches(lengths, task.batch_size(len(lengths), config), seed)
        self.model = self._network()

    # ---- data

    def _read(self, path: Path, part: str) -> list[Example]:
        how = replace(self.config.of_part(part).reading(), purpose="train" if part == "train" else "whole")
        found = list(self.task.read(path, how, self.config))
        self.rejects.rows += how.rejects.rows
        self.notes += how.notes
        if how.taken:  # a saved model reads later data as it was read here
            self.config = self.config.model_copy(update={"column": {**self.config.column, **how.taken}})
        if not found:
            raise DataError(f"{path}: must hold at least one example; got none that can be used")
        if part == "train":
            self.config = self.task.settled(found, self.config)
        return found if part == "train" else of_part(found, part, str(path))

    def _parts(self) -> Parts:
        examples, given = self._read(self.path, "train"), self.config
        others = {name: path for name in ("validation", "test") if (path := getattr(given, name)) is not None}
        kept = [example for example in examples if example.part not in others]
        self.unused = len(examples) - len(kept)
        if given.validation is None:
            parts = divided(kept, given.validation_fraction, self.seed, str(self.path))
        else:
            test = [example for example in kept if example.part == "test"]
            parts = Parts(of_part(kept, "train", str(self.path)), [], test)
        return replace(parts, **{name: self._read(path, name) for name, path in others.items()})

    def _encoded(self, parts: Parts) -> tuple[dict[str, list[Example]], dict[str, list[Item]]]:
        examples: dict[str, list[Example]] = {}
        items: dict[str, list[Item]] = {}
        for name, found in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
            kept = encoded(self.task, found, self.setting, self.rejects)
            if found and not kept:
                raise DataError(
                    f"{self.path}: must leave at least one example ({name}); all {len(found):,} are rejected"
                )
            examples[name], items[name] = [example for example, _ in kept], [item for _, item in kept]
        return examples, items

    def _network(self) -> torch.nn.Module:
        with torch.device("meta"):  # shapes without memory
            shapes = self.task.network(self.setting, self.seed)
        refuse_absurd_size(sum(p.numel() for p in shapes.parameters()))
        return self.task.network(self.setting, self.seed, self.examples["train"])

    @property
    def data(self) -> dict[str, Any]:
        """Fingerprints of the data, for run.json."""
        return self.task.fingerprints(self.path, self.config)

    def summary(self) -> list[str]:
        """Return lines that say what was read and what was chosen by itself."""
        train, validation, test = (len(self.examples[name]) for name in ("train", "validation", "test"))
        tested = f", {test:,} to test" if test else ""
        skipped = f"; {len(self.rejects):,} skipped, see {REJECTS}" if len(self.rejects) else ""
        size = sum(p.numel() for p in self.model.parameters())
        config, output = self.config, self.task.output(self.setting)
        lines = [
            f"data: {train:,} examples to train on, {validation:,} to validate{tested}; "
            f"{self.task.described(self.setting)}{skipped}",
            f"model: {config.layers} x {config.hidden_size} {self.setting.cell.name}{output and ', ' + output}, "
            f"{size:,} parameters; engine {engine_of(self.model)}",
            f"reading: batches of {self.batches.size}{self._smaller()}, {self.batches.count:,} an epoch",
            *(f"note: {remark}" for remark in self.task.remarks(self.examples, self.setting)),
        ]
        if self.repeated:
            lines.append(
                f"note: {self.repeated:,} examples of validation and test stand in training too: metrics flatter"
            )
        if self.unused:
            lines.append(
                f"note: {self.unused:,} examples of {self.path} are not used: another file holds the part they are of"
            )
        return lines + [f"note: {text}" for text in self.notes]

    def _smaller(self) -> str:
        """Why batches have fewer examples than the option says."""
        if self.batches.size >= min(self.config.batch_size, len(self.examples["train"])):
            return ""
        return f" (not {self.config.batch_size}: --least-batches {getattr(self.config, 'least_batches', 1)})"

    # ---- what the loop asks for

    def batches_per_epoch(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return self.batches.count

    def batch(self, epoch: int, index: int) -> tuple[Any, Any]:
        """Return x and y of a batch of examples of similar length, augmented."""
        rows = self.batches.rows(epoch, index)
        with drawing(self.seed, "augment", epoch, index):
            items = self.task.augmented_batch([self.items["train"][row] for row in rows], self.setting)
        return self.task.collate(items, self.setting)

    def loss(self, batch: tuple[Any, Any], carry: Carry) -> LossResult:
        """Return the loss of a batch; examples carry nothing over to the next batch."""
        model: Any = self.model
        found = model.loss(*to_device(batch, _device(model)))
        return LossResult(found.mean, float(found.nats.detach()), found.items)

    def evaluate(self) -> dict[str, float]:
        """Return loss and the task's metrics on the validation examples."""
        return self._measured("validation", final=False)

    def test(self) -> dict[str, float]:
        """Return loss and the task's metrics on the test examples; nothing without any."""
        return self._measured("test", final=True) if self.items["test"] else {}

    def _measured(self, part: str, *, final: bool) -> dict[str, float]:
        truths = [example.y for example in self.examples[part]]
        return judge(self.task, self.model, self.items[part], truths, self.setting, final=final)[0]

    def save_model(self, folder: Path) -> None:
        """Write the model folder: options, the cell as equations, codecs, weights, model card."""
        options = self.config.model_dump(mode="json", exclude=set(self.config.of_training))
        config = {"task": self.task.name, "model": options, "cell": describe_cell(self.setting.cell)}
        files: dict[str, bytes | str] = {
            CODECS: self.codecs,
            "README.md": supervised_card(self.task.name, self.task.summary, self.setting.cell, self.model, options),
        }
        write_model_folder(folder, config, self.model.state_dict(), files)


def encoded(
    task: SupervisedTask[Any], examples: Sequence[Example], setting: Setting[Any], rejects: Rejects
) -> list[tuple[Example, Item]]:
    """Return the examples that can be used, as numbers; the others go to `rejects`.

    Raises:
        DataError: one cannot be used and is not to be skipped.
    """
    found = []
    for example in examples:
        try:
            found.append((example, task.encode(example, setting)))
        except DataError as error:
            rejects.take(example.where, error)
    return found


def engine_of(model: torch.nn.Module) -> str:
    """Return the engines of the recurrent layers of a network."""
    found = {str(module.engine) for module in model.modules() if hasattr(module, "engine")}
    return ", ".join(sorted(found)) or "torch"


def _device(model: torch.nn.Module) -> torch.device:
    parameter: Tensor = next(model.parameters())
    return parameter.device
