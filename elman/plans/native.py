"""The compiled part of the engine: is it here, which target runs, with how many threads."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from elman.errors import UsageError, nearest

engine: Any
"""The native module; None where it was not built."""

MISSING: str | None
"""Why there is none."""

try:
    engine, MISSING = importlib.import_module("elman._engine"), None
except ImportError as error:
    engine, MISSING = None, str(error)


class Unit(NamedTuple):
    """What of a processor multiplies bfloat16, and how much faster than float32 an LSTM of 512 units trains by it."""

    name: str
    gain: float


BF16_UNITS = {"amx": Unit("AMX", 3.0), "avx512_bf16": Unit("AVX-512-BF16", 1.7)}
"""Those targets whose products of bfloat16 are not done at the speed of float32."""


MOST_THREADS = 4096
"""The most threads that may be asked for."""

SOURCES = Path(__file__).parents[2] / "csrc"
"""What the engine is built from, in a checkout; elsewhere there is no such folder."""


def digest_of(sources: Path) -> str:
    """Return the number that csrc/CMakeLists.txt bakes into the engine: SHA-256 of the list of those of its files.

    Args:
        sources: The folder csrc.
    """
    found = [p for pattern in ("*.h", "*.cc", "targets/*.cc", "CMakeLists.txt") for p in sources.glob(pattern)]
    digests = (hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(found, key=Path.as_posix))
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def is_stale(module: Any) -> bool:
    """Say whether an engine was built from other sources than those that lie beside the package."""
    return SOURCES.is_dir() and getattr(module, "SOURCE_DIGEST", None) != digest_of(SOURCES)


# Asked once: compilers that trace a call can look at a number, and not at files.
STALE = engine is not None and is_stale(engine)


def _require_current() -> None:
    if STALE:
        raise UsageError(
            "the C++ engine: must have been built from the sources in csrc/; got one that was built from others",
            "build it again: pip install -e .",
        )


def available() -> bool:
    """Say whether the engine was built for this installation.

    Raises:
        UsageError: it was, but from other sources than those of this checkout.
    """
    if engine is None:
        return False
    _require_current()
    return True


def require_built() -> None:
    """Raise unless the engine was built.

    Raises:
        UsageError: it was not, or from other sources than those of this checkout.
    """
    if engine is None:
        raise UsageError(
            f"engine 'cpu': must have been compiled when Elman was installed; {MISSING}",
            "install a C++ compiler and install Elman again, or use engine='auto'",
        )
    _require_current()


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
        UsageError: ELMAN_THREADS is not a whole number from 1 to MOST_THREADS.
    """
    asked = os.environ.get("ELMAN_THREADS")
    if not asked:
        torch = sys.modules.get("torch")
        return len(os.sched_getaffinity(0)) if torch is None else int(torch.get_num_threads())
    if not asked.isdecimal() or not 1 <= int(asked) <= MOST_THREADS:
        raise UsageError(f"ELMAN_THREADS: must be a whole number from 1 to {MOST_THREADS}; got {asked!r}")
    return int(asked)
