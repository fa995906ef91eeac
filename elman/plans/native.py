"""The compiled part of the engine: is it here, which target runs, with how many threads."""

from __future__ import annotations

import importlib
import os
import sys
from functools import lru_cache
from typing import Any

from elman.errors import UsageError, nearest

engine: Any
"""The native module; None where it was not built."""

MISSING: str | None
"""Why there is none."""

try:
    engine, MISSING = importlib.import_module("elman._engine"), None
except ImportError as error:
    engine, MISSING = None, str(error)


def available() -> bool:
    """Say whether the engine was built for this installation."""
    return engine is not None


def require_built() -> None:
    """Raise unless the engine was built.

    Raises:
        UsageError: it was not.
    """
    if engine is None:
        raise UsageError(
            f"engine 'cpu': must have been compiled when Elman was installed; {MISSING}",
            "install a C++ compiler and install Elman again, or use engine='auto'",
        )


@lru_cache(maxsize=1)
def target() -> str:
    """Return the target that runs: the best one of this processor, or ELMAN_TARGET.

    Raises:
        UsageError: ELMAN_TARGET names no target of this processor.
    """
    here: list[str] = engine.targets()
    asked = os.environ.get("ELMAN_TARGET")
    if asked and asked not in here:
        raise UsageError(
            f"ELMAN_TARGET: must be one of {', '.join(here)} on this processor; got {asked!r}{nearest(asked, here)}"
        )
    return asked or here[0]


def most_threads() -> int:
    """Return how many threads a call may use: ELMAN_THREADS, or torch's number, or without torch one a processor.

    Raises:
        UsageError: ELMAN_THREADS is not a positive whole number.
    """
    asked = os.environ.get("ELMAN_THREADS")
    if not asked:
        torch = sys.modules.get("torch")
        return len(os.sched_getaffinity(0)) if torch is None else int(torch.get_num_threads())
    if not asked.isdigit() or int(asked) < 1:
        raise UsageError(f"ELMAN_THREADS: must be a positive whole number; got {asked!r}")
    return int(asked)
