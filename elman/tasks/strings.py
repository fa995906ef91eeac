"""Short strings: names, words, codes; a class in, a string of it out, letter by letter; one to many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from elman.architectures import OneToMany, Ragged
from elman.codecs.labels import Labels
from elman.codecs.vocabulary import Vocabulary
from elman.decoding import Beam, Choice, generate
from elman.errors import UsageError
from elman.readers import Example, Reading
from elman.readers.examples import is_empty
from elman.readers.labelled_text import read_labelled_text
from elman.tasks.generated import write_names
from elman.tasks.options import SupervisedOptions
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.tasks.writing import best_lines, without_unknown, written
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

ANY = "any"
"""The class of all strings where nobody names classes."""

_BEAM, _LONGEST = 5, 100


class StringsOptions(SupervisedOptions):
    """Options of short strings."""

    lowercase: bool = Field(False, description="read strings in lower case")
    embedding_size: int = Field(48, ge=1, le=65_536, description="length of the vectors of letters")
    hidden_size: int = Field(192, ge=1, le=65_536, description="units of a layer")
    dropout: float = Field(0.2, ge=0, lt=1, description="between layers and before the output")


class StringsTraining(TrainingConfig):
    """Options of training, with the defaults of short strings."""

    default_epochs: ClassVar[int] = 15
    default_patience: ClassVar[int] = 3

    learning_rate: float = Field(4e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")


class Strings(SupervisedTask[StringsOptions]):
    """Strings by class, P(y | class) = product over t of P(y<t> | y<1..t-1>, class)."""

    name = "strings"
    summary = "names and other short strings, letter by letter; writes new ones of a class"
    shape = "one to many"
    config = StringsOptions
    training = StringsTraining
    unit = "letters"
    searching = ("beam", "n_best")
    sampling = ("length", "samples", "prompt", "temperature", "top_k", "top_p", "greedy", "seed", "label")

    def read(self, path: Path, how: Reading, config: StringsOptions) -> Iterator[Example]:
        """Yield classes with a string each, both as elman.readers.labelled_text reads labels and texts.

        Where nobody names a class, all strings are of one. Where strings are to be written, a line without more is the
        name of a class.
        """
        labelled = how.form not in ("auto", "lines")
        every = read_labelled_text(path, how if labelled else replace(how, labelled=False))
        found = [example for example in every if not (is_empty(example) and how.labelled)]
        named = any(example.y is not None for example in found)
        for example in found:
            if example.y is not None:
                yield replace(example, x=example.y, y=example.x)
            elif not how.labelled:
                yield example
            elif named:
                how.rejects.refuse(example.where, "must have a label, as other strings have; got none")
            else:
                yield replace(example, x=ANY, y=example.x)

    def fit(self, examples: Sequence[Example], config: StringsOptions) -> dict[str, Any]:
        """Return the classes and the letters of the training strings."""
        letters = Vocabulary.build((example.y for example in examples), lowercase=config.lowercase)
        return {"classes": Labels.build(example.x for example in examples), "letters": letters}

    def identity(self, example: Example) -> Any:
        """Return class and string: a class alone stands in all parts."""
        return example.x, example.y

    def told(self, example: Example) -> dict[str, Any]:
        """Return the class."""
        return super().told(example) | {"label": example.x}

    def encode(self, example: Example, setting: Setting[StringsOptions]) -> Item:
        """Return the number of the class, and those of the letters (T,)."""
        number = setting.codecs["classes"].encode(str(example.x), example.where)
        if example.y is None:
            return Item(number, None, 1)
        return Item(number, torch.tensor(setting.codecs["letters"].encode(example.y)), len(example.y))

    def network(self, setting: Setting[StringsOptions], seed: int, examples: Sequence[Example] = ()) -> OneToMany:
        """The class in one-hot form, which begins a string and which every step reads."""
        config = setting.config
        return OneToMany(
            setting.codecs["classes"].size,
            setting.codecs["letters"].size + 1,
            embedding_size=config.embedding_size,
            input_dropout=config.input_dropout,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    def collate(self, items: Sequence[Item], setting: Setting[StringsOptions]) -> tuple[Tensor, Ragged | None]:
        """Return classes in one-hot form (B, K), and letters (B, T) with lengths."""
        x = _one_hot([item.x for item in items], setting)
        known = all(item.y is not None for item in items)
        return x, padded([item.y for item in items]) if known else None

    def validated(self, network: Any, x: Tensor, setting: Setting[StringsOptions]) -> list[Answer]:
        """Return nothing: the loss says it all."""
        return [{} for _ in x]

    def answers(self, network: Any, x: Tensor, setting: Setting[StringsOptions]) -> list[Answer]:
        """Return the most probable strings of each class that beam search finds, best first."""
        beam = Beam(setting.search.width(_BEAM), "none", longest=_LONGEST)
        return written(network, network.begin(x), len(x), beam, setting.codecs["letters"], "")

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return nothing: the loss, nats a letter with the end of a string as one more, says it all."""
        return {}

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return the class and its most probable strings; with n_best so many, each in a line with its ln P."""
        if (count := model.setting.search.n_best) is not None:
            return best_lines(x, answer, count)
        return f"{x}\t{', '.join(found['text'] for found in answer['n_best'])}"

    def sample(self, network: Any, setting: Setting[StringsOptions], options: Mapping[str, Any]) -> list[Answer]:
        """Write strings of the class `label`, or of all classes in turn.

        Raises:
            UsageError: greedy, and more strings than classes, of which some would be the same.
        """
        classes, letters, count = setting.codecs["classes"], setting.codecs["letters"], options["samples"]
        chosen = classes.names if options["label"] is None else [options["label"]]
        if options["greedy"] and count > len(chosen):
            raise UsageError(f"samples: greedy draws nothing, so there must be at most one a class; got {count}")
        names = [chosen[n % len(chosen)] for n in range(count)]
        x = _one_hot([classes.encode(name, "--label") for name in names], setting)
        drawn = generate(
            without_unknown(network.step),
            network.begin(x),
            [network.boundary, *_known(options["prompt"], letters)],
            options["length"],
            samples=count,
            seed=options["seed"],
            choice=Choice(*(options[name] for name in ("temperature", "top_k", "top_p", "greedy"))),
            finished=lambda tokens: tokens[-1] == network.boundary,
        )
        texts = [options["prompt"] + "".join(letters.tokens[t] for t in row if t != network.boundary) for row in drawn]
        return [{"label": name, "text": text} for name, text in zip(names, texts, strict=True)]

    def example(self, folder: Path) -> list[str]:
        """Write made-up names of stars, rivers and machines."""
        write_names(folder / "names")
        return [
            "elman train strings names",
            "elman sample names-model --label rivers --samples 5",
            "elman train text-classification names --level character -o which-model",
            "echo Velora | elman predict which-model -",
        ]


def _one_hot(numbers: Sequence[int], setting: Setting[StringsOptions]) -> Tensor:
    size = setting.codecs["classes"].size
    return torch.nn.functional.one_hot(torch.tensor(numbers), size).float()  # (B, K)


def _known(prompt: str, letters: Vocabulary) -> list[int]:
    """The numbers of a beginning.

    Raises:
        UsageError: training met a letter of it nowhere.
    """
    numbers = letters.encode(prompt)
    unknown = sorted({letter for letter, number in zip(prompt, numbers, strict=True) if number == 0})
    if unknown:
        raise UsageError(f"prompt: must use letters that training met; got {', '.join(map(repr, unknown))}")
    return numbers
