"""The language model as one of the tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.codecs.token_store import fingerprint
from elman.tasks.generated import write_sayings
from elman.tasks.language_model import NAME, LanguageModelConfig, LanguageModelProblem, LanguageModelTraining, load

if TYPE_CHECKING:
    from elman.tasks.language_model_use import LoadedLanguageModel

STORES = "tokens"


class LanguageModelTask:
    """See elman.tasks.task.Task."""

    name = NAME
    summary = "the next token of a text"
    shape = "many to many in step"
    config = LanguageModelConfig
    training = LanguageModelTraining
    sampling = (
        "length",
        "samples",
        "prompt",
        "temperature",
        "top_k",
        "top_p",
        "greedy",
        "stop",
        "seed",
        "precision",
        "loss_bound",
    )

    def fingerprints(self, data: Path, config: LanguageModelConfig) -> dict[str, Any]:
        """Return size and hash of each text."""
        parts = {"train": data, "validation": config.validation, "test": config.test}
        return {name: fingerprint(path) for name, path in parts.items() if path is not None}

    def problem(self, data: Path, config: LanguageModelConfig, seed: int, folder: Path) -> LanguageModelProblem:
        """Read the text into token stores and build the model."""
        return LanguageModelProblem(data, config, seed, folder / STORES)

    def load(self, folder: Path) -> LoadedLanguageModel:
        """Load a language model."""
        return load(folder)

    def example(self, folder: Path) -> list[str]:
        """Write made-up sayings."""
        write_sayings(folder / "sayings.txt")
        return [
            "elman train language-model sayings.txt --layers 1 --hidden-size 128 --minutes 1",
            "elman sample sayings-model --temperature 0.7",
        ]
