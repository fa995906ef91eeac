"""A language model of characters as the beam search of speech recognition asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from elman.errors import UsageError
from elman.layers import StackState
from elman.model_config import CONFIG
from elman.tasks.language_model import load
from elman.tasks.language_model_use import LoadedLanguageModel


@dataclass
class Said:
    """A text so far. What follows it is worked out when somebody asks: most texts of a beam never grow.

    Args:
        token: Its last token in the language model.
        before: State of the language model before that token.
        after, logs: State after it and ln P of each token that may follow; None until somebody asks.
    """

    token: int
    before: StackState | None
    after: StackState | None = None
    logs: list[float] | None = None


class LetterModel:
    """ln P(symbol | symbols before) by a language model of characters; a text begins where a line does.

    Args:
        model: The language model.
        symbols: The symbols that labels 1, 2, ... stand for.

    Raises:
        UsageError: the model is not one of characters, or does not know one of the symbols.
    """

    def __init__(self, model: LoadedLanguageModel, symbols: Sequence[str]) -> None:
        if model.codec.level != "character":
            raise UsageError(f"language_model: must be one of characters; got one of {model.codec.level}s")
        self.model = model
        self._tokens = [int(model.codec.encode(symbol)[0]) for symbol in symbols]
        unknown = [s for s, token in zip(symbols, self._tokens, strict=True) if token == model.codec.unknown]
        if unknown:
            raise UsageError(
                f"language_model: must know every symbol; it does not know {', '.join(map(repr, unknown))}"
            )

    def start(self) -> Said:
        """Return the text before the first symbol."""
        return Said(self.model.start, None)

    def after(self, state: Said, label: int) -> tuple[float, Said]:
        """Return ln P(label | text) and the text that is longer by it."""
        logs = self._next(state)
        token = self._tokens[label - 1]
        return logs[token], Said(token, state.after)

    def _next(self, said: Said) -> list[float]:
        if said.logs is None:
            with torch.no_grad():
                scores, said.after = self.model.model.step(torch.tensor([said.token]), said.before)
            said.logs = torch.log_softmax(scores[0], dim=0).tolist()
        return said.logs


def letter_model(folder: Path, symbols: tuple[str, ...]) -> LetterModel:
    """Return the language model of a folder for these symbols; loaded once for all batches.

    Raises:
        MissingInputError, ModelFileError, UsageError: there is none, it is damaged, or does not fit.
    """
    config = folder / CONFIG
    return _loaded(folder, symbols, config.read_bytes() if config.is_file() else b"")


@lru_cache(maxsize=1)
def _loaded(folder: Path, symbols: tuple[str, ...], config: bytes) -> LetterModel:
    """The model of a folder whose config holds the hashes of its files: a model trained anew there is another."""
    return LetterModel(load(folder), symbols)
