"""A language model from its folder: arrays, a stepper a precision, a codec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elman.codecs.text import TextCodec, codec_from_json
from elman.errors import ModelFileError
from elman.model_config import WEIGHTS, read_extra_file
from elman.runtime.arrays import Arrays, Floats
from elman.runtime.parts import LARGEST_LAYER, cell_of, stack_of, whole
from elman.runtime.stack import Stack
from elman.runtime.stepper import Stepper
from elman.runtime.text_model import TextModel
from elman.storage import parse_json

NAME, VOCABULARY = "language-model", "vocabulary.json"
LARGEST_VOCABULARY = 10_000_000


class LanguageModel(TextModel):
    """A trained language model without torch; see elman.runtime.load.

    Args:
        codec: Text to tokens and back.
        stack: The recurrent layers.
        embedding: Token vectors (V, I), or None for one-hot input.
        head: W_y (V, O).
        bias: b_y (V,), or None.
    """

    def __init__(
        self, codec: TextCodec, stack: Stack, embedding: Floats | None, head: Floats, bias: Floats | None
    ) -> None:
        super().__init__(codec)
        self.stack, self.embedding, self.head, self.bias = stack, embedding, head, bias
        self._steppers: dict[str, Stepper] = {}

    def steps(self, precision: str = "float32") -> Stepper:
        """Return the stepper of a precision; its weights are packed at the first call."""
        if precision not in self._steppers:
            layers = [layer for directions in self.stack.layers for layer in directions]
            self._steppers[precision] = Stepper(layers, self.head, self.bias, self.embedding, precision=precision)
        return self._steppers[precision]


def language_model_of(folder: Path, config: Mapping[str, Any], arrays: Arrays) -> LanguageModel:
    """Return the language model that a folder holds.

    Raises:
        ModelFileError: it is damaged.
    """
    where, options = str(folder / "config.json"), config.get("model")
    if not isinstance(options, dict):
        raise ModelFileError(f"{where}: must describe a model")
    vocabulary = whole(options, "vocabulary_size", 2, LARGEST_VOCABULARY, where)
    size = whole(options, "embedding_size", 0, LARGEST_LAYER, where)
    embedding = arrays.take("embedding.weight", (vocabulary, size)) if size else None
    stack = stack_of(arrays, "recurrent", cell_of(config, where), options, size or vocabulary, where)
    head = arrays.take("head.weight", (vocabulary, stack.output_size))
    if options.get("tied") and not (embedding is not None and np.array_equal(head, embedding)):
        raise ModelFileError(f"{folder / WEIGHTS}: tied weights must be one matrix; got two that differ")
    bias = arrays.take("head.bias", (vocabulary,)) if "head.bias" in arrays else None
    arrays.finish()
    codec = codec_from_json(parse_json(read_extra_file(folder, VOCABULARY), str(folder / VOCABULARY)))
    if codec.size != vocabulary:
        raise ModelFileError(f"{folder / VOCABULARY}: must have {vocabulary:,} tokens; got {codec.size:,}")
    return LanguageModel(codec, stack, embedding, head, bias)
