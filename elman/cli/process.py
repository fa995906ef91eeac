"""Settings of the process that make training on shared machines faster; they change no result."""

from __future__ import annotations

import ctypes
import os
import sys

# malloc.h of glibc: options of mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def settle_process() -> None:
    """Let threads sleep instead of spin, and let malloc keep the memory that every step takes and frees.

    Before torch is imported: libgomp reads its settings when it is loaded. A thread that spins at a barrier while
    another program has its partner's core wastes whole time slices: on two cores, with one of them taken by others, a
    2 x 512 LSTM trained at 2,300 characters a second spinning and 8,800 sleeping, and no slower on an idle machine.
    Fresh pages for every step cost the same model a sixth of its speed, and one with attention, whose blocks are beyond
    the 32 MiB up to which malloc can be told to keep them, a tenth more: so it is told to map none. What the user has
    set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if not any(name.startswith("MALLOC_") for name in os.environ) and sys.platform == "linux":
        allocator = getattr(ctypes.CDLL(None), "mallopt", None)
        if allocator is not None:
            for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20)):
                allocator(option, value)
