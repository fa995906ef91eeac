"""Layers: any cell over ragged batches, stacked, reversed, regularised."""

from __future__ import annotations

from elman.layers.bidirectional import Bidirectional
from elman.layers.penalties import activation_penalty
from elman.layers.recurrent import Recurrent
from elman.layers.stack import Stack
from elman.layers.state import StackState, State
from elman.layers.weights import Weights

__all__ = ["Bidirectional", "Recurrent", "Stack", "StackState", "State", "Weights", "activation_penalty"]
