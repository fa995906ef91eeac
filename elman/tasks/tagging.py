"""Tagging: named entities, parts of speech, chunks; a tag for each word; many to many in step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from elman.architectures import ManyToManyInStep, SpelledWords, TokenVectors, WordsAndLetters
from elman.codecs.labels import Labels
from elman.codecs.spans import allowed_transitions, are_spans, mean_spans, spans_of, states_no_span, tags_of
from elman.codecs.vocabulary import Vocabulary
from elman.errors import DataError, UsageError
from elman.heads import CrfHead
from elman.metrics import span_ratios
from elman.readers import Example, Reading
from elman.readers.tagged_text import read_tagged_text
from elman.readers.words import with_places
from elman.tasks.classes import draw_confusion, labels_to_tell_apart
from elman.tasks.generated import write_entities
from elman.tasks.options import BothDirections, LabelLoss, PlainLayers, SupervisedOptions
from elman.tasks.shown_spans import coloured, write_marked_texts
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.tasks.word_vectors import WordVectorOptions, first_vectors, further_words
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

SCHEME = "bioes"
"""How spans are tagged inside the network: where one ends and that it is short is said too."""


class TaggingOptions(WordVectorOptions, BothDirections, PlainLayers, LabelLoss, SupervisedOptions):
    """Options of tagging."""

    lowercase: bool = Field(True, description="look words up in lower case; their letters are read as they are")
    min_count: int = Field(1, ge=1, le=10**9, description="words met less often become <unk>")
    embedding_size: int = Field(100, ge=1, le=65_536, description="length of word vectors")
    forgetting: float = Field(
        0.5,
        ge=0,
        le=1e6,
        description="f: training forgets a word met n times with probability f / (f + n)",
    )
    letter_size: int = Field(32, ge=1, le=65_536, description="length of the vectors of letters")
    letter_hidden_size: int = Field(
        48, ge=0, le=65_536, description="units of each direction that reads a word's letters; 0 reads none"
    )
    crf: bool | None = Field(
        None, description="judge the tags of a sentence together; without the option, where tags are spans"
    )
    hidden_size: int = Field(160, ge=1, le=65_536, description="units of a layer and direction")
    dropout: float = Field(0.5, ge=0, lt=1, description="between layers and before the output")
    input_dropout: float = Field(0.3, ge=0, lt=1, description="of word vectors, the same at all steps")

    @model_validator(mode="after")
    def _refuse_letters_without_effect(self) -> TaggingOptions:
        if not self.letter_hidden_size and self.differs("letter_size"):
            raise ValueError("letter_size has no effect with letter_hidden_size=0")
        return self


class TaggingTraining(TrainingConfig):
    """Options of training, with the defaults of tagging."""

    default_epochs: ClassVar[int] = 15
    default_patience: ClassVar[int] = 5

    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


class Tagging(SupervisedTask[TaggingOptions]):
    """A tag for each word; tags that state spans are judged and shown as spans."""

    name = "tagging"
    summary = "a tag for each word: named entities, parts of speech"
    shape = "many to many in step"
    config = TaggingOptions
    training = TaggingTraining
    selection, unit = "accuracy", "words"
    searching = ("n_best",)

    def read(self, path: Path, how: Reading, config: TaggingOptions) -> Iterator[Example]:
        """Yield sentences with their tags; see elman.readers.tagged_text."""
        return read_tagged_text(path, how)

    def fit(self, examples: Sequence[Example], config: TaggingOptions) -> dict[str, Any]:
        """Return the vocabulary, the letters and the tags of the training sentences."""
        found = [tag for example in examples for tag in example.y or ()]
        if not found:
            raise DataError("tags: must be known of the training sentences; got none")
        met = {word.lower() if config.lowercase else word for example in examples for word in example.x}
        vocabulary = Vocabulary.build(
            (example.x for example in examples),
            min_count=config.min_count,
            lowercase=config.lowercase,
            further=further_words(config, met),
        )
        letters = Vocabulary.build(list(word) for example in examples for word in set(example.x))
        tags = labels_to_tell_apart(found)
        if mean_spans(found):  # what is no tag of a span is refused with its sentence, by encode
            tags = Labels.build(_all_tags(tag for tag in found if not states_no_span(tag)))
        if _together(config, tags) and (config.balance or config.label_smoothing):
            raise UsageError(
                "balance, label_smoothing: have an effect on tags judged one by one only; these are judged together",
                "add --no-crf, or leave both out",
            )
        return {"vocabulary": vocabulary, "letters": letters, "tags": tags}

    def output(self, setting: Setting[TaggingOptions]) -> str:
        """Return whether the tags of a sentence are judged together."""
        return "crf" if _together(setting.config, setting.codecs["tags"]) else "softmax a word"

    def selected(self, setting: Setting[TaggingOptions]) -> str:
        """Return "span_f1" where tags state spans."""
        return "span_f1" if are_spans(setting.codecs["tags"].names) else self.selection

    def completed(self, answer: Answer, x: Sequence[str]) -> Answer:
        """Return an answer whose spans say their text, and where it begins and ends in that of the sentence."""
        words = with_places(x)
        for way in [answer, *answer.get("n_best", [])]:
            for span in way.get("spans", []):
                span["start"], span["end"] = words.places[span["first"]][0], words.places[span["last"]][1]
                span["text"] = words.text[span["start"] : span["end"]]
        return answer

    def told(self, example: Example) -> dict[str, Any]:
        """Return the text and its words."""
        return super().told(example) | {"text": with_places(example.x).text, "tokens": list(example.x)}

    def truth(self, y: Sequence[str], answer: Answer) -> list[str]:
        """Return the tags, as BIO where the answer states spans."""
        return _bio(y) if "spans" in answer else list(y)

    def encode(self, example: Example, setting: Setting[TaggingOptions]) -> Item:
        """Return the words with their numbers (T,), and the numbers of the tags (T,)."""
        words, codecs = example.x, setting.codecs
        if not isinstance(words, list | tuple) or not words or not all(isinstance(w, str) and w for w in words):
            raise DataError(f"{example.where}: must be a sequence of words; got {str(words)[:80]!r}")
        numbers = torch.tensor(codecs["vocabulary"].encode(words))
        tags = None if example.y is None else torch.tensor(_numbers(example, codecs["tags"]))
        return Item((numbers, tuple(words)), tags, len(words))

    def network(
        self, setting: Setting[TaggingOptions], seed: int, examples: Sequence[Example] = ()
    ) -> ManyToManyInStep:
        """Vectors of words beside what their letters say, recurrent layers, plain layers, CRF or softmax."""
        config, tags = setting.config, setting.codecs["tags"]
        return ManyToManyInStep(
            self._inputs(setting, seed, bool(examples)),
            partial(CrfHead, labels=tags.size, allowed=_allowed(tags.names))
            if _together(config, tags)
            else config.softmax(tags, [tags.names[n] for example in examples for n in _numbers(example, tags)]),
            bidirectional=config.bidirectional,
            dense=config.dense,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    @staticmethod
    def _inputs(setting: Setting[TaggingOptions], seed: int, training: bool) -> WordsAndLetters | _WordsAlone:
        config, vocabulary = setting.config, setting.codecs["vocabulary"]
        words = TokenVectors(
            vocabulary.size,
            config.embedding_size,
            dropout=0.0 if config.letter_hidden_size else config.input_dropout,
            forgetting=vocabulary.forgetting(config.forgetting) if training and config.forgetting else None,
            first=first_vectors(config, vocabulary, config.embedding_size, seed) if training else None,
            seed=seed,
        )
        if not config.letter_hidden_size:
            return _WordsAlone(words)
        letters = TokenVectors(setting.codecs["letters"].size, config.letter_size, seed=seed + 1)
        return WordsAndLetters(words, letters, config.letter_hidden_size, dropout=config.input_dropout, seed=seed)

    def collate(self, items: Sequence[Item], setting: Setting[TaggingOptions]) -> tuple[SpelledWords, Tensor | None]:
        """Return the words with the letters of those that differ, and tags (B, T)."""
        words = padded([item.x[0] for item in items])
        row_of = {word: n for n, word in enumerate(dict.fromkeys(word for item in items for word in item.x[1]))}
        letters = padded([torch.tensor(setting.codecs["letters"].encode(word)) for word in row_of])
        spelling = padded([torch.tensor([row_of[word] for word in item.x[1]]) for item in items]).values
        labelled = all(item.y is not None for item in items)
        return SpelledWords(words, letters, spelling), padded([item.y for item in items]).values if labelled else None

    def answers(self, network: Any, x: SpelledWords, setting: Setting[TaggingOptions]) -> list[Answer]:
        """Return the best tags of each sentence, the spans they state, if they do, and the probability of each tag.

        With the option n_best also so many best ways to tag all of the sentence, with ln P of each.
        """
        scores, lengths = network(x)
        best, names = network.head.best(scores, lengths), setting.codecs["tags"].names  # (B, T)
        found = _named(best, lengths, names)
        each = network.head.probabilities(scores, lengths).gather(2, best.unsqueeze(2)).squeeze(2)  # (B, T)
        for answer, row in zip(found, each.tolist(), strict=True):
            answer["probabilities"] = row[: len(answer["tags"])]
        count = setting.search.n_best
        if count is None:
            return found
        if not _together(setting.config, setting.codecs["tags"]):
            raise UsageError("n_best: needs tags that are judged together; this model judges them one by one")
        paths, logs = network.head.n_best(scores, count, lengths)  # (B, N, T) and (B, N)
        for answer, ways, row in zip(found, paths.tolist(), logs.tolist(), strict=True):
            answer["n_best"] = [
                _answer([names[n] for n in way[: len(answer["tags"])]], are_spans(names)) | {"log_probability": value}
                for way, value in zip(ways, row, strict=True)
                if value > -torch.inf
            ]
        return found

    def validated(self, network: Any, x: SpelledWords, setting: Setting[TaggingOptions]) -> list[Answer]:
        """Return the best tags of each sentence, and the spans they state, if they do."""
        scores, lengths = network(x)
        return _named(network.head.best(scores, lengths), lengths, setting.codecs["tags"].names)

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return the share of right tags; where tags state spans, their precision, recall and F1, too."""
        pairs = [pair for a, t in zip(answers, truths, strict=True) for pair in zip(a["tags"], t, strict=True)]
        if not any("spans" in answer for answer in answers):
            return {"accuracy": sum(said == true for said, true in pairs) / len(pairs)}
        all_kinds = span_ratios([spans_of(a["tags"]) for a in answers], [spans_of(t) for t in truths])[""]
        plain = [pair for a, t in zip(answers, truths, strict=True) for pair in zip(a["tags"], _bio(t), strict=True)]
        return {
            "span_f1": all_kinds.f1,
            "precision": all_kinds.precision,
            "recall": all_kinds.recall,
            "accuracy": sum(said == true for said, true in plain) / len(plain),
        }

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return the words with their spans marked, or each with its tag; with n_best each way with its ln P."""
        if "n_best" in answer:
            ways = [f"{way['log_probability']:.4f}\t{_shown(x, way, colour)}" for way in answer["n_best"]]
            return "\n".join([*ways, ""])
        return _shown(x, answer, colour)

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Write the sentences with their spans in colours as HTML, and the confusion matrix where tags are known."""
        pages = [write_marked_texts(examples, answers, folder / "spans.html")] if "spans" in answers[0] else []
        if any(example.y is None for example in examples):
            return pages
        said = [{"label": tag} for answer in answers for tag in answer["tags"]]
        true = [tag for e in examples for tag in (_bio(e.y) if "spans" in answers[0] else e.y)]
        return [*pages, *draw_confusion(said, true, folder)]

    def example(self, folder: Path) -> list[str]:
        """Write made-up sentences with people and places."""
        write_entities(folder / "entities.conll")
        return [
            "elman train tagging entities.conll --epochs 10",
            'echo "Ada met Grace Hopper in Oslo ." | elman predict entities-model - --format lines',
        ]


class _WordsAlone(torch.nn.Module):
    """Vectors of words, their letters not read."""

    def __init__(self, words: TokenVectors) -> None:
        super().__init__()
        self.words, self.output_size = words, words.output_size

    def forward(self, x: SpelledWords) -> Any:
        """Return vectors (B, T, size)."""
        return self.words(x.words)


def _together(config: TaggingOptions, tags: Labels) -> bool:
    """Whether the tags of a sentence are judged together."""
    return are_spans(tags.names) if config.crf is None else config.crf


def _shown(words: Sequence[str], answer: Answer, colour: bool) -> str:
    if "spans" in answer:
        return coloured(words, answer["spans"], colour)
    return " ".join(f"{word}/{tag}" for word, tag in zip(words, answer["tags"], strict=True))


def _all_tags(found: Iterable[str]) -> list[str]:
    """Every tag of the scheme for every kind of span that is met."""
    kinds = sorted({tag[2:] for tag in found if tag != "O"})
    return ["O", *(f"{mark}-{kind}" for kind in kinds for mark in "BIES")]


def _numbers(example: Example, tags: Labels) -> list[int]:
    said = list(example.y)
    if are_spans(tags.names):
        _refuse_no_spans(example)
        said = tags_of(spans_of(said), len(said), SCHEME)
    return [tags.encode(tag, example.where) for tag in said]


def _refuse_no_spans(example: Example) -> None:
    for n, tag in enumerate(example.y):
        if states_no_span(tag):
            raise DataError(
                f"{example.where}: tag of {example.x[n]!r}, word {n + 1} of the sentence, must be O, or B-, I-, E- or "
                f"S- with a kind, as other tags are; got {tag!r}",
                "mend it, or leave such sentences out with --on-error skip",
            )


def _bio(tags: Sequence[str]) -> list[str]:
    """Tags of any scheme as BIO."""
    return tags_of(spans_of(tags), len(tags), "bio")


def _allowed(names: Sequence[str]) -> Tensor | None:
    return allowed_transitions(names, SCHEME) if are_spans(names) else None


def _named(best: Tensor, lengths: Tensor, names: Sequence[str]) -> list[Answer]:
    """Answers of numbers (B, T) of tags."""
    rows = zip(best.tolist(), lengths.tolist(), strict=True)
    return [_answer([names[n] for n in row[:length]], are_spans(names)) for row, length in rows]


def _answer(tags: list[str], are_of_spans: bool) -> Answer:
    if not are_of_spans:
        return {"tags": tags}
    spans = [{"first": begin, "last": end - 1, "label": kind} for begin, end, kind in spans_of(tags)]
    return {"tags": _bio(tags), "spans": spans}
