"""A trained language model in use: sampling, the probability of sentences, evaluation of texts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from elman.architectures import LanguageModel
from elman.codecs.characters import characters_after_first
from elman.codecs.text import TextCodec, codec_from_json
from elman.codecs.token_store import TokenStore
from elman.config import first_problem
from elman.errors import DataError, ElmanError, ModelFileError, UsageError
from elman.metrics import bits_per_character, perplexity
from elman.model_config import restored_cell
from elman.model_folder import WEIGHTS, read_extra_file, read_model_folder
from elman.plans.native import available, engine, require_built
from elman.runtime.stepper import Stepper
from elman.runtime.text_model import PrecisionLoss, Steps, TextModel
from elman.storage import parse_json
from elman.tasks.language_model import NAME, VOCABULARY, LanguageModelConfig
from elman.tasks.language_model_building import build_model, checked_parameter_count
from elman.tasks.language_model_measure import measure
from elman.tasks.language_model_steps import TorchSteps, stepper_of
from elman.tensor_file import check_finite


class LoadedLanguageModel(TextModel):
    """A language model with its codec.

    Args:
        model: The model, in evaluation mode.
        codec: Text to tokens and back.
        config: Its options.
    """

    def __init__(self, model: LanguageModel, codec: TextCodec, config: LanguageModelConfig) -> None:
        super().__init__(codec)
        self.model, self.config = model.eval(), config
        self._steppers: dict[str, tuple[int, Stepper]] = {}

    @classmethod
    def load(cls, folder: Path) -> LoadedLanguageModel:
        """Load a model folder; nothing in it is executed.

        Raises:
            MissingInputError: there is no model.
            ModelFileError: it is damaged, or of another task.
            DivergedError: a weight is not finite.
        """
        built: list[tuple[LanguageModel, LanguageModelConfig]] = []

        def expected(config: dict[str, Any]) -> dict[str, torch.Tensor]:
            built.append(_described(folder, config))
            return built[0][0].state_dict()

        _, tensors = read_model_folder(folder, expected)
        check_finite(folder / WEIGHTS, tensors)
        model, config = built[0]
        model.load_state_dict(tensors, assign=True)
        if config.tied:
            if not torch.equal(tensors["head.weight"], tensors["embedding.weight"]):
                raise ModelFileError(f"{folder / WEIGHTS}: tied weights must be one matrix; got two that differ")
            model.tie()
        codec = codec_from_json(parse_json(read_extra_file(folder, VOCABULARY), str(folder / VOCABULARY)))
        if codec.size != model.vocabulary_size:
            raise ModelFileError(
                f"{folder / VOCABULARY}: must have {model.vocabulary_size:,} tokens; got {codec.size:,}"
            )
        return cls(model, codec, config)

    def steps(self, precision: str = "float32") -> Steps:
        """Return what runs the model: the engine's stepper, or torch where there is none for the model.

        Raises:
            UsageError: torch would have to run a precision that it does not have.
        """
        weights = self.model.state_dict()
        on_cpu = all(w.dtype == torch.float32 and w.device.type == "cpu" for w in weights.values())
        if precision == "float32" and not (available() and on_cpu):
            return TorchSteps(self.model)
        if not on_cpu:
            raise UsageError(f"precision: {precision} needs a model of float32 on the CPU; got one elsewhere")
        require_built()
        # Of the values: torch counts no change by its fused optimisers, which are those that train here.
        values = engine.checksum([w.contiguous() for w in weights.values()])
        if precision not in self._steppers or self._steppers[precision][0] != values:
            self._steppers[precision] = (values, stepper_of(self.model, precision))
        return self._steppers[precision][1]

    def evaluate(self, path: Path | str, streams: int = 1, precision: str = "float32") -> dict[str, float]:
        """Measure the model on a text, read as one stream with its state carried from end to end.

        Args:
            path: The text.
            streams: Most streams read side by side, see `measure`; 1 for the exact value.
            precision: Of the weights; others than float32 read one stream.

        Returns:
            "loss" (nats per token), "perplexity", "tokens" (each but the first), "unknown", and "bits_per_character"
            where no token stands for unknown text; for a precision other than float32 "precision_loss", how many nats
            per token more than in float32, and "precision_loss_error", the standard error of that.

        Raises:
            DataError: the text has fewer than 2 tokens or cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="elman-") as folder:
            store = TokenStore.build(Path(path), self.codec, Path(folder) / "text")
            if len(store) < 2:
                raise DataError(f"{path}: must have at least 2 tokens; got {len(store)}")
            if precision == "float32":
                return {**measure(self.model, self.codec, store.tokens, streams), "unknown": store.unknown}
            if streams != 1:
                raise UsageError(f"streams: has no effect with precision {precision}, which reads one; got {streams}")
            return {**self._narrow(store.tokens.tolist(), precision), "unknown": store.unknown}

    def _narrow(self, tokens: list[int], precision: str) -> dict[str, float]:
        exact, narrow = (-np.array(self.steps(p).following([tokens])[0]) for p in ("float32", precision))
        nats = float(narrow.sum())
        found = {"loss": nats / len(narrow), "perplexity": perplexity(nats, len(narrow)), "tokens": len(narrow)}
        characters = characters_after_first(self.codec, np.array(tokens))
        if characters:
            found["bits_per_character"] = bits_per_character(nats, characters)
        lost = PrecisionLoss.of(precision, narrow - exact)
        return {**found, "precision_loss": lost.nats, "precision_loss_error": lost.standard_error}


def _described(folder: Path, config: dict[str, Any]) -> tuple[LanguageModel, LanguageModelConfig]:
    """Build the model that a config describes, after checking that it is one."""
    where = folder / "config.json"
    if config.get("task") != NAME:
        raise ModelFileError(f"{where}: task must be {NAME!r}; got {str(config.get('task'))[:40]!r}")
    values, cell_values = config.get("model"), config.get("cell")
    if not isinstance(values, dict) or not isinstance(cell_values, dict):
        raise ModelFileError(f"{where}: must describe a model and a cell")
    vocabulary = values.get("vocabulary_size")
    if type(vocabulary) is not int or not 2 <= vocabulary <= 10_000_000:
        raise ModelFileError(f"{where}: vocabulary_size must be from 2 to 10,000,000; got {str(vocabulary)[:40]}")
    try:
        options = LanguageModelConfig(**values).resolved()
        cell = restored_cell(cell_values)
        checked_parameter_count(vocabulary, cell, options)
        with torch.device("meta"):  # shapes without memory: the weights are checked before any is allocated
            return build_model(vocabulary, cell, options, seed=0), options
    except ModelFileError:
        raise
    except ValidationError as error:
        raise ModelFileError(f"{where}: must describe a language model; {first_problem(error)}") from None
    except (ElmanError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelFileError(f"{where}: must describe a language model; {first}") from None
