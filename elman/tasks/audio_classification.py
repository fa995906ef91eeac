"""Audio classification: digits, commands, speakers, their gender; a sound in, one of K labels out; many to one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from elman.architectures import ManyToOne, Ragged
from elman.codecs.sound_augmentation import cropped
from elman.readers import Example
from elman.tasks.classes import class_answers, class_metrics, draw_confusion, labels_to_tell_apart
from elman.tasks.generated_sounds import write_tunes
from elman.tasks.options import POOLED, Pooled, PooledLabels
from elman.tasks.parts import labels_of
from elman.tasks.sound import SoundOptions, SoundTask
from elman.tasks.supervised import Answer, Setting
from elman.tasks.supervised_model import SupervisedModel
from elman.training import TrainingConfig


class AudioClassificationOptions(PooledLabels, SoundOptions):
    """Options of audio classification."""

    stack: int = Field(2, ge=1, le=64, description="steps that become one below the recurrent layers")
    crop: float | None = Field(
        None, gt=0, le=86_400, description="training takes so many seconds of each sound, from a drawn place on"
    )
    time_masks: int = Field(1, ge=0, le=100, description="spans of time that training blanks out")
    frequency_masks: int = Field(1, ge=0, le=100, description="spans of features that training blanks out")
    dropout: float = Field(0.3, ge=0, lt=1, description="between layers and before the output")
    pooling: Pooled = Field("max", description=POOLED)


class AudioClassificationTraining(TrainingConfig):
    """Options of training, with the defaults of audio classification."""

    default_epochs: ClassVar[int] = 30

    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


class AudioClassification(SoundTask[AudioClassificationOptions]):
    """A label for each sound."""

    name = "audio-classification"
    summary = "the label of a sound: a spoken word, a speaker, a kind of noise"
    shape = "many to one"
    config = AudioClassificationOptions
    training = AudioClassificationTraining
    selection = "accuracy"
    answer = "label"

    def fit_answers(self, examples: Sequence[Example], config: AudioClassificationOptions) -> dict[str, Any]:
        """Return the labels of the training sounds."""
        return {"labels": labels_to_tell_apart(labels_of(examples))}

    def encode_answer(self, example: Example, steps: int, setting: Setting[AudioClassificationOptions]) -> int:
        """Return the number of the label."""
        number: int = setting.codecs["labels"].encode(example.y, example.where)
        return number

    def part_of(self, features: Tensor, setting: Setting[AudioClassificationOptions]) -> Tensor:
        """Return what a crop leaves of features (T, F)."""
        crop, sound = setting.config.crop, setting.codecs["sound"]
        return features if crop is None else cropped(features, max(1, round(crop / sound.step_seconds)))

    def network(
        self, setting: Setting[AudioClassificationOptions], seed: int, examples: Sequence[Example] = ()
    ) -> ManyToOne:
        """Stacked frames, recurrent layers, pooling, plain layers, softmax."""
        config = setting.config
        return ManyToOne(
            self.inputs(setting),
            config.softmax(setting.codecs["labels"], labels_of(examples)),
            bidirectional=config.bidirectional,
            pooling=config.pooling,
            dense=config.dense,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    def collate_answers(self, answers: Sequence[int]) -> Tensor:
        """Return numbers of labels (B,)."""
        return torch.tensor(answers)

    def answers(self, network: Any, x: Ragged, setting: Setting[AudioClassificationOptions]) -> list[Answer]:
        """Return the most probable label and the probabilities of all."""
        return class_answers(network.head.probabilities(network(x)), setting.codecs["labels"])

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return accuracy and macro F1."""
        return class_metrics(answers, truths)

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return label, its probability and the file."""
        return f"{answer['label']}\t{answer['probabilities'][answer['label']]:.4f}\t{x.path}"

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw which label was taken for which, where the true ones are known."""
        return draw_confusion(answers, [example.y for example in examples], folder)

    def example(self, folder: Path) -> list[str]:
        """Write made-up tunes, rising, falling, or on one tone."""
        write_tunes(folder / "tunes")
        return [
            "elman train audio-classification tunes --epochs 10 --batch-size 8",
            "elman predict tunes-model tunes/rising",
        ]
