"""Decodes .mat files of MATLAB in a process of its own; see elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to SciPy's reader ends here: some
damage makes it crash.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

_BROKEN = (ValueError, TypeError, LookupError, OSError, EOFError, MemoryError, struct.error, zlib.error)


def decode(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return name, number in its cell array, type and shape of each array, and the numbers of all of them.

    An array that is not of numbers has no type.
    """
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables = loadmat(path)
    except (*_BROKEN, MatReadError) as error:
        return {"error": f"must be a whole .mat file; {error or type(error).__name__}"}, b""
    facts: list[dict[str, Any]] = []
    data: list[bytes] = []
    for name, value in variables.items():
        if not isinstance(value, np.ndarray):
            continue
        cells = list(enumerate(value.ravel())) if value.dtype == object else [(None, value)]
        for number, cell in cells:
            fact: dict[str, Any] = {"name": name, "number": number, "type": None}
            if isinstance(cell, np.ndarray) and cell.dtype.kind in "buif":
                fact |= {"type": cell.dtype.str, "shape": cell.shape}
                data.append(cell.tobytes())
            facts.append(fact)
    return {"arrays": facts}, b"".join(data)
