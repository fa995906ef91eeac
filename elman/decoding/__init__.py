"""From probabilities to sequences: sampling, greedy and beam search, over any step function."""

from __future__ import annotations

from elman.decoding.beam import Beam, Hypothesis, search
from elman.decoding.sampling import Choice, Step, choose, generate

__all__ = ["Beam", "Choice", "Hypothesis", "Step", "choose", "generate", "search"]
