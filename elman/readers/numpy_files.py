"""Arrays in NumPy's .npz; nothing pickled is read."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError
from elman.readers.text import check_readable
from elman.storage import reading as guarded

# A method of compression that zipfile does not know is a RuntimeError; a damaged header is read as Python.
_DAMAGED = (
    *(ValueError, TypeError, LookupError, AttributeError, RuntimeError, SyntaxError, tokenize.TokenError),
    *(OSError, EOFError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile),
)


def plain_arrays(path: Path, hint: str | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file by name.

    Args:
        path: The file.
        hint: What to do about a file that is none of these.

    Raises:
        MissingInputError, StorageError: it cannot be read.
        DataError: it is damaged, no archive of arrays, or holds pickled objects.
    """
    check_readable(path)
    with guarded(path), path.open("rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise ValueError("got one array")
            with found:
                return {name: found[name] for name in found.files}
        except _DAMAGED as error:
            raise DataError(
                f"{path}: must be a whole .npz of plain arrays; {error or type(error).__name__}", hint
            ) from None
