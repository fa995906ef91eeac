"""JSON lines that survive a crash: one record a line, cut back to the checkpoint on resume."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from elman.errors import MissingInputError, ModelFileError
from elman.storage import BLOCK, parse_json, storing


class JsonLines:
    """A file of JSON records that only grows; `truncate` takes it back to an earlier length.

    metrics.jsonl holds only what a rerun would compute again, so that a resumed run leaves the same bytes as an
    uninterrupted one; clocks go to timing.jsonl.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storing(path):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return os.fstat(self._handle).st_size

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; a number that is not finite becomes null, with the reason in "<name>_reason"."""
        line = (json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
        with storing(self.path, len(line)):
            while line:
                line = line[os.write(self._handle, line) :]

    def sync(self) -> None:
        """Flush to disk."""
        with storing(self.path):
            os.fsync(self._handle)

    def truncate(self, size: int) -> int:
        """Cut the file back to `size` bytes, or to its last whole line before that; return how many bytes were lost.

        More than 0 lost bytes means that the file had been shortened by somebody else.
        """
        with storing(self.path):
            whole = self._end_of_line(min(size, self.size))
            os.ftruncate(self._handle, whole)
        return size - whole

    def _end_of_line(self, size: int) -> int:
        """Return where the last whole line within `size` bytes ends; read backwards, since a log may be large."""
        while size > 0:
            begin = max(0, size - BLOCK)
            if (place := os.pread(self._handle, size - begin, begin).rfind(b"\n")) >= 0:
                return begin + place + 1
            size = begin
        return 0


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, float) and not math.isfinite(value):
            result[name], result[f"{name}_reason"] = None, str(value)
        else:
            result[name] = value
    return result


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file; a torn last line is left out.

    Raises:
        MissingInputError: no such file.
        ModelFileError: another line is not a JSON object; the text names it.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: metrics must exist; got none")
    lines = path.read_bytes().split(b"\n")[:-1]
    records = [parse_json(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise ModelFileError(f"{path}:{number}: must be a JSON object; got {str(record)[:60]}")
    return records
