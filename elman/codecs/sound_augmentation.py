"""Sounds changed at random in training: speed, masks over time and frequency, crops; draws of elman.randomness."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.randomness import draw_generator

WIDEST_TIME, WIDEST_FREQUENCY = 0.1, 0.2
"""Largest share of the steps, and of the features, that one mask covers."""


def drawn_speed(spread: float) -> float:
    """Draw how many times faster a sound is played: 1 - spread, 1 or 1 + spread, each as likely.

    Three speeds, not all between them, so that features need to be made three times only.

    Source: Ko et al. 2015, "Audio augmentation for speech recognition", whose speeds are 0.9, 1 and 1.1.
    """
    return 1 + spread * (int(torch.randint(3, (), generator=draw_generator("speed"))) - 1)


def masked(features: Tensor, time_masks: int, frequency_masks: int) -> Tensor:
    """Return normalised features (T, F) with bands of them 0, which is their mean.

    A mask over time covers 0 to floor(0.1 T) steps, one over frequency 0 to floor(0.2 F) features; width and place
    are uniform.

    Args:
        features: (T, F).
        time_masks, frequency_masks: How many of each.

    Source: Park et al. 2019, "SpecAugment", section 2, without time warping.
    """
    features = features.clone()
    for _ in range(time_masks):
        features[_span(len(features), WIDEST_TIME, "time mask")] = 0
    for _ in range(frequency_masks):
        features[:, _span(features.shape[1], WIDEST_FREQUENCY, "frequency mask")] = 0
    return features


def cropped(features: Tensor, steps: int) -> Tensor:
    """Return at most `steps` consecutive steps of features (T, F), from a drawn one on."""
    spare = len(features) - steps
    if spare <= 0:
        return features
    begin = int(torch.randint(spare + 1, (), generator=draw_generator("crop")))
    return features[begin : begin + steps]


def _span(length: int, widest: float, purpose: str) -> slice:
    draws = draw_generator(purpose)
    width = int(torch.randint(int(widest * length) + 1, (), generator=draws))
    begin = int(torch.randint(length - width + 1, (), generator=draws))
    return slice(begin, begin + width)
