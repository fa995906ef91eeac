"""Options of the language model and of its training, with defaults that depend on what a token is."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from elman.config import FullPath, Options
from elman.training import TrainingConfig

_LARGEST_LAYER, _MOST_LAYERS = 65_536, 1024
_BATCHES_AN_EPOCH = 50
_AGAINST_LEARNING_BY_HEART = 0.3
"""Dropout of a model of characters that has more parameters than its text has characters."""

# What is best depends on how much a token says: defaults by level, where the option is left out. Of characters, the
# smallest model that fits a megabyte of English in minutes; of words, one layer's width for both matrices of the
# vocabulary, and dropout against the few tokens that a text of words has.
_BY_LEVEL: dict[str, dict[str, Any]] = {
    "character": {"hidden_size": 512, "embedding_size": 128, "dropout": 0.1, "streams": 32, "sequence_length": 64},
    "subword": {"hidden_size": 512, "embedding_size": 256, "dropout": 0.2, "streams": 32, "sequence_length": 64},
    "word": {"hidden_size": 400, "embedding_size": 400, "dropout": 0.4, "streams": 20, "sequence_length": 35},
}


class LanguageModelConfig(Options):
    """Options of the language model; None means: chosen by level."""

    level: Literal["character", "word", "subword"] = Field("character", description="what a token is")
    vocabulary_size: int | None = Field(
        None, ge=2, le=10_000_000, description="most tokens to keep; without it all (subword: 2,000)"
    )
    min_count: int = Field(1, ge=1, le=10**9, description="tokens met less often become <unk>")
    validation: FullPath | None = Field(None, description="validation text; without it, the end of the training text")
    test: FullPath | None = Field(None, description="text to measure the best weights on when training has ended")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share of the text kept for validation")

    cell: str = Field("lstm", description="name of a cell, a file of equations (.tex, .txt), or the equations")
    layers: int = Field(2, ge=1, le=_MOST_LAYERS, description="recurrent layers")
    hidden_size: int | None = Field(None, ge=1, le=_LARGEST_LAYER, description="units of a layer; 512, word 400")
    projection_size: int | None = Field(
        None, ge=1, le=_LARGEST_LAYER, description="value of a size that the cell declares (lstm_projected)"
    )
    embedding_size: int | None = Field(
        None,
        ge=0,
        le=_LARGEST_LAYER,
        description="length of token vectors, 0 for one-hot; character 128, subword 256, word 400",
    )
    tied: bool = Field(False, description="share the embedding with the output layer")
    residual: bool = Field(False, description="add a layer's input to its output where sizes agree")
    init: str | None = Field(
        None, description="initialiser of the layers, else the cell's own; uniform:0.1 is that of all matrices"
    )
    forget_bias: float | None = Field(None, description="first value of the forget gate's bias; else the cell's own")

    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="between layers and before the output; character 0.1, with more parameters than characters 0.3, "
        "subword 0.2, word 0.4",
    )
    input_dropout: float = Field(0.0, ge=0, lt=1, description="of token vectors, the same at all steps")
    variational_dropout: float = Field(0.0, ge=0, lt=1, description="of input and state in every layer (Gal)")
    zoneout: float = Field(0.0, ge=0, lt=1, description="probability that a unit keeps its old value")
    weight_drop: float = Field(0.0, ge=0, lt=1, description="of entries of recurrent matrices")
    activation_penalty: float = Field(0.0, ge=0, description="weight of squared outputs in the loss (AR)")
    change_penalty: float = Field(0.0, ge=0, description="weight of squared changes of outputs in the loss (TAR)")

    streams: int | None = Field(
        None, ge=1, le=65_536, description="parts of the text read side by side; 32, word 20, fewer for a short text"
    )
    sequence_length: int | None = Field(None, ge=1, le=1_000_000, description="steps of back-propagation; 64, word 35")
    random_length: bool = Field(False, description="draw the length of every segment around sequence_length")

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> LanguageModelConfig:
        usual = type(self).model_fields["validation_fraction"].default
        if self.validation is not None and self.validation_fraction != usual:
            raise ValueError("validation_fraction has an effect without validation only; got both")
        return self

    def resolved(self, tokens: int | None = None, parameters: int | None = None) -> LanguageModelConfig:
        """Return the options with everything that depends on the level filled in.

        Args:
            tokens: Length of the training text. An epoch of a short one would have few batches, so fewer streams are
                read then, as many as leave 50 batches; None where it is not known.
            parameters: Of the model; None where it is not known. With more of them than a text has characters it can
                learn the text by heart, and gets more dropout.
        """
        chosen = {name: value for name, value in _BY_LEVEL[self.level].items() if getattr(self, name) is None}
        if "streams" in chosen and tokens is not None:
            length = self.sequence_length or chosen["sequence_length"]
            chosen["streams"] = max(1, min(chosen["streams"], tokens // (length * _BATCHES_AN_EPOCH)))
        by_heart = tokens is not None and parameters is not None and parameters > tokens
        if "dropout" in chosen and self.level == "character" and by_heart:
            chosen["dropout"] = _AGAINST_LEARNING_BY_HEART
        return self.model_copy(update=chosen)


class LanguageModelTraining(TrainingConfig):
    """Options of training, with the defaults of language models."""

    default_epochs: ClassVar[int] = 10
    default_patience: ClassVar[int] = 3

    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")
    final_rate: float = Field(0.02, ge=0, le=1, description="where cosine ends, as a fraction of learning_rate")
