"""Learning rates as pure functions of where training stands."""

from __future__ import annotations

import math

from elman.training.config import TrainingConfig


def progress(config: TrainingConfig, step: int, epoch: float, seconds: float) -> float:
    """Return how much of the budget is used, in [0, 1]: the largest of the fractions of all budgets given.

    Args:
        config: Holds the budgets.
        step: Steps done.
        epoch: Epochs done, with the fraction of the current one.
        seconds: Seconds trained, by the clock.
    """
    fractions = [0.0]
    if config.steps is not None:
        fractions.append(step / config.steps)
    if config.epochs is not None:
        fractions.append(epoch / config.epochs)
    if config.minutes is not None:
        fractions.append(seconds / (60 * config.minutes))
    return min(1.0, max(fractions))


def learning_rate(config: TrainingConfig, step: int, epoch: int, fraction: float, decays: int) -> float:
    """Return the learning rate of the coming step.

    rate = learning_rate * min(1, (step + 1) / warm) * shape, where warm is warmup_steps, with a budget by steps at
    most a fifth of it, and shape is

        constant:  1
        cosine:    final_rate + (1 - final_rate) * (1 + cos(pi * fraction)) / 2
        step:      decay_factor ** max(0, epoch + 1 - decay_after), or decay_factor ** decays without decay_after

    Args:
        config: Holds the constants.
        step: Steps done.
        epoch: Whole epochs done.
        fraction: Budget used, see `progress`.
        decays: How often validation worsened so far.

    Source: Loshchilov and Hutter 2017, eq. 5 (cosine); Zaremba, Sutskever and Vinyals 2014, section 4.1 (step).
    """
    steps = config.warmup_steps if config.steps is None else min(config.warmup_steps, config.steps // 5)
    warm = min(1.0, (step + 1) / steps) if steps else 1.0
    return config.learning_rate * warm * _shape(config, epoch, fraction, decays)


def _shape(config: TrainingConfig, epoch: int, fraction: float, decays: int) -> float:
    if config.schedule == "cosine":
        return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * fraction)) / 2
    if config.schedule == "constant":
        return 1.0
    count = decays if config.decay_after is None else max(0, epoch + 1 - config.decay_after)
    return float(config.decay_factor**count)
