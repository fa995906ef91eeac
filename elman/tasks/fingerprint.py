"""What identifies the content of a file or folder, so that a run is not resumed on other data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from elman.codecs.token_store import fingerprint
from elman.errors import MissingInputError
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
    digest, size = hashlib.sha256(), 0
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(
            f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode("utf-8", "surrogateescape")
        )
        size += file.stat().st_size
        with reading(file), file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return {"bytes": size, "sha256": digest.hexdigest()}
