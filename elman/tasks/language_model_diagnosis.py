"""Diagnosis of a trained language model on a text, or on what it writes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elman.decoding import generate
from elman.diagnosis import Diagnosis, diagnose_language_model
from elman.errors import DataError, UsageError
from elman.readers import check_readable
from elman.tasks.language_model_use import LoadedLanguageModel

WINDOWS = 8
_MOST_TOKENS = 1_000_000


def diagnose_model(folder: Path, text: Path | None = None, steps: int = 200, seed: int = 0) -> Diagnosis:
    """Diagnose the language model in a folder; see elman.diagnosis.

    Args:
        folder: A model folder.
        text: A text to read, in 8 windows spread evenly over its first million tokens; None for what the model writes.
        steps: T, tokens read before the one whose loss is followed back; at least 2.
        seed: Of what the model writes.

    Returns:
        One entry for each layer.

    Raises:
        MissingInputError, ModelFileError: there is no model, or it is damaged.
        DataError: the text is too short or cannot be read.
        UsageError: steps is less than 2.
    """
    if steps < 2:
        raise UsageError(f"diagnosis: steps must be at least 2; got {steps}")
    loaded = LoadedLanguageModel.load(folder)
    tokens = written(loaded, steps, seed) if text is None else windows(loaded, text, steps)
    data = f"written by the model itself (seed {seed})" if text is None else f"windows of {text}"
    return diagnose_language_model(loaded.model, tokens, title=str(folder), data=data)


def windows(loaded: LoadedLanguageModel, text: Path, steps: int) -> Tensor:
    """Return token numbers (8, steps + 1) of windows of a text."""
    check_readable(text)
    pieces, count = [], 0
    for piece in loaded.codec.encode_file(text):
        pieces.append(piece)
        count += len(piece)
        if count >= _MOST_TOKENS:
            break
    if count < steps + 1:
        raise DataError(f"{text}: must have at least {steps + 1} tokens for {steps} steps; got {count}", "lower steps")
    tokens = np.concatenate(pieces).astype(np.int64)
    starts = np.linspace(0, len(tokens) - steps - 1, WINDOWS).astype(np.int64)
    return torch.from_numpy(tokens[starts[:, None] + np.arange(steps + 1)])


@torch.no_grad()
def written(loaded: LoadedLanguageModel, steps: int, seed: int) -> Tensor:
    """Return token numbers (8, steps + 1): the start token and what the model writes after it."""
    rows = generate(loaded.model.step, None, [loaded.start], steps, samples=WINDOWS, seed=seed)
    return torch.tensor([[loaded.start, *row] for row in rows])
