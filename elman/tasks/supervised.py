"""Tasks whose examples say what the answer is: what a task adds, and everything that it does not have to.

A task is one class: how it reads, what it learns of the training data before training (vocabularies, labels, means),
how an example becomes numbers, its network, its answers and their metrics. The rest is the same for all and stands
here, in `supervised_problem` (training) and in `supervised_model` (use).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from elman.architectures import Ragged
from elman.codecs.saved import Codec
from elman.equations import Cell
from elman.errors import UsageError
from elman.heads import Loss
from elman.readers import Example, Reading
from elman.search_options import SearchOptions
from elman.tasks.fingerprint import fingerprint_of, fingerprint_of_manifest
from elman.tasks.options import SupervisedOptions
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel
    from elman.tasks.supervised_problem import SupervisedProblem

Config = TypeVar("Config", bound=SupervisedOptions)
Answer = dict[str, Any]
"""What a model says of an example, as JSON values."""


@dataclass(frozen=True)
class Item:
    """An example as numbers.

    Args:
        x: What the network reads, without its batch.
        y: What it is to say; None where nobody said it.
        length: Steps of x; batches are made of similar lengths.
    """

    x: Any
    y: Any
    length: int


@dataclass(frozen=True)
class Setting(Generic[Config]):
    """What stands before training begins and is saved with a model.

    Args:
        config: Options.
        codecs: What was learnt of the training data, by name.
        cell: The cell.
        search: How answers are searched for; not saved.
    """

    config: Config
    codecs: Mapping[str, Any]
    cell: Cell
    search: SearchOptions = field(default_factory=SearchOptions)


class SupervisedTask(ABC, Generic[Config]):
    """A task by examples; see `Task` for its attributes.

    Attributes:
        selection: Validation metric by which the best weights are chosen.
        unit: What the items of a loss are called: "examples", "words".
        sampling: Options of `elman sample` that `sample` takes; none where the task writes nothing new.
        searching: Names of the SearchOptions that its answers obey.
        manifests: Whether a table of data names the files that examples are in.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    shape: ClassVar[str]
    config: ClassVar[type[Any]]
    training: ClassVar[type[TrainingConfig]]
    selection: ClassVar[str] = "loss"
    unit: ClassVar[str] = "examples"
    sampling: ClassVar[tuple[str, ...]] = ()
    searching: ClassVar[tuple[str, ...]] = ()
    manifests: ClassVar[bool] = False

    # ---- what a task says

    @abstractmethod
    def read(self, path: Path, how: Reading, config: Config) -> Iterator[Example]:
        """Yield the examples of a file or folder; what cannot be used goes to `how.rejects`."""

    @abstractmethod
    def fit(self, examples: Sequence[Example], config: Config) -> dict[str, Codec]:
        """Return what has to be known of the training examples before training, by name."""

    @abstractmethod
    def encode(self, example: Example, setting: Setting[Config]) -> Item:
        """Return an example as numbers.

        Raises:
            DataError: it cannot be used; the text begins with `example.where`.
        """

    @abstractmethod
    def network(self, setting: Setting[Config], seed: int, examples: Sequence[Example] = ()) -> nn.Module:
        """Build the network, with a method `loss(x, y)` that returns elman.heads.Loss.

        Args:
            setting: Options, codecs, cell.
            seed: Seed of its first values.
            examples: Those to train on, for what depends on them and is not saved (weights of classes); none in use.
        """

    @abstractmethod
    def collate(self, items: Sequence[Item], setting: Setting[Config]) -> tuple[Any, Any]:
        """Return x and y of a batch as the network takes them; y is None where an item has none."""

    @abstractmethod
    def answers(self, network: Any, x: Any, setting: Setting[Config]) -> list[Answer]:
        """Return what the network, in evaluation mode, says of each example of a batch."""

    @abstractmethod
    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return the metrics of answers, given the y of each example; `selection` among them unless it is "loss"."""

    @abstractmethod
    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return a line for people about an example and its answer.

        Args:
            model: Who answered.
            x: What it read.
            answer: What it said, in the row of `told` where that is known: with the place ("where") of what was read.
            colour: Whether the terminal shows colours.
        """

    @abstractmethod
    def example(self, folder: Path) -> list[str]:
        """Write a small generated example into a new folder; return command lines to try on it."""

    # ---- what a task may say

    def augmented(self, item: Item, setting: Setting[Config]) -> Item:
        """Return a training example changed at random, drawn by elman.randomness; here: as it is."""
        return item

    def augmented_batch(self, items: Sequence[Item], setting: Setting[Config]) -> Sequence[Item]:
        """Return the training examples of a batch changed at random; here: each by itself."""
        return [self.augmented(item, setting) for item in items]

    def batch_size(self, count: int, config: Config) -> int:
        """Return how many of `count` training examples stand in a batch; here: as many as the option says."""
        size: int = config.batch_size
        return size

    def selected(self, setting: Setting[Config]) -> str:
        """Return the validation metric by which the best weights are chosen, where it depends on the data."""
        return self.selection

    def counted(self, setting: Setting[Config]) -> str:
        """Return what the items of a loss are called, where it depends on the data."""
        return self.unit

    def identity(self, example: Example) -> Any:
        """Return what makes two examples the same, and a validation on them flatter; here: their x."""
        return example.x

    def completed(self, answer: Answer, x: Any) -> Answer:
        """Return an answer with what depends on x as it was read, not on its numbers; here: as it is."""
        return answer

    def settled(self, examples: Sequence[Example], config: Config) -> Config:
        """Return options with what the training examples decide of how later ones are read; here: as they are."""
        return config

    def told(self, example: Example) -> dict[str, Any]:
        """Return what was read, as a row of answers names it: its text, its file. Here: its id and its file, if any."""
        path = getattr(example.x, "path", None)
        return ({} if example.id is None else {"id": example.id}) | ({} if path is None else {"path": str(path)})

    def truth(self, y: Any, answer: Answer) -> Any:
        """Return what an answer should have been, as a JSON value in its form; here: y."""
        return y

    def described(self, setting: Setting[Config]) -> str:
        """Return what was learnt of the data, in a few words: "2 labels, vocabulary 1,234"."""
        return ", ".join(f"{name} {codec.size:,}" for name, codec in setting.codecs.items() if hasattr(codec, "size"))

    def output(self, setting: Setting[Config]) -> str:
        """Return how answers are chosen, where options or data decide it: "crf". Here: nothing."""
        return ""

    def remarks(self, parts: Mapping[str, Sequence[Example]], setting: Setting[Config]) -> list[str]:
        """Return what should be known of examples, a line each; here: nothing.

        Args:
            parts: Examples by "train", "validation", "test"; in use, those measured as "test".
            setting: Options, codecs, cell.
        """
        return []

    def check_parts(self, parts: Mapping[str, Sequence[Example]], config: Config) -> None:
        """Refuse options that ask for a part of the data and get none; here: nothing is asked for.

        Raises:
            UsageError: one does.
        """

    def validated(self, network: Any, x: Any, setting: Setting[Config]) -> list[Answer]:
        """Return answers for a validation during training, where the final ones take long; here: the same."""
        return self.answers(network, x, setting)

    def loss(self, network: Any, x: Any, y: Any, setting: Setting[Config]) -> Loss:
        """Return the loss of what is answered to a batch, where that is not the network's own; here: the network's."""
        found: Loss = network.loss(x, y)
        return found

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw what people can look at into a folder; return the files. Here: nothing."""
        return []

    def notes(self) -> dict[str, str]:
        """Return what has to stand beside the metrics: how they are computed. Here: nothing."""
        return {}

    def sample(self, network: Any, setting: Setting[Config], options: Mapping[str, Any]) -> list[Any]:
        """Write something new; return a text for each sample, or its "files".

        Args:
            network: In evaluation mode.
            setting: Options, codecs, cell.
            options: Those that `sampling` names.

        Raises:
            UsageError: here, always: the task writes nothing.
        """
        raise UsageError(f"sample: must be of a task that writes; {self.name} does not")

    # ---- what is the same for all

    def fingerprints(self, data: Path, config: Config) -> dict[str, Any]:
        """See `Task`; with the files that a manifest names, and those that options name beside the data."""
        parts = {"train": data, "validation": config.validation, "test": config.test}
        found = {
            name: fingerprint_of_manifest(path, config.reading()) if self.manifests else fingerprint_of(path)
            for name, path in parts.items()
            if path is not None
        }
        beside = {name: getattr(config, name) for name in config.beside}
        return found | {name: fingerprint_of(path) for name, path in beside.items() if path is not None}

    def problem(self, data: Path, config: Config, seed: int, folder: Path) -> SupervisedProblem:
        """See `Task`."""
        from elman.tasks.supervised_problem import SupervisedProblem

        return SupervisedProblem(self, data, config, seed, folder)

    def load(self, folder: Path) -> SupervisedModel:
        """See `Task`."""
        from elman.tasks.supervised_model import SupervisedModel

        return SupervisedModel.load(self, folder)


def padded(sequences: Sequence[Tensor]) -> Ragged:
    """Return sequences (T_i, ...) as one tensor (B, T, ...), zero beyond each length."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return Ragged(torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths)
