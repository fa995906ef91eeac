"""Model folders: config.json, model.safetensors and small files beside them; nothing in one is ever executed.

config.json is written last and holds size and SHA-256 of the other files, so a folder is complete if and only if its
config.json says so. README.md is left out of the hashes: it is the model card, which people edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import elman
from elman.errors import UsageError
from elman.model_config import (
    ADDED,
    CARD,
    CONFIG,
    FORMAT_VERSION,
    WEIGHTS,
    check_record,
    is_plain,
    read_checked_config,
    read_config,
    read_extra_file,
)
from elman.storage import JSON_LIMIT, json_bytes, make_folder, sync_folder, write_file
from elman.tensor_file import Expected, read_tensors, write_tensors

__all__ = ["WEIGHTS", "check_record", "read_config", "read_extra_file", "read_model_folder", "write_model_folder"]


def write_model_folder(
    folder: Path | str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    extra_files: Mapping[str, bytes | str] | None = None,
) -> None:
    """Write a model folder, or replace the model in one; each file is whole at any instant and config.json comes last.

    Args:
        folder: Where; made when missing.
        config: What is needed to build the model again; JSON values. The names "files", "format_version",
            "library_name" and "library_version" are added here.
        tensors: The weights by name, usually `model.state_dict()`.
        extra_files: Further files by plain name, e.g. "vocabulary.json", "README.md"; text is written as UTF-8.

    Raises:
        UsageError: a reserved or unusable name, or a further file that would be too large to be read.
        StorageError: the file system failed; no half file is left behind.
    """
    folder, extra_files = Path(folder), dict(extra_files or {})
    _check_names(config, extra_files)
    contents = {name: file_bytes(folder / name, content) for name, content in extra_files.items()}
    make_folder(folder)
    records = [write_tensors(folder / WEIGHTS, tensors)]
    for name, data in contents.items():
        records.append(write_file(folder / name, [data], len(data)))
    sync_folder(folder)
    files = {record.name: {"bytes": record.bytes, "sha256": record.sha256} for record in records if record.name != CARD}
    data = json_bytes({**config, **_signature(), "files": files})
    write_file(folder / CONFIG, [data], len(data))
    sync_folder(folder)


def file_bytes(path: Path, content: bytes | str) -> bytes:
    """Return what a further file will hold, text as UTF-8.

    Raises:
        UsageError: it is more than is ever read.
    """
    # A label that was the name of a folder may hold what is no UTF-8; this is JSON's escape of it.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    if len(data) > JSON_LIMIT:
        raise UsageError(
            f"{path}: must have at most {JSON_LIMIT:,} bytes, or it could not be read; got {len(data):,}",
            "a smaller vocabulary is one of words met more often: --min-count",
        )
    return data


def _signature() -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, "library_name": "elman", "library_version": elman.__version__}


def _check_names(config: Mapping[str, Any], extra_files: Mapping[str, bytes | str]) -> None:
    if taken := [name for name in ADDED if name in config]:
        raise UsageError(f"model folder: config must not use the reserved name {taken[0]!r}")
    for name in extra_files:
        if not is_plain(name) or name in (CONFIG, WEIGHTS):
            raise UsageError(f"model folder: extra file must have a plain name of its own; got {name!r}")


def read_model_folder(
    folder: Path | str, expected: Expected | Callable[[dict[str, Any]], Expected] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a model folder: sizes and hashes of all its files are checked, and nothing in it is executed.

    Args:
        folder: The model folder.
        expected: The tensors that must be there (see `tensor_file.read_tensors`), or a function from the config to
            them, e.g. one that builds the model on the meta device; checked before any weight is allocated.

    Returns:
        The config as it was given to `write_model_folder`, and the tensors by name.

    Raises:
        MissingInputError: the folder or one of its files does not exist.
        ModelFileError: damaged, unexpected content, or made by a newer Elman.
    """
    folder = Path(folder)
    config, files = read_checked_config(folder)
    wanted = expected(config) if callable(expected) else expected
    return config, read_tensors(folder / WEIGHTS, wanted, sha256=files[WEIGHTS]["sha256"])
