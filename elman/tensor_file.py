"""Tensors in safetensors files: written in one pass with their hash, read back only after every number was checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from elman.errors import DivergedError, ModelFileError, nearest
from elman.storage import FileRecord, open_regular, reading, write_file
from elman.tensor_header import Entry, damaged, read_header

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}

Expected = Mapping[str, Tensor] | Mapping[str, tuple[int, ...]]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> FileRecord:
    """Write tensors, in the order given, as a safetensors file by `storage.write_file`.

    Extra memory is that of the largest tensor at most. Any safetensors reader can open the file.

    Raises:
        StorageError: the file system failed; nothing is left behind.
    """
    header, size = _header(tensors)
    return write_file(path, _chunks(header, tensors), len(header) + size)


def _header(tensors: Mapping[str, Tensor]) -> tuple[bytes, int]:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the format wants the data to begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text, offset


def _chunks(header: bytes, tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    yield memoryview(header)
    for tensor in tensors.values():
        yield _bytes_of(tensor.detach().cpu().contiguous())


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous CPU tensor as bytes, without a copy."""
    flat = tensor.reshape(-1)
    return (flat if flat.numel() == 0 else flat.view(torch.uint8)).numpy().data


def read_entries(path: Path) -> dict[str, Entry]:
    """Return names, types and shapes of a tensor file after checking its header; reads no tensor."""
    with open_regular(path) as file, reading(path):
        return read_header(file, path)[1]


def read_tensors(path: Path, expected: Expected | None = None, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a tensor file after checking header, names, types and shapes; nothing is allocated before.

    Args:
        path: The file.
        expected: What must be in it and nothing else: name -> shape, or name -> tensor (shape and type; its values
            do not matter, so it may live on the meta device); None accepts what is there.
        sha256: Hash the whole file must have; None does not check it.

    Raises:
        ModelFileError: damaged, not a tensor file, or not the expected tensors.
        MissingInputError: no such file.
    """
    with open_regular(path) as file, reading(path):
        head, entries = read_header(file, path)
        if expected is not None:
            check_expected(path, entries, expected)
        digest = hashlib.sha256(head)
        tensors = {name: _read_tensor(file, path, name, entry, digest) for name, entry in entries.items()}
    if sha256 is not None and digest.hexdigest() != sha256:
        raise damaged(path, "its SHA-256 differs from the recorded one")
    return tensors


def check_expected(path: Path, entries: Mapping[str, Entry], expected: Expected) -> None:
    """Raise ModelFileError unless exactly the expected tensors, with their shapes and types, are there."""
    if missing := [name for name in expected if name not in entries]:
        raise ModelFileError(f"{path}: must hold tensor {missing[0]!r}; got none ({len(missing)} missing)")
    for name, entry in entries.items():
        if name not in expected:
            raise ModelFileError(f"{path}: must hold the model's tensors only; got {name!r}{nearest(name, expected)}")
        _check_entry(path, name, entry, expected[name])


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise DivergedError unless every weight that was read from a file is a finite number."""
    for name, tensor in tensors.items():
        if not bool((here := torch.isfinite(tensor)).all()):
            raise DivergedError(
                f"{path}: tensor {name!r} must hold finite numbers; got {float(tensor[~here][0])}",
                "the model has diverged; train it again with a lower learning rate",
            )


def _check_entry(path: Path, name: str, entry: Entry, wanted: Tensor | tuple[int, ...]) -> None:
    shape = tuple(wanted.shape) if isinstance(wanted, Tensor) else tuple(wanted)
    if entry.shape != shape:
        raise ModelFileError(f"{path}: tensor {name!r} must have shape {shape}; got {entry.shape}")
    dtype = DTYPES[entry.code]
    if isinstance(wanted, Tensor) and dtype != wanted.dtype:
        raise ModelFileError(f"{path}: tensor {name!r} must be {wanted.dtype}; got {dtype}")
    if not isinstance(wanted, Tensor) and not dtype.is_floating_point:
        raise ModelFileError(f"{path}: tensor {name!r} must hold real numbers; got {dtype}")


def _read_tensor(file: BinaryIO, path: Path, name: str, entry: Entry, digest: Any) -> Tensor:
    dtype = DTYPES[entry.code]
    stored = torch.uint8 if dtype is torch.bool else dtype
    tensor = torch.empty(entry.shape, dtype=stored, device="cpu")
    view = _bytes_of(tensor)
    if view.nbytes and file.readinto(view) != view.nbytes:  # type: ignore[attr-defined]
        raise damaged(path, f"tensor {name!r} ends early")
    digest.update(view)
    if dtype is not torch.bool:
        return tensor
    if bool((tensor > 1).any()):
        raise damaged(path, f"tensor {name!r} of truth values holds other numbers")
    return tensor.to(torch.bool)
