"""Options that tasks share: what is kept for validation, and the recurrent part of a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from elman.architectures import MakeHead
from elman.codecs.labels import Labels
from elman.config import FullPath, Options
from elman.equations import Cell
from elman.heads import SoftmaxHead
from elman.readers.options import ReadingOptions
from elman.tasks.cell_option import projection_sizes

_LARGEST_LAYER, _MOST_LAYERS = 65_536, 1024
LayerSize = Annotated[int, Field(ge=1, le=_LARGEST_LAYER)]
LayerSizeOrNone = Annotated[int, Field(ge=0, le=_LARGEST_LAYER)]


class RecurrentOptions(Options):
    """The recurrent part of a network."""

    cell: str = Field("lstm", description="name of a cell, a file of equations (.tex, .txt), or the equations")
    layers: int = Field(1, ge=1, le=_MOST_LAYERS, description="recurrent layers")
    hidden_size: int = Field(128, ge=1, le=_LARGEST_LAYER, description="units of a layer and direction")
    projection_size: int | None = Field(
        None, ge=1, le=_LARGEST_LAYER, description="value of a size that the cell declares (lstm_projected)"
    )
    residual: bool = Field(False, description="add a layer's input to its output where sizes agree")
    init: str | None = Field(
        None, description="initialiser of the layers, else the cell's own; uniform:0.1 is that of all matrices"
    )
    forget_bias: float | None = Field(None, description="first value of the forget gate's bias; else the cell's own")
    dropout: float = Field(0.0, ge=0, lt=1, description="between layers and before the output")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="of input vectors, the same at all steps")
    variational_dropout: float = Field(0.0, ge=0, lt=1, description="of input and state in every layer (Gal)")
    zoneout: float = Field(0.0, ge=0, lt=1, description="probability that a unit keeps its old value")
    weight_drop: float = Field(0.0, ge=0, lt=1, description="of entries of recurrent matrices")

    def recurrent(self, cell: Cell) -> dict[str, Any]:
        """Return the arguments that elman.architectures.Encoder and the shapes take, all but bidirectional and seed."""
        return {
            "cell": cell,
            "hidden_size": self.hidden_size,
            "layers": self.layers,
            "dropout": self.dropout,
            "residual": self.residual,
            "sizes": projection_sizes(cell, self.projection_size),
            "init": {} if self.init is None else {"*": self.init},
            "forget_bias": self.forget_bias,
            "variational_dropout": self.variational_dropout,
            "zoneout": self.zoneout,
            "weight_drop": self.weight_drop,
        }


class PlainLayers(Options):
    """A plain network on the outputs of the recurrent part."""

    dense: tuple[LayerSize, ...] = Field((), description="sizes of plain layers before the output; repeat for several")


class BothDirections(Options):
    """A recurrent part that may read from the end, too."""

    bidirectional: bool = Field(True, description="read from both ends")


class LabelLoss(Options):
    """What a label counts in training."""

    balance: float = Field(
        0.0, ge=0, le=1, description="weight of rare labels in the loss: 0 by their number, 1 all labels alike"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the truth given to all labels")

    def softmax(self, labels: Labels, found: Sequence[str]) -> MakeHead:
        """Return what makes the head that says one of K labels.

        Args:
            labels: Their names.
            found: Those of the training data, one by one, each met; none in use.
        """
        weights = labels.balance(found, self.balance) if found and self.balance else None
        return partial(SoftmaxHead, classes=labels.size, label_smoothing=self.label_smoothing, class_weights=weights)


Pooled = Literal["last", "mean", "max", "attention", "centre"]
POOLED = "how the outputs of all steps become one vector, where a sequence has one label"


class PooledLabels(BothDirections, PlainLayers, LabelLoss):
    """What says one label of a sequence."""

    pooling: Pooled = Field("attention", description=POOLED)


class SupervisedOptions(ReadingOptions, RecurrentOptions):
    """Options of every task whose examples say what the answer is."""

    validation: FullPath | None = Field(None, description="validation data; without it, a share of the training data")
    test: FullPath | None = Field(None, description="data to measure the best weights on when training has ended")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share of the examples kept for validation")
    batch_size: int = Field(32, ge=1, le=65_536, description="examples of a batch")

    of_training: ClassVar[frozenset[str]] = frozenset({"validation", "test"})
    """Options that name data of one training run; a model folder does not keep them."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Options that name a file which training reads beside its data; validation_X and test_X are those of parts."""

    def of_part(self, part: str) -> SupervisedOptions:
        """Return the options by which the data of "train", "validation" or "test" is read: with its own files."""
        own = {name: getattr(self, f"{part}_{name}") for name in self.beside if f"{part}_{name}" in self.beside}
        return self.model_copy(update=own)

    @model_validator(mode="after")
    def _refuse_a_fraction_of_nothing(self) -> SupervisedOptions:
        usual = type(self).model_fields["validation_fraction"].default
        if self.validation is not None and self.validation_fraction != usual:
            raise ValueError("validation_fraction has an effect without validation only; got both")
        return self

    @model_validator(mode="after")
    def _refuse_files_beside_nothing(self) -> SupervisedOptions:
        for name in self.beside:
            part, _, rest = name.partition("_")
            if rest in self.beside and getattr(self, name) is not None and getattr(self, part) is None:
                raise ValueError(f"{name} has an effect with {part} only; got it alone")
        return self


class SmallBatches(Options):
    """Smaller batches where examples are few: with the usual size an epoch of them would hardly move the weights."""

    least_batches: int = Field(
        20, ge=1, le=10**6, description="batches get smaller, down to 2 examples, until an epoch has so many"
    )

    def batch_of(self, count: int, largest: int) -> int:
        """Return how many of `count` examples a batch has, at most `largest`."""
        return min(largest, max(2, count // self.least_batches))
