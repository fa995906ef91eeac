"""Where words go: data to stdout as UTF-8, notes to stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from elman.cli.failures import printable
from elman.errors import StorageError


def write(text: str) -> None:
    """Write data to stdout, in UTF-8 whatever the locale.

    Raises:
        StorageError: stdout is closed, or what it leads to is full.
        BrokenPipeError: the reader went away.
    """
    if sys.stdout is None:
        raise StorageError("stdout: must be open; got a closed one")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"stdout: must be writable; got {error.strerror or error}") from error


def write_line(text: str) -> None:
    """Write data and a newline to stdout."""
    write(text.removesuffix("\n") + "\n")


def write_json(document: Any) -> None:
    """Write one JSON document; numbers that are not finite become null."""
    write_line(json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False))


def finite(value: Any) -> Any:
    """Return `value` with floats that JSON does not have replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def note(text: str) -> None:
    """Write a line to stderr."""
    if sys.stderr is not None:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


def finish() -> None:
    """Flush stdout, so that a full disk is an error and not a silent loss."""
    write("")


def table(rows: list[list[str]], gap: int = 2) -> str:
    """Return rows as aligned columns; the last column is not padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = [(" " * gap).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
