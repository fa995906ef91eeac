"""What identifies the content of a file or folder, so that a run is not resumed on other data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elman.codecs.token_store import fingerprint
from elman.errors import MissingInputError
from elman.readers import Reading
from elman.readers.folders import files_below
from elman.readers.tables import TABLES, form_of, named_files
from elman.storage import reading


def fingerprint_of(path: Path) -> dict[str, Any]:
    """Return size and sha256 of a file, or of all names and contents below a folder.

    Raises:
        MissingInputError, DataError, StorageError: it does not exist or cannot be read.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    if not path.is_dir():
        return fingerprint(path)
    return fingerprint_of_files({file.relative_to(path).as_posix(): file for file in files_below(path)})


def size_of(path: Path) -> int:
    """Return the "bytes" of `fingerprint_of` without reading them; 0 of what does not exist."""
    return sum(file.stat().st_size for file in (files_below(path) if path.is_dir() else [path]) if file.exists())


def fingerprint_of_manifest(path: Path, how: Reading) -> dict[str, Any]:
    """Return what identifies data; of a table, "files" with size and sha256 of all files that it names besides.

    Raises:
        MissingInputError, DataError, StorageError: it does not exist or cannot be read.
    """
    found = fingerprint_of(path)
    form = how.form if how.form in TABLES else form_of(path)
    if path.is_dir() or form is None:
        return found
    return found | {"files": fingerprint_of_files(named_files(path, form, how))}


def fingerprint_of_files(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return size and sha256 of names and contents of files, whatever their order.

    Args:
        files: Files by the name that stands for each.

    Raises:
        StorageError: one cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for name in sorted(files):
        with reading(files[name]), files[name].open("rb") as stream:
            length = files[name].stat().st_size
            digest.update(f"{name}\0{length}\0".encode("utf-8", "surrogateescape"))
            size += length
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return {"bytes": size, "sha256": digest.hexdigest()}
