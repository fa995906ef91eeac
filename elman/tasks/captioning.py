"""Image captioning: an image in, a sentence about it out, word by word; one to many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elman.architectures import FramePatterns, OneToMany, Ragged
from elman.codecs.vocabulary import Vocabulary
from elman.decoding import Beam
from elman.errors import DataError
from elman.heads import Loss
from elman.metrics import bleu
from elman.randomness import draw_generator
from elman.readers import Example, Reading
from elman.readers.captions import read_captions
from elman.readers.videos import Clip, VideoReading
from elman.readers.words import words_of
from elman.tasks.contact_sheet import draw_sheet
from elman.tasks.generated_images import write_shapes
from elman.tasks.options import LayerSize, SupervisedOptions
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.tasks.writing import best_lines, written
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel


_BEAM = 3


class CaptioningOptions(SupervisedOptions):
    """Options of captioning."""

    size: int = Field(32, ge=4, le=1024, description="width and height that images are made")
    colour: bool = Field(True, description="see colours; otherwise brightness alone")
    filters: tuple[LayerSize, ...] = Field(
        (24, 48, 96), description="patterns of each layer of convolutions, which halve the image; repeat for several"
    )
    image_size: int = Field(128, ge=1, le=65_536, description="length of the vector that an image becomes")
    lowercase: bool = Field(True, description="read captions in lower case")
    min_count: int = Field(1, ge=1, le=10**9, description="words met less often become <unk>")
    embedding_size: int = Field(96, ge=1, le=65_536, description="length of word vectors")
    longest: int = Field(40, ge=1, le=1000, description="most words of a caption")
    hidden_size: int = Field(192, ge=1, le=65_536, description="units of a layer")
    dropout: float = Field(0.2, ge=0, lt=1, description="between layers, of the image's vector and before the output")


class CaptioningTraining(TrainingConfig):
    """Options of training, with the defaults of captioning."""

    default_epochs: ClassVar[int] = 20
    default_patience: ClassVar[int] = 5

    learning_rate: float = Field(2e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")


@dataclass(frozen=True)
class Captions:
    """Captions of a batch of images.

    Args:
        words: Word numbers (N, T) and lengths.
        owner: (N,) which image each is of.
    """

    words: Ragged
    owner: Tensor

    def to(self, device: torch.device) -> Captions:
        """Return the same on another device."""
        return Captions(self.words.to(device), self.owner.to(device))


class ImageVectors(nn.Module):
    """Images (B, 1, S, S, C), clips of one frame, to vectors; see FramePatterns."""

    def __init__(self, patterns: FramePatterns) -> None:
        super().__init__()
        self.patterns, self.output_size = patterns, patterns.output_size

    def forward(self, x: Ragged) -> Tensor:
        """Return vectors (B, output_size)."""
        vectors: Tensor = self.patterns(x).values[:, 0]
        return vectors


class Captioner(OneToMany):
    """One to many, with several sequences for a beginning."""

    def loss(self, x: Ragged, targets: Captions) -> Loss:  # type: ignore[override]
        """Return the cross-entropy of all captions of images x."""
        return self.decoder.loss(self.begin(x).select(targets.owner), targets.words)


class Captioning(SupervisedTask[CaptioningOptions]):
    """A sentence for each image, P(y | image) = product over t of P(y<t> | y<1..t-1>, image)."""

    name = "captioning"
    summary = "what can be seen in an image, in words"
    shape = "one to many"
    config = CaptioningOptions
    training = CaptioningTraining
    selection = "bleu"
    unit = "words"
    searching = ("beam", "n_best")
    manifests = True

    def read(self, path: Path, how: Reading, config: CaptioningOptions) -> Iterator[Example]:
        """Yield images with their captions; see elman.readers.captions."""
        return read_captions(path, VideoReading(**vars(how), size=config.size, colour=config.colour))

    def fit(self, examples: Sequence[Example], config: CaptioningOptions) -> dict[str, Any]:
        """Return the words of the training captions."""
        texts = (_words(caption) for example in examples for caption in example.y)
        return {"words": Vocabulary.build(texts, min_count=config.min_count, lowercase=config.lowercase)}

    def encode(self, example: Example, setting: Setting[CaptioningOptions]) -> Item:
        """Return the pixels (1, S, S, C), and the word numbers (T,) of each caption."""
        config = setting.config
        wanted = (1, config.size, config.size, 3 if config.colour else 1)
        if not isinstance(example.x, Clip) or example.x.frames.shape != wanted:
            raise DataError(f"{example.where}: must be an image of shape {wanted}; got {type(example.x).__name__}")
        captions = [setting.codecs["words"].encode(_words(caption)) for caption in example.y or ()]
        if not all(captions):
            raise DataError(f"{example.where}: every caption must hold a word; got one without")
        pixels = torch.from_numpy(example.x.frames.copy())
        return Item(pixels, [torch.tensor(c) for c in captions] or None, max(map(len, captions), default=1))

    def augmented(self, item: Item, setting: Setting[CaptioningOptions]) -> Item:
        """Return an image with one of its captions."""
        chosen = item.y[int(torch.randint(len(item.y), (), generator=draw_generator("caption")))]
        return Item(item.x, [chosen], item.length)

    def network(self, setting: Setting[CaptioningOptions], seed: int, examples: Sequence[Example] = ()) -> Captioner:
        """Convolutions, a layer to the vector of an image, which begins a caption and which every step reads."""
        config = setting.config
        patterns = FramePatterns(config.size, 3 if config.colour else 1, config.filters, seed=seed)
        return Captioner(
            ImageVectors(patterns),
            setting.codecs["words"].size + 1,
            embedding_size=config.embedding_size,
            dense=(config.image_size,),
            input_dropout=config.input_dropout,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    def collate(self, items: Sequence[Item], setting: Setting[CaptioningOptions]) -> tuple[Ragged, Captions | None]:
        """Return images (B, 1, S, S, C), and captions."""
        x = padded([item.x for item in items])
        if any(item.y is None for item in items):
            return x, None
        owner = [n for n, item in enumerate(items) for _ in item.y]
        return x, Captions(padded([caption for item in items for caption in item.y]), torch.tensor(owner))

    def validated(self, network: Any, x: Ragged, setting: Setting[CaptioningOptions]) -> list[Answer]:
        """Return the captions that greedy search finds."""
        return self._written(network, x, setting, 1)

    def answers(self, network: Any, x: Ragged, setting: Setting[CaptioningOptions]) -> list[Answer]:
        """Return the captions that beam search finds, best first."""
        return self._written(network, x, setting, setting.search.width(_BEAM))

    @staticmethod
    def _written(network: Any, x: Ragged, setting: Setting[CaptioningOptions], width: int) -> list[Answer]:
        beam = Beam(width, longest=setting.config.longest)
        return written(network, network.begin(x), len(x.values), beam, setting.codecs["words"], " ")

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return BLEU against all captions of each image, both in lower case."""
        references = [[" ".join(_words(caption)).lower() for caption in captions] for captions in truths]
        return {"bleu": bleu([answer["text"].lower() for answer in answers], references)}

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return the image's file and its caption; with n_best so many, each with its ln P."""
        count = model.setting.search.n_best
        return f"{x.path}\t{answer['text']}" if count is None else best_lines(str(x.path), answer, count)

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw a sheet of the first images with their captions."""
        images = [(example.x.frames[0], answer["text"]) for example, answer in zip(examples, answers, strict=True)]
        return [draw_sheet(images, folder / "captions.png")]

    def example(self, folder: Path) -> list[str]:
        """Write made-up images of shapes."""
        write_shapes(folder / "shapes")
        return [
            "elman train captioning shapes/captions.csv --column part=part -o captioner",
            "elman predict captioner shapes -o looked-at",
        ]


def _words(text: str) -> list[str]:
    return [word.text for word in words_of(text)]
