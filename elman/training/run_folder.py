"""The run folder: what was asked for, in run.json, and a lock so that one process at a time works in it."""

from __future__ import annotations

import datetime
import fcntl
import os
import platform
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import elman
from elman.errors import BusyError, DataError, MissingInputError, ModelFileError, StorageError, UsageError
from elman.storage import make_folder, read_json, storing, sync_folder, write_json

FORMAT_VERSION = 1
RUN, LOCK = "run.json", "lock"


class RunFolder:
    """A run folder held by this process; made by `create` or `open`, released by `close` or at the end of its block.

        run.json          configuration, versions, seed, data fingerprint; written before training
        metrics.jsonl     deterministic records; timing.jsonl: clocks
        checkpoints/      see `checkpoint`
        config.json ...   the best model, a model folder, when training is done

    Attributes:
        path: The folder.
        description: What run.json holds: "task", "config", "data", "seed", "environment", ...
    """

    def __init__(self, path: Path, lock: int, description: dict[str, Any]) -> None:
        self.path, self.description = path, description
        self._lock: int | None = lock

    @classmethod
    def create(cls, path: Path | str, *, task: str, config: Mapping[str, Any], data: Mapping[str, Any]) -> RunFolder:
        """Make a run folder and write its run.json.

        Args:
            path: A new or empty folder; other files in it are left alone.
            task: Name of the task.
            config: The resolved configuration of the run, JSON values, with its "seed".
            data: Fingerprint of the data, JSON values; `check_data` compares it on resume.

        Raises:
            UsageError: the folder holds a run or a model already.
            BusyError: another process works in it.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path}: run folder must be a folder; got a file")
        make_folder(path)
        lock = _lock(path / LOCK)
        try:
            remove_litter(path)
            _refuse_used(path)
            description = _describe(task, config, data)
            write_json(path / RUN, description)
            sync_folder(path)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, description)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Open an existing run folder, to resume its training.

        Raises:
            MissingInputError: there is no run.
            ModelFileError: run.json is damaged or made by a newer Elman.
            BusyError: another process works in it.
        """
        path = Path(path)
        if not (path / RUN).is_file():
            raise MissingInputError(f"{path}: run folder must hold {RUN}; got none")
        lock = _lock(path / LOCK)
        try:
            remove_litter(path)
            return cls(path, lock, read_description(path / RUN))
        except BaseException:
            os.close(lock)
            raise

    def check_data(self, data: Mapping[str, Any]) -> None:
        """Raise DataError when the data's fingerprint differs from the one the run began with."""
        recorded = self.description["data"]
        for name in sorted({*recorded, *data}):
            if recorded.get(name) != data.get(name):
                raise DataError(
                    f"{self.path}: data must be what the run began with; {name!r} was {recorded.get(name)!r};"
                    f" got {data.get(name)!r}",
                    "restore the data, or train anew in another folder",
                )

    def settle(self, **chosen: Mapping[str, Any]) -> None:
        """Add what was chosen for options that were left out, so that a resumed run has it whatever is usual by then.

        Args:
            chosen: Options by name, JSON values, for each part of "config" that they belong to.

        Raises:
            StorageError: run.json could not be written; it is as it was.
        """
        config = self.description["config"]
        config |= {part: {**config[part], **options} for part, options in chosen.items()}
        write_json(self.path / RUN, self.description)
        sync_folder(self.path)

    def close(self) -> None:
        """Release the lock; doing so twice is fine."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(path: Path) -> int:
    """Lock a file for this process and say in it who holds it. The system frees it when the process ends, however."""
    with storing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 1000, 0).decode("utf-8", "replace").strip() or "another process"
        os.close(handle)
        raise BusyError(
            f"{path.parent}: run folder must be free; got one in use by {holder}", "wait for it or stop it"
        ) from None
    except OSError as error:
        os.close(handle)
        raise StorageError(f"{path}: file system must support locks; got {error.strerror}") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on host {socket.gethostname()}\n".encode(), 0)
    return handle


def remove_litter(folder: Path) -> None:
    """Remove the temporary files and folders of processes that were killed; the caller holds the run's lock."""
    for path in folder.glob(".tmp-*"):
        with storing(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _refuse_used(path: Path) -> None:
    if (path / RUN).exists():
        raise UsageError(
            f"{path}: run folder must be new; got one that holds a run", f"continue it with: elman resume {path}"
        )
    if (path / "config.json").exists():
        raise UsageError(f"{path}: run folder must be new; got one that holds a model", "choose another folder")


def _describe(task: str, config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "task": task,
        "config": dict(config),
        "seed": config.get("seed"),
        "data": dict(data),
        "environment": environment(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
    }


def environment() -> dict[str, Any]:
    """Return versions and machine, as far as they can change results."""
    return {
        "elman": elman.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def read_description(path: Path) -> dict[str, Any]:
    """Return what the run.json at a path holds.

    Raises:
        ModelFileError, StorageError: it is damaged, of a newer Elman, or cannot be read.
    """
    description = read_json(path)
    if not isinstance(description, dict) or type(description.get("format_version")) is not int:
        raise ModelFileError(f"{path}: must describe a run; got something else")
    if description["format_version"] > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format_version must be at most {FORMAT_VERSION};"
            f" got {description['format_version']}, made by a newer Elman",
            "upgrade with: pip install --upgrade elman",
        )
    if not all(isinstance(description.get(name), dict) for name in ("config", "data")):
        raise ModelFileError(f"{path}: must hold the run's config and data; got neither or one")
    return description
