"""New pieces from a model of music: each step that is drawn is the next input."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from elman.errors import DivergedError
from elman.randomness import generator
from elman.readers.notes import KEYS
from elman.readers.piano_rolls import Roll


@torch.no_grad()
def written_pieces(
    network: Any, opening: Roll | None, length: int, samples: int, temperature: float, seed: int
) -> list[Roll]:
    """Return rolls (T, 88); sample i depends on `seed` and i only.

    Args:
        network: See elman.tasks.music.NextKeys; in evaluation mode.
        opening: Steps to go on from; they stand at the start of what is returned. None for none.
        length: Steps to write.
        samples: How many.
        temperature: Divides the logits of keys, more than 0.
        seed: Seed of the draws.

    Raises:
        DivergedError: a score is not a number.
    """
    draws = [generator(seed, "sample", i) for i in range(samples)]
    known = torch.zeros(0, KEYS) if opening is None else torch.from_numpy(opening).float()
    keys, state, steps = torch.zeros(samples, KEYS), None, []
    for t in range(len(known) + length):
        scores, state = network.step(keys, state)
        if torch.isnan(scores).any():
            raise DivergedError(
                f"music: scores must be numbers; got NaN in step {t + 1}",
                "the model has diverged; train it again with a lower learning rate",
            )
        if t < len(known):
            keys = known[t].expand(samples, -1)
        else:
            uniforms = torch.stack([torch.rand(KEYS, generator=source) for source in draws])  # (B, 88)
            keys = network.head.draw(scores, uniforms, temperature)
        steps.append(keys)
    return list(torch.stack(steps, dim=1).numpy().astype(np.bool_))  # (B, T, 88)
