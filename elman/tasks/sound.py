"""What tasks of sounds share: how they are read, heard and changed at random in training."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, model_validator
from torch import Tensor

from elman.architectures import Numbers, Ragged, StackedFrames
from elman.codecs.audio import SoundFeatures
from elman.codecs.sound_augmentation import drawn_speed, masked
from elman.errors import DataError, UsageError
from elman.readers import Example, Reading
from elman.readers.recordings import FASTEST, SLOWEST, Recording
from elman.readers.sounds import read_sounds
from elman.tasks.options import SupervisedOptions
from elman.tasks.supervised import Item, Setting, SupervisedTask, padded

USUAL_RATE = 16_000


class SoundOptions(SupervisedOptions):
    """Options of tasks of sounds."""

    rate: int | None = Field(
        None,
        ge=SLOWEST,
        le=FASTEST,
        description="samples a second to listen at; without it, the lowest of the training sounds, at most 16000",
    )
    features: Literal["log-mel", "mfcc"] = Field("log-mel", description="what is heard at each step")
    bands: int = Field(40, ge=1, le=512, description="mel filters")
    coefficients: int = Field(13, ge=1, le=512, description="coefficients of mfcc")
    window: float = Field(0.025, gt=0, le=1, description="seconds of sound that a step looks at")
    hop: float = Field(0.01, gt=0, le=1, description="seconds from one step to the next")
    normalisation: Literal["training", "utterance"] = Field(
        "training", description="mean and deviation of the features: of all training sounds, or of each sound"
    )
    stack: int = Field(3, ge=1, le=64, description="steps that become one below the recurrent layers")
    speed: float = Field(0.1, ge=0, le=0.5, description="training plays sounds so much faster, slower, or as they are")
    time_masks: int = Field(2, ge=0, le=100, description="spans of time that training blanks out")
    frequency_masks: int = Field(2, ge=0, le=100, description="spans of features that training blanks out")

    @model_validator(mode="after")
    def _refuse_coefficients_of_nothing(self) -> SoundOptions:
        if self.features != "mfcc" and self.differs("coefficients"):
            raise ValueError("coefficients has an effect with features=mfcc only; got features=log-mel")
        if self.coefficients > self.bands and self.differs("coefficients"):
            raise ValueError(f"coefficients must be at most bands, {self.bands}; got {self.coefficients}")
        return self

    @model_validator(mode="after")
    def _refuse_sound_between_windows(self) -> SoundOptions:
        if self.hop > self.window:
            raise ValueError(f"hop must be at most window, {self.window:g}; got {self.hop:g}")
        return self


Config = TypeVar("Config", bound=SoundOptions)


class SoundTask(SupervisedTask[Config]):
    """A task whose examples are recordings.

    Attributes:
        answer: What is said of a sound: "transcript" or "label".
    """

    answer: ClassVar[str]
    manifests = True

    @abstractmethod
    def fit_answers(self, examples: Sequence[Example], config: Config) -> dict[str, Any]:
        """Return what has to be known of the answers to the training examples, by name."""

    @abstractmethod
    def encode_answer(self, example: Example, steps: int, setting: Setting[Config]) -> Any:
        """Return the answer to an example as numbers.

        Args:
            example: It has an answer.
            steps: How many the recurrent layers take.
            setting: Options, codecs, cell.

        Raises:
            DataError: it cannot be used.
        """

    @abstractmethod
    def collate_answers(self, answers: Sequence[Any]) -> Any:
        """Return the answers to a batch as the network takes them."""

    def read(self, path: Path, how: Reading, config: Config) -> Iterator[Example]:
        """Yield recordings with their answers; see elman.readers.sounds."""
        return read_sounds(path, how, self.answer)

    def fit(self, examples: Sequence[Example], config: Config) -> dict[str, Any]:
        """Return how sounds are heard, and what is known of their answers."""
        sound = _features(examples, config)
        heard = [example for example in examples if example.x.rate >= sound.rate]
        if not heard:  # `encode` says so of each
            sound.check(examples[0].x, examples[0].where)
        return {"sound": sound.fit(example.x for example in heard), **self.fit_answers(heard, config)}

    def described(self, setting: Setting[Config]) -> str:
        """Return at which rate sounds are listened to, and the sizes of what was learnt."""
        return f"{setting.codecs['sound'].rate:,} Hz, {super().described(setting)}"

    def remarks(self, parts: Mapping[str, Sequence[Example]], setting: Setting[Config]) -> list[str]:
        """Say that few sounds of a low rate lower that of all."""
        rates = Counter(example.x.rate for example in parts.get("train", ()))
        heard = setting.codecs["sound"].rate
        usual = min(USUAL_RATE, rates.most_common(1)[0][0]) if rates else heard
        if setting.config.rate is not None or heard >= usual:
            return []
        first = next(example.where for example in parts["train"] if example.x.rate == heard)
        return [
            f"sounds are listened to at {heard:,} Hz, the rate of {rates[heard]:,} of {rates.total():,}, the first "
            f"{first}; --rate {usual} refuses such"
        ]

    def encode(self, example: Example, setting: Setting[Config]) -> Item:
        """Return the recording and its answer as numbers; features are made when they are wanted."""
        sound: SoundFeatures = setting.codecs["sound"]
        if not isinstance(example.x, Recording):
            raise DataError(f"{example.where}: must be a recording; got {type(example.x).__name__}")
        sound.check(example.x, example.where)
        steps = sound.steps(example.x)
        shorter = -(-steps // setting.config.stack)
        answer = None if example.y is None else self.encode_answer(example, shorter, setting)
        return Item(example.x, answer, steps)

    def augmented(self, item: Item, setting: Setting[Config]) -> Item:
        """Return features of the sound at another speed, with spans of time and features blanked out."""
        config, sound = setting.config, setting.codecs["sound"]
        features = sound.kept(item.x, self.playable(item, drawn_speed(config.speed), setting))
        features = self.part_of(features, setting)
        return replace(item, x=masked(features, config.time_masks, config.frequency_masks))

    def playable(self, item: Item, speed: float, setting: Setting[Config]) -> float:
        """Return the speed, or 1 where the sound would be too short for its answer."""
        return speed

    def part_of(self, features: Tensor, setting: Setting[Config]) -> Tensor:
        """Return the part of features (T, F) to train on; here: all."""
        return features

    def inputs(self, setting: Setting[Config]) -> StackedFrames:
        """Return what stands below the recurrent layers."""
        config = setting.config
        return StackedFrames(Numbers(setting.codecs["sound"].size, dropout=config.input_dropout), config.stack)

    def collate(self, items: Sequence[Item], setting: Setting[Config]) -> tuple[Ragged, Any]:
        """Return features (B, T, F) with lengths, and answers."""
        sound = setting.codecs["sound"]
        x = padded([sound.kept(item.x) if isinstance(item.x, Recording) else item.x for item in items])
        known = all(item.y is not None for item in items)
        return x, self.collate_answers([item.y for item in items]) if known else None


def _features(examples: Sequence[Example], config: SoundOptions) -> SoundFeatures:
    """What listens to sounds, at the lowest rate of these where the options name none.

    Raises:
        UsageError: options do not go together, or not with that rate.
    """
    slowest = min(examples, key=lambda example: example.x.rate)
    try:
        return SoundFeatures(
            config.rate or min(USUAL_RATE, slowest.x.rate),
            form=config.features,
            bands=config.bands,
            coefficients=min(config.coefficients, config.bands),
            window=config.window,
            hop=config.hop,
            normalisation=config.normalisation,
        )
    except UsageError as error:
        if config.rate is not None:
            raise
        raise UsageError(
            f"{error.message}; at {slowest.x.rate:,} Hz, the lowest rate of the sounds, that of {slowest.where}",
            "choose a higher --rate, and leave slower sounds out with --on-error skip",
        ) from None
