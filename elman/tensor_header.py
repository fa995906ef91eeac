"""Headers of safetensors files: names, types and places of tensors, every number checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from elman.errors import ModelFileError
from elman.storage import parse_json

HEADER_LIMIT = 10 << 20
TENSOR_LIMIT = 100_000
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a number of each type, by the format's name of it."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type by the name of the format, shape, and the place of its bytes after the header."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


def damaged(path: Path, reason: str) -> ModelFileError:
    """Return the error of a file that is not what was written."""
    return ModelFileError(f"{path}: must be an undamaged file; got one where {reason}", "restore it from a copy")


def read_header(file: BinaryIO, path: Path) -> tuple[bytes, dict[str, Entry]]:
    """Return the bytes before the data, and the tensors in the order of their data.

    Raises:
        ModelFileError: damaged, or not a tensor file.
    """
    size = file.seek(0, 2)
    file.seek(0)
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > min(HEADER_LIMIT, size - 8):
        raise damaged(path, f"the header of {length} bytes does not fit ({size} bytes in all, {HEADER_LIMIT} allowed)")
    text = file.read(length)
    table = parse_json(text, str(path))
    if not isinstance(table, dict) or len(table) > TENSOR_LIMIT:
        raise damaged(path, f"the header is not a table of at most {TENSOR_LIMIT} tensors")
    table.pop("__metadata__", None)
    entries = sorted(((name, _entry(path, name, row)) for name, row in table.items()), key=lambda item: item[1].begin)
    _check_contiguous(path, dict(entries), size - 8 - length)
    return prefix + text, dict(entries)


def _entry(path: Path, name: str, row: Any) -> Entry:
    if (
        not isinstance(row, dict)
        or set(row) != {"dtype", "shape", "data_offsets"}
        or row["dtype"] not in list(ITEM_BYTES)
    ):
        raise damaged(path, f"tensor {name!r} is not described by a known dtype, shape and data_offsets")
    shape, offsets = row["shape"], row["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > 8 or _overflows(shape):
        raise damaged(path, f"tensor {name!r} has shape {str(shape)[:80]} and offsets {str(offsets)[:80]}")
    # Python integers do not overflow: a shape that pretends to be small by wrapping around is found here.
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[row["dtype"]]:
        raise damaged(path, f"tensor {name!r} has {offsets[1] - offsets[0]} bytes for shape {shape} of {row['dtype']}")
    return Entry(row["dtype"], tuple(shape), offsets[0], offsets[1])


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def _overflows(shape: list[int]) -> bool:
    """Whether strides of a shape are too large for an array of no bytes, too: one of its sizes may be 0."""
    return math.prod(size or 1 for size in shape) >= 1 << 59


def _check_contiguous(path: Path, entries: Mapping[str, Entry], size: int) -> None:
    position = 0
    for name, entry in entries.items():
        if entry.begin != position:
            raise damaged(path, f"tensor {name!r} begins at byte {entry.begin}, not {position}")
        position = entry.end
    if position != size:
        raise damaged(path, f"{size} bytes of data follow the header, not {position}")
