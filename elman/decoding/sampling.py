"""One token after the other, drawn or the most probable: temperature, top-k, top-p, and generation step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from elman.errors import DivergedError, UsageError
from elman.randomness import generator
from elman.sampling import Choice

__all__ = ["Choice", "Step", "choose", "generate"]

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


def choose(logits: Tensor, uniforms: Tensor, choice: Choice) -> Tensor:
    """Choose one token for each row.

    Tokens are ranked by probability, the tail is cut by both limits, each applied to the probabilities at the given
    temperature, and the token is the one in whose share of the cumulated
    probabilities the uniform draw falls.

    Args:
        logits: (B, V).
        uniforms: (B,), in [0, 1), one for each row.
        choice: How.

    Returns:
        Token numbers (B,).

    Raises:
        DivergedError: a logit is not a number, or the largest of a row is infinite.
    """
    top = logits.amax(dim=1, keepdim=True)  # NaN where any is
    if not top.isfinite().all():
        row = int((~top.isfinite()).flatten().nonzero()[0])
        raise DivergedError(
            f"choose: logits must be numbers; got NaN or infinity in row {row}",
            "the model has diverged; train it again with a lower learning rate",
        )
    if choice.greedy:
        return logits.argmax(dim=1)
    probabilities = torch.softmax((logits.double() - top) / choice.temperature, dim=1)
    ranked, order = probabilities.sort(dim=1, descending=True, stable=True)
    if choice.top_k is not None:
        ranked[:, choice.top_k :] = 0.0
    if choice.top_p is not None:
        before = ranked.cumsum(dim=1) - ranked
        ranked = ranked.masked_fill(before >= choice.top_p, 0.0)
    shares = ranked.cumsum(dim=1)
    place = (uniforms.double().unsqueeze(1) * shares[:, -1:] >= shares).sum(dim=1)
    last = (ranked > 0).sum(dim=1) - 1
    return order.gather(1, torch.minimum(place, last).unsqueeze(1)).squeeze(1)


def generate(
    step: Step,
    state: Any,
    prompt: Sequence[int],
    length: int,
    *,
    samples: int = 1,
    seed: int = 0,
    choice: Choice | None = None,
    finished: Callable[[list[int]], bool] | None = None,
) -> list[list[int]]:
    """Write tokens one after the other; each chosen token is the next input.

    Sample i depends on `seed` and i only, not on how many are drawn together.

    Args:
        step: Takes tokens (B,) and a state, returns logits (B, V) and the state after.
        state: State before the prompt, for B = samples.
        prompt: Tokens to read first, at least 1.
        length: Most tokens to write, at least 1.
        samples: B.
        seed: Seed of the draws.
        choice: How tokens are chosen.
        finished: Says of the tokens so far that a sample is done.

    Returns:
        The tokens of each sample, without the prompt.
    """
    if not prompt:
        raise UsageError("generate: the prompt must have at least one token; got none")
    if length < 1 or samples < 1:
        raise UsageError(f"generate: length and samples must be at least 1; got {length} and {samples}")
    choice = choice or Choice()
    draws = [generator(seed, "sample", i) for i in range(samples)]
    written: list[list[int]] = [[] for _ in range(samples)]
    done = [False] * samples
    logits = torch.empty(0)
    for token in prompt:
        logits, state = step(torch.full((samples,), token), state)
    for _ in range(length):
        uniforms = torch.tensor(
            [float(torch.rand((), generator=g, dtype=torch.float64)) for g in draws], dtype=torch.float64
        )
        chosen = choose(logits, uniforms, choice)
        for i, token in enumerate(chosen.tolist()):
            if not done[i]:
                written[i].append(token)
                done[i] = finished is not None and finished(written[i])
        if all(done):
            break
        logits, state = step(chosen, state)
    return written
