"""Text classification: sentiment, topics, languages; a text in, one of K labels out; many to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from elman.architectures import ManyToOne, Ragged, TokenVectors
from elman.codecs.vocabulary import Vocabulary
from elman.errors import DataError
from elman.readers import Example, Reading
from elman.readers.labelled_text import read_labelled_text
from elman.tasks.classes import class_answers, class_metrics, draw_confusion, labels_to_tell_apart
from elman.tasks.generated import write_reviews
from elman.tasks.options import POOLED, Pooled, PooledLabels, SupervisedOptions
from elman.tasks.parts import labels_of
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.tasks.word_vectors import WordVectorOptions, first_vectors, further_words
from elman.tasks.words_that_mattered import coloured, places, weighed, write_weighed_texts
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel


class TextClassificationOptions(WordVectorOptions, PooledLabels, SupervisedOptions):
    """Options of text classification."""

    level: Literal["word", "character"] = Field("word", description="what a token is")
    lowercase: bool = Field(True, description="read texts in lower case")
    vocabulary_size: int | None = Field(None, ge=2, le=10_000_000, description="most tokens to keep; without it all")
    min_count: int = Field(1, ge=1, le=10**9, description="tokens met less often become <unk>")
    embedding_size: int = Field(200, ge=1, le=65_536, description="length of token vectors")
    forgetting: float = Field(
        0.25,
        ge=0,
        le=1e6,
        description="f: training forgets a token met n times with probability f / (f + n)",
    )
    hidden_size: int = Field(64, ge=1, le=65_536, description="units of a layer and direction")
    pooling: Pooled = Field("max", description=POOLED)
    dropout: float = Field(0.5, ge=0, lt=1, description="between layers and before the output")
    input_dropout: float = Field(0.3, ge=0, lt=1, description="of token vectors, the same at all steps")


class TextClassificationTraining(TrainingConfig):
    """Options of training, with the defaults of text classification."""

    default_epochs: ClassVar[int] = 8
    default_patience: ClassVar[int] = 4

    learning_rate: float = Field(1e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.05, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


class TextClassification(SupervisedTask[TextClassificationOptions]):
    """A label for each text."""

    name = "text-classification"
    summary = "the label of a text: sentiment, topic, language"
    shape = "many to one"
    config = TextClassificationOptions
    training = TextClassificationTraining
    selection = "accuracy"

    def read(self, path: Path, how: Reading, config: TextClassificationOptions) -> Iterator[Example]:
        """Yield texts with their labels; see elman.readers.labelled_text."""
        return read_labelled_text(path, how)

    def fit(self, examples: Sequence[Example], config: TextClassificationOptions) -> dict[str, Any]:
        """Return the vocabulary and the labels of the training texts."""
        labels = labels_to_tell_apart(labels_of(examples))
        texts = [self._tokens(example.x, config) for example in examples]
        met = {token.lower() if config.lowercase else token for text in texts for token in text}
        vocabulary = Vocabulary.build(
            texts,
            size=config.vocabulary_size,
            min_count=config.min_count,
            lowercase=config.lowercase,
            further=further_words(config, met),
        )
        return {"vocabulary": vocabulary, "labels": labels}

    @staticmethod
    def _tokens(text: str, config: TextClassificationOptions) -> list[str]:
        return [word.text for word in places(text, config.level)]

    def told(self, example: Example) -> dict[str, Any]:
        """Return the text."""
        return super().told(example) | {"text": example.x}

    def encode(self, example: Example, setting: Setting[TextClassificationOptions]) -> Item:
        """Return token numbers (T,) and the number of the label."""
        if not isinstance(example.x, str) or not (tokens := self._tokens(example.x, setting.config)):
            raise DataError(f"{example.where}: text must hold at least one token; got {str(example.x)[:80]!r}")
        numbers = torch.tensor(setting.codecs["vocabulary"].encode(tokens))
        label = None if example.y is None else setting.codecs["labels"].encode(example.y, example.where)
        return Item(numbers, label, len(tokens))

    def network(
        self, setting: Setting[TextClassificationOptions], seed: int, examples: Sequence[Example] = ()
    ) -> ManyToOne:
        """Token vectors, recurrent layers, pooling, plain layers, softmax."""
        config, vocabulary = setting.config, setting.codecs["vocabulary"]
        inputs = TokenVectors(
            vocabulary.size,
            config.embedding_size,
            dropout=config.input_dropout,
            forgetting=vocabulary.forgetting(config.forgetting) if examples and config.forgetting else None,
            first=first_vectors(config, vocabulary, config.embedding_size, seed) if examples else None,
            deviation=0.1,
            seed=seed,
        )
        return ManyToOne(
            inputs,
            config.softmax(setting.codecs["labels"], labels_of(examples)),
            bidirectional=config.bidirectional,
            pooling=config.pooling,
            dense=config.dense,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    def collate(
        self, items: Sequence[Item], setting: Setting[TextClassificationOptions]
    ) -> tuple[Ragged, Tensor | None]:
        """Return token numbers (B, T) with lengths, and labels (B,)."""
        x = padded([item.x for item in items])
        labelled = all(item.y is not None for item in items)
        return x, torch.tensor([item.y for item in items]) if labelled else None

    def answers(self, network: Any, x: Ragged, setting: Setting[TextClassificationOptions]) -> list[Answer]:
        """Return the most probable label and the probabilities of all."""
        return class_answers(network.head.probabilities(network(x)), setting.codecs["labels"])

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return accuracy and macro F1."""
        return class_metrics(answers, truths)

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return label, its probability and the text; in colours, with the words that mattered."""
        text = x if not colour else coloured(weighed(model, x), x)
        return f"{answer['label']}\t{answer['probabilities'][answer['label']]:.4f}\t{text}"

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Write the texts with the words that mattered as HTML, and the confusion matrix where labels are known."""
        page = write_weighed_texts(model, examples, answers, folder / "words.html")
        return [page, *draw_confusion(answers, [example.y for example in examples], folder)]

    def example(self, folder: Path) -> list[str]:
        """Write made-up reviews."""
        write_reviews(folder / "reviews.csv")
        return [
            "elman train text-classification reviews.csv",
            'echo "a charming story but the songs are dull" | elman predict reviews-model - -o answers',
        ]
