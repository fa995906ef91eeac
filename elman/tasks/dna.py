"""DNA analysis: a sequence in, one of K labels out, or one for every base."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from elman.architectures import Inputs, Numbers, Places, Ragged, StepPatterns
from elman.codecs.dna import Nucleotides
from elman.codecs.saved import Codec
from elman.config import FullPath
from elman.engines.ragged import reverse_within
from elman.errors import DataError
from elman.heads import Loss
from elman.metrics import Confusion, areas
from elman.randomness import bernoulli_mask
from elman.readers import Example, Reading
from elman.readers.dna import DnaReading, read_dna
from elman.tasks.base_tracks_picture import Track, draw_tracks
from elman.tasks.generated_signals import write_motifs
from elman.tasks.saliency_picture import draw_saliency
from elman.tasks.sequence_labels import STEP_LABELS, LabelOptions, LabelTask, refuse_width_of_nothing, spread
from elman.tasks.supervised import Answer, Item, Setting

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

_MOST_TRACKS = 6


class DnaOptions(LabelOptions):
    """Options of DNA analysis."""

    beside: ClassVar[tuple[str, ...]] = ("labels", "validation_labels", "test_labels")
    of_training: ClassVar[frozenset[str]] = frozenset({"validation", "test", *beside})

    labels: FullPath | None = Field(None, description="table with columns id and label, where the data is a FASTA file")
    validation_labels: FullPath | None = Field(None, description="the same for validation")
    test_labels: FullPath | None = Field(None, description="the same for test")
    strands: Literal["one", "both"] = Field(
        "one",
        description="both: train on either strand and average what is said of both; where direction means nothing",
    )
    filters: int = Field(64, ge=0, le=65_536, description="patterns of neighbouring bases; 0 reads single bases")
    filter_width: int = Field(11, ge=1, le=999, description="bases of a pattern, odd")
    octaves: int = Field(
        5, ge=0, le=20, description="waves that tell where a base is, for sequences that are cut alike; 0: none"
    )
    hidden_size: int = Field(64, ge=1, le=65_536, description="units of a layer and direction")
    dropout: float = Field(0.3, ge=0, lt=1, description="between layers and before the output")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="of bases, the same axes at all steps")

    @model_validator(mode="after")
    def _refuse_a_width_of_nothing(self) -> DnaOptions:
        refuse_width_of_nothing(self)
        return self

    def reading(self, labelled: bool = True) -> DnaReading:
        """Return how DNA is read."""
        return DnaReading(**vars(super().reading(labelled)), labels=self.labels if labelled else None)


class Dna(LabelTask[DnaOptions]):
    """A label for each sequence of DNA, or for each base."""

    name = "dna"
    summary = "the label of DNA, or of each base: promoters, splice sites, genes"
    config: ClassVar[type[Any]] = DnaOptions
    steps = "bases"

    def read(self, path: Path, how: Reading, config: DnaOptions) -> Iterator[Example]:
        """Yield sequences with their labels; see elman.readers.dna."""
        return read_dna(path, how)

    def fit_inputs(self, examples: Sequence[Example], config: DnaOptions) -> dict[str, Codec]:
        """Return the code of bases."""
        return {"bases": Nucleotides()}

    def vectors(self, example: Example, setting: Setting[DnaOptions]) -> Tensor:
        """Return P(base) (T, 4)."""
        if not isinstance(example.x, str) or not example.x:
            raise DataError(f"{example.where}: must be letters of DNA; got {str(example.x)[:80]!r}")
        bases: Nucleotides = setting.codecs["bases"]
        return bases.encode(example.x, example.where)

    def inputs(self, setting: Setting[DnaOptions], seed: int) -> Inputs:
        """Bases, and patterns of neighbouring ones."""
        config = setting.config
        bases = Numbers(Nucleotides.size, dropout=config.input_dropout)
        read = StepPatterns(bases, config.filters, config.filter_width, seed=seed) if config.filters else bases
        return Places(read, config.octaves) if config.octaves else read

    def augmented(self, item: Item, setting: Setting[DnaOptions]) -> Item:
        """Return the example, or with both strands as often the other strand of it."""
        if setting.config.strands == "one" or bool(bernoulli_mask((), 0.5, "strand")):
            return item
        return replace(item, x=item.x.flip(0, 1), y=item.y.flip(0) if isinstance(item.y, Tensor) else item.y)

    def scores(self, network: Any, x: Ragged, setting: Setting[DnaOptions]) -> Tensor:
        """Return the logits of each label; with both strands ln of the mean of the probabilities said of each."""
        own = super().scores(network, x, setting)
        if setting.config.strands == "one":
            return own
        other = Ragged(reverse_within(x.values.flip(2), x.lengths), x.lengths)
        said = super().scores(network, other, setting)
        said = reverse_within(said, x.lengths) if STEP_LABELS in setting.codecs else said
        return torch.logaddexp(own.log_softmax(dim=-1), said.log_softmax(dim=-1)) - math.log(2)

    def loss(self, network: Any, x: Ragged, y: Tensor, setting: Setting[DnaOptions]) -> Loss:
        """Return the cross-entropy of what is answered, with both strands of the mean of their probabilities."""
        found: Loss = network.head.loss(self.scores(network, x, setting), y)  # labels beyond a length are IGNORED
        return found

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return accuracy, macro F1 and, of whole sequences, Matthews' correlation and the areas under both curves."""
        found = super().measure(answers, truths)
        if "label" not in answers[0]:
            return found
        names = list(answers[0]["probabilities"])
        said = Confusion.of([answer["label"] for answer in answers], truths, names)
        shares = np.array([[answer["probabilities"][name] for name in names] for answer in answers])  # (N, K)
        return {**found, "mcc": said.mcc(), **areas(shares, np.array([names.index(truth) for truth in truths]))}

    def named(self, x: Any, answer: Answer) -> str:
        """Return the sequence's id or place where that is known, and its letters, of a long one the ends."""
        letters = x if len(x) <= 80 else f"{x[:38]}...{x[-38:]}"
        return "\t".join(filter(None, (answer.get("id") or answer.get("where"), letters)))

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw which bases mattered, or the labels of bases; and the confusion matrix where labels are known."""
        some = [(examples[n], answers[n]) for n in spread(len(examples), _MOST_TRACKS)]
        if STEP_LABELS in model.setting.codecs:
            tracks = [Track(e.id or e.where, e.x, a["labels"], a["probabilities"], e.y) for e, a in some]
            picture = draw_tracks(tracks, model.setting.codecs[STEP_LABELS].names, folder / "bases.png")
        else:
            rows = [(e.id or e.where, e.x, a["label"], saliency(model, e.x)) for e, a in some]
            picture = draw_saliency(rows, folder / "saliency.png")
        return [picture, *super().draw(model, examples, answers, folder)]

    def example(self, folder: Path) -> list[str]:
        """Write made-up sequences, half of them with a motif."""
        write_motifs(folder / "motifs")
        return ["elman train dna motifs --epochs 10", "elman predict motifs-model motifs -o answers"]


def saliency(model: SupervisedModel, letters: str) -> Tensor:
    """Return how much each base (T,) speaks for the answered label.

        s<t> = sum over bases k of x_k<t> (g_k<t> - mean over k of g_k<t>)
        g    = d (logit of the answer - mean logit) / d x

    The mean is taken off because x<t> can only move among distributions, whose sum is 1. With both strands the logits
    are those of both.

    Source: gradient times input, Shrikumar et al. 2016, "Not just a black box"; its correction for one-hot input,
        Majdandzic et al. 2023, "Correcting gradient-based interpretations of deep neural networks for genomics".
    """
    scores = cast(Dna, model.task).scores
    x = model.setting.codecs["bases"].encode(letters)[None].requires_grad_()  # (1, T, 4)
    with torch.enable_grad():
        logits = scores(model.network, Ragged(x, torch.tensor([len(letters)])), model.setting)[0]  # (K,)
        (slope,) = torch.autograd.grad(logits.max() - logits.mean(), x)
    weights: Tensor = (x.detach() * (slope - slope.mean(dim=2, keepdim=True))).sum(dim=2)[0]  # (T,)
    return weights
