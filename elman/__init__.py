"""Elman: recurrent sequence models from their equations."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names and where they live. They are imported on first use, so that `import elman.equations` needs no torch.
_ORIGIN = {
    "Bidirectional": "elman.layers",
    "Cell": "elman.equations",
    "Recurrent": "elman.layers",
    "Stack": "elman.layers",
    "State": "elman.layers",
    "cells": "elman.cells",
}

__all__ = ["Bidirectional", "Cell", "Recurrent", "Stack", "State", "__version__", "cells"]


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    module = importlib.import_module(_ORIGIN[name])
    # `elman.cells` names both the module and the catalogue in it: the catalogue is what users mean.
    value = getattr(module, name)
    globals()[name] = value
    return value
