"""Weights of a model folder as NumPy arrays: each asked for by name and shape, none left over."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from elman.errors import DivergedError, ModelFileError
from elman.storage import open_regular, reading
from elman.tensor_header import Entry, damaged, read_header

WITH_TORCH = "load the model with elman.tasks.load, which needs torch"
"""What to do about a model that is sound and has parts that this runtime does not know."""
Floats = npt.NDArray[np.float32]


class Arrays:
    """The tensors of a file; see `read_arrays`.

    Args:
        path: The file, for errors.
        found: Arrays by name.
    """

    def __init__(self, path: Path, found: dict[str, Floats]) -> None:
        self._path, self._found = path, found
        self._left = set(found)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def shape(self, name: str, axes: int | None = None) -> tuple[int, ...]:
        """Return the shape of an array.

        Args:
            name: Its name.
            axes: How many it must have; None for any number.

        Raises:
            ModelFileError: there is none of that name, or it has another number of axes.
        """
        if name not in self._found:
            raise ModelFileError(f"{self._path}: must hold tensor {name!r}; got none", WITH_TORCH)
        shape = self._found[name].shape
        if axes is not None and len(shape) != axes:
            raise ModelFileError(f"{self._path}: tensor {name!r} must have {axes} axes; got shape {shape}", WITH_TORCH)
        return shape

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return an array.

        Raises:
            ModelFileError: there is none of that name, or it has another shape.
        """
        if self.shape(name) != shape:
            raise ModelFileError(f"{self._path}: tensor {name!r} must have shape {shape}; got {self.shape(name)}")
        self._left.discard(name)
        return self._found[name]

    def finish(self) -> None:
        """Check that every array was taken.

        Raises:
            ModelFileError: one was not, so the model has a part that this runtime does not know.
        """
        if self._left:
            raise ModelFileError(
                f"{self._path}: must hold tensors that elman.runtime knows; got {', '.join(sorted(self._left)[:5])}",
                WITH_TORCH,
            )


def read_arrays(path: Path, sha256: str) -> Arrays:
    """Read a tensor file of float32 after checking its header.

    Args:
        path: The file.
        sha256: Hash the whole file must have.

    Raises:
        ModelFileError: damaged, or of numbers of another type.
        DivergedError: a number is not finite.
        MissingInputError: no such file.
    """
    with open_regular(path) as file, reading(path):
        head, entries = read_header(file, path)
        digest = hashlib.sha256(head)
        found = {name: _read(file, path, name, entry, digest) for name, entry in entries.items()}
    if digest.hexdigest() != sha256:
        raise damaged(path, "its SHA-256 differs from the recorded one")
    return Arrays(path, found)


def _read(file: BinaryIO, path: Path, name: str, entry: Entry, digest: Any) -> Floats:
    if entry.code != "F32":
        raise ModelFileError(f"{path}: tensor {name!r} must be of type F32; got {entry.code}")
    array = np.empty(entry.shape, "<f4")
    data = array.reshape(-1).view(np.uint8).data
    if data.nbytes and file.readinto(data) != data.nbytes:  # type: ignore[attr-defined]
        raise damaged(path, f"tensor {name!r} ends early")
    digest.update(data)
    if not np.isfinite(array).all():
        raise DivergedError(
            f"{path}: tensor {name!r} must hold finite numbers; got {array[~np.isfinite(array)][0]}",
            "the model has diverged; train it again with a lower learning rate",
        )
    return array
