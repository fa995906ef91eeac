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
from elman.errors import MissingInputError, ModelFileError, UsageError
from elman.storage import FileRecord, json_bytes, make_folder, read_bytes, read_json, record_of, sync_folder, write_file
from elman.tensor_file import Expected, damaged, read_tensors, write_tensors

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
CONFIG_LIMIT = 16 << 20
_RESERVED = ("files", "format_version", "library_name", "library_version")


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
        UsageError: a reserved or unusable name.
        StorageError: the file system failed; no half file is left behind.
    """
    folder, extra_files = Path(folder), dict(extra_files or {})
    _check_names(config, extra_files)
    make_folder(folder)
    records = [write_tensors(folder / WEIGHTS, tensors)]
    for name, content in extra_files.items():
        data = content.encode("utf-8") if isinstance(content, str) else content
        records.append(write_file(folder / name, [data], len(data)))
    sync_folder(folder)
    files = {record.name: {"bytes": record.bytes, "sha256": record.sha256} for record in records if record.name != CARD}
    data = json_bytes({**config, **_signature(), "files": files})
    write_file(folder / CONFIG, [data], len(data))
    sync_folder(folder)


def _signature() -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, "library_name": "elman", "library_version": elman.__version__}


def _check_names(config: Mapping[str, Any], extra_files: Mapping[str, bytes | str]) -> None:
    if taken := [name for name in _RESERVED if name in config]:
        raise UsageError(f"model folder: config must not use the reserved name {taken[0]!r}")
    for name in extra_files:
        if not _is_plain(name) or name in (CONFIG, WEIGHTS):
            raise UsageError(f"model folder: extra file must have a plain name of its own; got {name!r}")


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\:\0") and len(name) < 200


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return config.json of a model folder with the added names, checked but without reading any other file.

    Raises:
        MissingInputError: the folder or its config.json does not exist.
        ModelFileError: not a model of Elman, made by a newer Elman, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: model folder must exist; got none")
    if not (folder / CONFIG).exists():
        raise MissingInputError(f"{folder}: model folder must hold {CONFIG}; got none", "is the training finished?")
    config = read_json(folder / CONFIG, CONFIG_LIMIT)
    if not isinstance(config, dict) or config.get("library_name") != "elman":
        raise ModelFileError(f"{folder / CONFIG}: must describe a model of elman; got something else")
    _check_version(folder / CONFIG, config.get("format_version"), config.get("library_version"))
    _check_files(folder / CONFIG, config.get("files"))
    return config


def _check_version(path: Path, version: Any, library: Any) -> None:
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path}: format_version must be a positive integer; got {str(version)[:80]}")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format_version must be at most {FORMAT_VERSION}; got {version},"
            f" made by a newer Elman ({str(library)[:40]}; this is {elman.__version__})",
            "upgrade with: pip install --upgrade elman",
        )


def _check_files(path: Path, files: Any) -> None:
    if not isinstance(files, dict) or WEIGHTS not in files or len(files) > 1000:
        raise ModelFileError(f"{path}: files must list {WEIGHTS}; got {str(files)[:80]}")
    for name, row in files.items():
        keys = set(row) if isinstance(row, dict) else set()
        if not _is_plain(name) or keys != {"bytes", "sha256"} or type(row["bytes"]) is not int:
            raise ModelFileError(f"{path}: files must give bytes and sha256 of plain names; got {name[:80]!r}")


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
    full = read_config(folder)
    files = full["files"]
    config = {key: value for key, value in full.items() if key not in _RESERVED}
    for name in files:
        if name != WEIGHTS:
            check_record(folder / name, record_of(folder / name), files[name])
    wanted = expected(config) if callable(expected) else expected
    return config, read_tensors(folder / WEIGHTS, wanted, sha256=files[WEIGHTS]["sha256"])


def read_extra_file(folder: Path | str, name: str) -> bytes:
    """Return a small file of a model folder after checking it against the recorded size and hash.

    Raises:
        ModelFileError: the model has no such file, or it is damaged.
    """
    folder = Path(folder)
    files = read_config(folder)["files"]
    if name not in files:
        raise ModelFileError(f"{folder / CONFIG}: files must list {name!r}; got {', '.join(sorted(files))}")
    data = read_bytes(folder / name)
    check_record(folder / name, record_of(folder / name), files[name])
    return data


def check_record(path: Path, record: FileRecord, wanted: Mapping[str, Any]) -> None:
    """Raise ModelFileError unless a file has the size and hash that were recorded for it."""
    if record.bytes != wanted["bytes"]:
        raise damaged(path, f"{wanted['bytes']} bytes were recorded and {record.bytes} are there")
    if record.sha256 != wanted["sha256"]:
        raise damaged(path, "its SHA-256 differs from the recorded one")
