"""How time and memory are taken: peers in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]
TURN = 0.05
"""Seconds that a peer's turn should last; a longer call is a turn by itself."""

FEWEST_ROUNDS, MOST_ROUNDS = 3, 25


def in_turns(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """Time every call, round after round, for about `seconds` each; they must have run once before.

    A turn of short calls begins with one that is not counted: the caches hold what the peer before has used, and its
    threads may still spin.
    """
    lasts = {name: _once(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    number = {name: max(1, min(50, int(TURN / last))) for name, last in lasts.items()}
    round_lasts = sum(max(TURN, last) for last in lasts.values())
    rounds = int(max(FEWEST_ROUNDS, min(MOST_ROUNDS, seconds * len(calls) / round_lasts)))
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        for name, call in calls.items():
            if number[name] > 1:
                call()
            times[name] += [_once(call) for _ in range(number[name])]
    gc.enable()
    return times


def _once(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def quartiles(times: list[float]) -> dict[str, float]:
    """Median and quartiles in milliseconds, and how many."""
    low, median, high = (round(1e3 * float(q), 4) for q in np.quantile(times, [0.25, 0.5, 0.75]))
    return {"median": median, "low": low, "high": high, "calls": len(times)}


def peak_of(call: Call) -> float:
    """MiB by which the memory of the process grows at most during a call (Linux)."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets the peak back to what is held now
    call()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
