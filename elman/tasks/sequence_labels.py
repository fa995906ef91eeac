"""Tasks that say one of K labels of a sequence of vectors, or of each of its steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elman.architectures import Inputs, ManyToManyInStep, ManyToOne, Ragged
from elman.codecs.labels import Labels
from elman.codecs.saved import Codec
from elman.errors import DataError, UsageError
from elman.heads.head import IGNORED
from elman.readers import Example
from elman.tasks.classes import class_answers, class_metrics, draw_confusion, labels_to_tell_apart
from elman.tasks.options import PooledLabels, SmallBatches, SupervisedOptions
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

LABELS, STEP_LABELS = "labels", "step_labels"
"""Names of the codec: of one label a sequence, of one a step."""


class LabelOptions(SmallBatches, PooledLabels, SupervisedOptions):
    """Options of tasks that say labels."""


class LabelTraining(TrainingConfig):
    """Options of training, with the defaults of tasks that say labels of few, short examples."""

    default_epochs: ClassVar[int] = 30

    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


def refuse_width_of_nothing(config: Any) -> None:
    """Refuse a width of patterns that is given where there are no patterns.

    Args:
        config: Options with `filters` and `filter_width`.

    Raises:
        ValueError: it is, for a validator of options.
    """
    if config.differs("filter_width") and not config.filters:
        raise ValueError("filter_width has no effect with filters=0")


Config = TypeVar("Config", bound=LabelOptions)


class LabelTask(SupervisedTask[Config]):
    """A task whose examples are sequences of vectors, each with one label or one for every step.

    Which of both, the training data says; a model answers in the same way.

    Attributes:
        steps: What its steps are called.
    """

    steps: ClassVar[str] = "steps"

    shape = "many to one; in step"
    training: ClassVar[type[TrainingConfig]] = LabelTraining
    selection = "accuracy"

    @abstractmethod
    def fit_inputs(self, examples: Sequence[Example], config: Config) -> dict[str, Codec]:
        """Return what has to be known of what the network reads, by name."""

    @abstractmethod
    def vectors(self, example: Example, setting: Setting[Config]) -> Tensor:
        """Return an example as (T, ...), T at least 1.

        Raises:
            DataError: it cannot be used; the text begins with `example.where`.
        """

    @abstractmethod
    def inputs(self, setting: Setting[Config], seed: int) -> Inputs:
        """Return what stands below the recurrent layers."""

    @abstractmethod
    def named(self, x: Any, answer: Answer) -> str:
        """Return how a line for people names what was read, by itself or by its row of answers."""

    def batch_size(self, count: int, config: Config) -> int:
        """Return the option's, or less where examples are few."""
        return config.batch_of(count, config.batch_size)

    def fit(self, examples: Sequence[Example], config: Config) -> dict[str, Codec]:
        """Return what is known of inputs, and the labels."""
        in_step = any(isinstance(example.y, tuple) for example in examples)
        for example in examples:
            if isinstance(example.y, tuple) != in_step:
                raise DataError(f"{example.where}: must have one label a step, as other examples do; got one for all")
        usual = type(config).model_fields["pooling"].default
        if in_step and config.pooling != usual:
            raise UsageError(f"pooling: has an effect on one label a sequence only; got {config.pooling!r}")
        labels = labels_to_tell_apart(_labels(examples))
        return {**self.fit_inputs(examples, config), STEP_LABELS if in_step else LABELS: labels}

    def counted(self, setting: Setting[Config]) -> str:
        """Return "examples", or what steps are called where each has a label."""
        return self.steps if STEP_LABELS in setting.codecs else self.unit

    def encode(self, example: Example, setting: Setting[Config]) -> Item:
        """Return vectors (T, ...), and the number of the label or those of all steps (T,)."""
        x = self.vectors(example, setting)
        return Item(x, None if example.y is None else _encoded_label(example, setting), len(x))

    def network(self, setting: Setting[Config], seed: int, examples: Sequence[Example] = ()) -> nn.Module:
        """Inputs, recurrent layers, pooling where there is one label, plain layers, softmax."""
        config = setting.config
        head = config.softmax(_codec(setting), _labels(examples))
        given: dict[str, Any] = {"bidirectional": config.bidirectional, "dense": config.dense, "seed": seed}
        given |= config.recurrent(setting.cell)
        if STEP_LABELS in setting.codecs:
            return ManyToManyInStep(self.inputs(setting, seed), head, **given)
        return ManyToOne(self.inputs(setting, seed), head, pooling=config.pooling, **given)

    def collate(self, items: Sequence[Item], setting: Setting[Config]) -> tuple[Ragged, Tensor | None]:
        """Return vectors (B, T, ...) with lengths, and labels (B,) or (B, T)."""
        x = padded([item.x for item in items])
        if any(item.y is None for item in items):
            return x, None
        if STEP_LABELS not in setting.codecs:
            return x, torch.tensor([item.y for item in items])
        return x, nn.utils.rnn.pad_sequence([item.y for item in items], batch_first=True, padding_value=IGNORED)

    def scores(self, network: Any, x: Ragged, setting: Setting[Config]) -> Tensor:
        """Return what answers are made of, the logits of each label (B, K) or (B, T, K)."""
        scores = network(x)
        found: Tensor = scores[0] if STEP_LABELS in setting.codecs else scores
        return found

    def answers(self, network: Any, x: Ragged, setting: Setting[Config]) -> list[Answer]:
        """Return label and probabilities of all labels; or labels and their probabilities at all steps."""
        found, labels = network.head.probabilities(self.scores(network, x, setting)), _codec(setting)
        if STEP_LABELS not in setting.codecs:
            return class_answers(found, labels)
        best = found.max(dim=2)  # values and numbers (B, T)
        return [
            {"labels": [labels.names[n] for n in numbers[:length]], "probabilities": values[:length]}
            for numbers, values, length in zip(
                best.indices.tolist(), best.values.tolist(), x.lengths.tolist(), strict=True
            )
        ]

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return accuracy and macro F1, of all steps where they have labels."""
        return class_metrics(*_flat(answers, truths))

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return label, its probability and what was read; or the labels of all steps, runs of one label as one."""
        name = self.named(x, answer)
        if "label" in answer:
            return f"{answer['label']}\t{answer['probabilities'][answer['label']]:.4f}\t{name}"
        spans = [f"{begin + 1}-{end}:{label}" for label, begin, end in runs(answer["labels"])]
        return f"{' '.join(spans)}\t{name}"

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw the confusion matrix, where labels are known."""
        if any(example.y is None for example in examples):
            return []
        return draw_confusion(*_flat(answers, [example.y for example in examples]), folder)


def runs(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return each stretch of steps with one label: label, begin, end (not included).

    Example:
        >>> runs("aab")
        [('a', 0, 2), ('b', 2, 3)]
    """
    found: list[tuple[str, int, int]] = []
    for step, label in enumerate(labels):
        if found and found[-1][0] == label:
            found[-1] = (label, found[-1][1], step + 1)
        else:
            found.append((label, step, step + 1))
    return found


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of the numbers 0 to count - 1, spread evenly: data often comes in order of its labels.

    Example:
        >>> spread(3, 5), spread(100, 3)
        ([0, 1, 2], [0, 50, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(n * (count - 1) / (most - 1)) for n in range(most)]


def _codec(setting: Setting[Any]) -> Labels:
    found: Labels = setting.codecs[STEP_LABELS if STEP_LABELS in setting.codecs else LABELS]
    return found


def _labels(examples: Iterable[Example]) -> list[str]:
    """All labels of examples, those of steps one by one."""
    return list(chain.from_iterable(e.y if isinstance(e.y, tuple) else (e.y,) for e in examples))


def _encoded_label(example: Example, setting: Setting[Any]) -> int | Tensor:
    in_step, labels = STEP_LABELS in setting.codecs, _codec(setting)
    if isinstance(example.y, tuple) != in_step:
        wanted, found = ("a step", "a sequence") if in_step else ("a sequence", "a step")
        raise DataError(f"{example.where}: must have one label {wanted}, as the model was trained; got one {found}")
    if in_step:
        return torch.tensor([labels.encode(label, example.where) for label in example.y])
    return labels.encode(example.y, example.where)


def _flat(answers: Sequence[Answer], truths: Sequence[Any]) -> tuple[list[Answer], list[str]]:
    """Answers and truths, those of steps one by one."""
    flat = [[answer] if "label" in answer else [{"label": name} for name in answer["labels"]] for answer in answers]
    return list(chain.from_iterable(flat)), list(
        chain.from_iterable(truth if isinstance(truth, tuple) else (truth,) for truth in truths)
    )
