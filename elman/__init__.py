"""Elman: recurrent sequence models from their equations."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from elman.cells import cells
from elman.equations import Cell

if TYPE_CHECKING:
    from elman import torch as torch
    from elman.bridges.accelerate import accelerate
    from elman.layers import Bidirectional, Recurrent, Stack, State

__version__ = "0.1.0"

# What needs torch is imported on first use, so that `import elman` and the equations do without.
_ORIGIN = {
    "Bidirectional": "elman.layers",
    "Recurrent": "elman.layers",
    "Stack": "elman.layers",
    "State": "elman.layers",
    "accelerate": "elman.bridges.accelerate",
}

# Not "torch": a star import would hide torch itself.
__all__ = ["Bidirectional", "Cell", "Recurrent", "Stack", "State", "__version__", "accelerate", "cells"]


def __getattr__(name: str) -> Any:
    if name == "torch":
        return importlib.import_module("elman.torch")
    if name not in _ORIGIN:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    module = importlib.import_module(_ORIGIN[name])
    value = getattr(module, name)
    globals()[name] = value
    return value
