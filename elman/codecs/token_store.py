"""Token stores: the numbers of a text in a memory-mapped file, built once, in constant memory, crash-safe."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.codecs.text import TextCodec
from elman.errors import DataError
from elman.readers import check_readable
from elman.storage import json_bytes, make_folder, read_json, record_of, storing, sync_folder, write_file, write_json

_META = "meta.json"
_TOKENS = "tokens.bin"
_FORMAT = 1


def fingerprint(path: Path) -> dict[str, Any]:
    """Return size and sha256 of a file's content.

    Raises:
        MissingInputError, DataError, StorageError: it cannot be read.
    """
    check_readable(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


@dataclass(frozen=True)
class TokenStore:
    """The tokens of a text.

    Args:
        tokens: All token numbers, memory-mapped, uint16 or uint32.
        meta: "tokens", "unknown", "characters", "source" (fingerprint), "codec" (sha256) and "sha256" of the tokens.
    """

    tokens: npt.NDArray[Any]
    meta: dict[str, Any]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def unknown(self) -> int:
        """How many tokens were not in the vocabulary."""
        return int(self.meta["unknown"])

    @classmethod
    def build(cls, path: Path, codec: TextCodec, folder: Path) -> TokenStore:
        """Return the store of a file, building it unless an equal one is there.

        Written into a temporary folder beside `folder`, synced, then renamed: a build that is cut off leaves no
        half store.

        Args:
            path: Text file.
            codec: How it is read.
            folder: Where the store is kept.

        Raises:
            DataError, MissingInputError, StorageError: the text cannot be read, or the store not written.
        """
        wanted = {"source": fingerprint(path), "codec": _codec_hash(codec), "format": _FORMAT}
        found = cls._open_equal(folder, wanted)
        if found is not None:
            return found
        make_folder(folder.parent)
        for litter in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(litter, ignore_errors=True)  # a build that was killed
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        with storing(folder):
            temporary.mkdir()  # with a mode by the umask, which mkdtemp does not give
        try:
            _write(path, codec, temporary, wanted)
            with storing(folder):
                if folder.exists():
                    shutil.rmtree(folder)
                os.rename(temporary, folder)
                sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return cls.open(folder)

    @classmethod
    def _open_equal(cls, folder: Path, wanted: dict[str, Any]) -> TokenStore | None:
        if not (folder / _META).is_file():
            return None
        try:
            store = cls.open(folder)
            if any(store.meta.get(name) != value for name, value in wanted.items()):
                return None
            return store if record_of(folder / _TOKENS).sha256 == store.meta.get("sha256") else None
        except DataError:
            return None

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """Open a store that was built before.

        Raises:
            DataError: it is incomplete or not a store.
        """
        meta = read_json(folder / _META)
        if not isinstance(meta, dict) or meta.get("format") != _FORMAT or meta.get("dtype") not in ("uint16", "uint32"):
            raise DataError(f"{folder}: must be a token store of format {_FORMAT}")
        kind = np.dtype(meta["dtype"])
        path, count = folder / _TOKENS, int(meta["tokens"])
        size = path.stat().st_size if path.is_file() else -1
        if size != count * kind.itemsize:
            raise DataError(
                f"{path}: must have {count * kind.itemsize:,} bytes; got {size:,}",
                "delete the folder to build it again",
            )
        # The system maps no empty file; a text of a byte-order mark alone, or of blanks, has no token.
        return cls(np.memmap(path, dtype=kind, mode="r", shape=(count,)) if count else np.zeros(0, kind), meta)


def _codec_hash(codec: TextCodec) -> str:
    return hashlib.sha256(json_bytes(codec.to_json())).hexdigest()


def _write(path: Path, codec: TextCodec, folder: Path, meta: dict[str, Any]) -> None:
    kind = np.dtype("uint16" if codec.size <= 1 << 16 else "uint32")
    counts = {"tokens": 0, "unknown": 0, "characters": 0}
    record = write_file(folder / _TOKENS, _pieces(path, codec, kind, counts))
    write_json(folder / _META, {**meta, **counts, "dtype": kind.name, "sha256": record.sha256})
    sync_folder(folder)


def _pieces(path: Path, codec: TextCodec, kind: np.dtype[Any], counts: dict[str, int]) -> Iterator[bytes]:
    for ids in codec.encode_file(path):
        counts["tokens"] += len(ids)
        if codec.unknown is not None:
            counts["unknown"] += int((ids == codec.unknown).sum())
        counts["characters"] += _characters(codec, ids)
        yield ids.astype(kind).tobytes()


def _characters(codec: TextCodec, ids: npt.NDArray[np.int64]) -> int:
    """How many characters of text the tokens stand for, for bits per character."""
    if codec.level == "character":
        return len(ids)
    # A word stands for itself and the blank after it; the end of a line for its newline.
    return len(codec.decode(ids)) + (1 if codec.level == "word" else 0)
