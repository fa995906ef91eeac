"""Settings of the process that make training on shared machines faster; they change no result."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from pathlib import Path

# malloc.h of glibc: options of mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_SPINS, _SPINS_BESIDE_OTHERS = 10_000, 1_000
_LOOKS, _SECONDS_BETWEEN = 4, 0.004


def settle_process() -> None:
    """Say how long waiting threads spin, and let malloc keep the memory that every step takes and frees.

    Before torch is imported: libgomp reads its settings when it is loaded. On processors that others want too, a thread
    that spins at a barrier wastes the time slices of the partner it waits for, so it sleeps almost at once: a net of
    67,000 parameters trained in 7 s beside another program, and in 14 to 29 s when it spun for longer. On idle
    processors sleeping is what costs, above all on virtual machines, where waking a processor is slow: 13 to 16 s, and
    6 to 9 s with some 0.3 ms of spinning before; a 2 x 512 LSTM does not care.
    Fresh pages for every step cost that LSTM a sixth of its speed, and one with attention, whose blocks are beyond
    the 32 MiB up to which malloc can be told to keep them, a tenth more: so it is told to map none. What the user has
    set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS_BESIDE_OTHERS if others_run() else _SPINS))
    if not any(name.startswith("MALLOC_") for name in os.environ) and sys.platform == "linux":
        allocator = getattr(ctypes.CDLL(None), "mallopt", None)
        if allocator is not None:
            for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20)):
                allocator(option, value)


def others_run(statistics: Path = Path("/proc/stat")) -> bool:
    """Say whether other programs kept a processor of this machine busy in a short while; False where nobody counts.

    Args:
        statistics: What Linux counts; "procs_running" has all that run or wait for a processor, this program too.
    """
    for look in range(_LOOKS):
        time.sleep(_SECONDS_BETWEEN if look else 0)
        found = (
            re.search(r"^procs_running (\d+)$", statistics.read_text(), re.MULTILINE) if statistics.exists() else None
        )
        if found is None or int(found[1]) < 2:
            return False
    return True
