"""Durable files: a write is complete or absent, flushed to disk, with modes by the umask and errors that say why."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from elman.errors import MissingInputError, ModelFileError, StorageError, nearest

BLOCK = 1 << 20
JSON_LIMIT = 64 << 20


@dataclass(frozen=True)
class FileRecord:
    """What was written: name inside its folder, size in bytes, SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


def free_bytes(path: Path) -> int | None:
    """Return how many bytes the file system of `path` (or of its nearest existing parent) has free; None: unknown."""
    for place in (path, *path.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


@contextmanager
def storing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that names path, bytes needed and bytes free."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        size = "" if needed is None else f"; needs {needed} bytes"
        free = free_bytes(path)
        left = "" if free is None else f", {free} bytes are free"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free space or choose another folder" if full else "check the disk and the permissions of the folder"
        raise StorageError(f"{path}: must be writable{size}{left}; got {error.strerror or error}", hint) from error


def write_file(path: Path, chunks: Iterable[bytes | memoryview], needed: int | None = None) -> FileRecord:
    """Write a file so that at any instant it is the old one or the new one, whole; flush it; return its record.

    The bytes go to a temporary file of the same folder, which is flushed and renamed. The rename itself is durable
    only after `sync_folder(path.parent)`.

    Raises:
        StorageError: writing, flushing or renaming failed; nothing is left behind.
    """
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with storing(path, needed):
        try:
            record = _write_new(temporary, path.name, chunks)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return record


def _write_new(path: Path, name: str, chunks: Iterable[bytes | memoryview]) -> FileRecord:
    digest, size = hashlib.sha256(), 0
    # Mode 0o666 less the umask, as for any file a user makes.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        for chunk in chunks:
            size += _write_all(handle, chunk)
            digest.update(chunk)
        os.fsync(handle)
    finally:
        os.close(handle)
    return FileRecord(name, size, digest.hexdigest())


def _write_all(handle: int, chunk: bytes | memoryview) -> int:
    view = memoryview(chunk)
    if view.nbytes == 0:
        return 0
    view, done = view.cast("B"), 0
    while done < len(view):
        done += os.write(handle, view[done:])
    return done


def write_json(path: Path, value: Any) -> FileRecord:
    """Write `value` as JSON (sorted keys, no NaN) by `write_file`."""
    data = json_bytes(value)
    return write_file(path, [data], len(data))


def json_bytes(value: Any) -> bytes:
    """Return `value` as readable JSON; the same value always gives the same bytes.

    What is no UTF-8 of a file's name stands in it as JSON's own escape, and is the same name when it is read.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def sync_file(path: Path) -> None:
    """Flush a file that somebody else wrote."""
    with storing(path):
        _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Flush a folder, which makes the names in it durable."""
    with storing(path):
        _sync(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; make the new names durable."""
    with storing(path):
        missing = [place for place in (path, *path.parents) if not place.is_dir()]
        path.mkdir(parents=True, exist_ok=True)
        for place in reversed(missing):
            sync_folder(place.parent)


def nearest_beside(path: Path, folders: bool = False) -> str:
    """Return "; did you mean 'x'?" for what stands where `path` should and has a similar name; nothing without one.

    Args:
        path: What does not exist.
        folders: Whether a folder is meant.
    """
    try:
        names = [place.name for place in path.parent.iterdir() if not folders or place.is_dir()]
    except OSError:
        return ""
    return nearest(path.name, names)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; refuse links, pipes and devices that a hostile folder may hold.

    Raises:
        MissingInputError: there is no such file.
        ModelFileError: it is not a regular file.
        StorageError: the file system failed.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: file must exist; got none") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise ModelFileError(f"{path}: must be a regular file; got a link or device") from error
        raise StorageError(f"{path}: must be readable; got {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ModelFileError(f"{path}: must be a regular file; got something else")
    return os.fdopen(handle, "rb")


def record_of(path: Path) -> FileRecord:
    """Read a regular file once and return its size and hash."""
    digest, size = hashlib.sha256(), 0
    with open_regular(path) as file, reading(path):
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return FileRecord(path.name, size, digest.hexdigest())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError while reading into a StorageError that names the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: must be readable; got {error.strerror or error}") from error


def read_bytes(path: Path, limit: int = JSON_LIMIT) -> bytes:
    """Read a regular file of at most `limit` bytes."""
    with open_regular(path) as file, reading(path):
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ModelFileError(f"{path}: must have at most {limit} bytes; got more")
    return data


def read_json(path: Path, limit: int = JSON_LIMIT) -> Any:
    """Read strict JSON: UTF-8, no duplicate names, no NaN or Infinity, bounded size and depth."""
    return parse_json(read_bytes(path, limit), str(path))


def parse_json(data: bytes, where: str) -> Any:
    """Parse strict JSON; see `read_json`.

    Raises:
        ModelFileError: not strict JSON; the text says where and why.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ModelFileError(f"{where}: JSON must not be nested this deeply") from None
    except ValueError as error:
        raise ModelFileError(f"{where}: must be valid JSON; got {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name given twice in one object")
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text}, which JSON does not have")


def remove_folder(path: Path) -> None:
    """Remove a folder with everything in it; a missing one is fine."""
    with storing(path):
        if path.exists():
            shutil.rmtree(path)
