"""The loss of a language model on a text, with its state carried from end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from elman.architectures import LanguageModel
from elman.codecs.characters import characters_after_first
from elman.codecs.text import TextCodec
from elman.heads.softmax import IGNORED
from elman.metrics import bits_per_character, perplexity

_STEPS = 256
_MOST_LOGITS = 1 << 23  # in one piece: 32 MiB


@torch.no_grad()
def measure(model: LanguageModel, codec: TextCodec, tokens: npt.NDArray[Any], streams: int) -> dict[str, float]:
    """Measure a model on tokens; each but the first, which nothing stands before, is predicted exactly once.

    With several streams, each reads up to 256 tokens before its part without counting them, so that the state at its
    start is nearly what a single stream would have carried there.

    Args:
        model: In evaluation mode.
        codec: Of the tokens, for bits per character.
        tokens: At least 2.
        streams: Most streams read side by side; 1 for the exact value.

    Returns:
        "loss" (nats per token), "perplexity", "tokens", and "bits_per_character" where no token stands for
        unknown text.
    """
    nats, counted = _nats(model, tokens, streams)
    found = {"loss": nats / counted, "perplexity": perplexity(nats, counted), "tokens": counted}
    characters = characters_after_first(codec, tokens)
    if characters:
        found["bits_per_character"] = bits_per_character(nats, characters)
    return found


def _nats(model: LanguageModel, tokens: npt.NDArray[Any], streams: int) -> tuple[float, int]:
    """Return the sum of -ln P over all tokens but the first, and how many they are."""
    total = len(tokens) - 1
    rows = max(1, min(streams, total // _STEPS))
    share = -(-total // rows)
    starts = np.arange(rows) * share
    most = max(1, min(_STEPS, _MOST_LOGITS // (rows * model.vocabulary_size)))
    device = model.head.weight.device
    state, nats, counted = None, 0.0, 0
    for offset, width in _pieces(_STEPS if rows > 1 else 0, share, most):
        at = starts[:, None] + np.arange(offset, offset + width)[None]  # (B, T)
        safe = np.clip(at, 0, total - 1)
        y, state = model.outputs(torch.from_numpy(tokens[safe].astype(np.int64)).to(device), state)
        if offset < 0:
            # The first stream has nothing before it: it starts from the initial state.
            state = state.reset(torch.from_numpy(starts == 0).to(device), model.initial_state(rows))
            continue
        inside = at < total  # the last streams may end early
        wanted = np.where(inside, tokens[safe + 1].astype(np.int64), IGNORED)
        nats += float(model.head.nats(model.logits(y), torch.from_numpy(wanted).to(device)))
        counted += int(inside.sum())
    return nats, counted


def _pieces(lead: int, share: int, most: int) -> list[tuple[int, int]]:
    """Return offset and width of the pieces that are read one after the other; those of the lead are negative."""
    before = [(offset, min(most, -offset)) for offset in range(-lead, 0, most)]
    return before + [(offset, min(most, share - offset)) for offset in range(0, share, most)]
