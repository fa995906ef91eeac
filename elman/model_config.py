"""config.json of a model folder, and the small files beside it, checked against what it records; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import elman
from elman.equations import Cell
from elman.errors import MissingInputError, ModelFileError, UsageError
from elman.storage import FileRecord, nearest_beside, read_bytes, read_json, record_of
from elman.tensor_header import damaged

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
CONFIG_LIMIT = 16 << 20
ADDED = ("files", "format_version", "library_name", "library_version")
"""Names that config.json has beside what was given to write it."""


def is_plain(name: str) -> bool:
    """Say whether a name is one of a file inside the folder."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\:\0") and len(name) < 200


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return config.json of a model folder with the added names, checked but without reading any other file.

    Raises:
        MissingInputError: the folder or its config.json does not exist.
        ModelFileError: not a model of Elman, made by a newer Elman, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: model folder must exist; got none{nearest_beside(folder, folders=True)}")
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
        if not is_plain(name) or keys != {"bytes", "sha256"} or type(row["bytes"]) is not int:
            raise ModelFileError(f"{path}: files must give bytes and sha256 of plain names; got {name[:80]!r}")


def read_checked_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was given to write config.json, and its records of files; all files but the weights are checked.

    Raises:
        MissingInputError, ModelFileError: see `read_config`; a file differs from its record.
    """
    full = read_config(folder)
    files: dict[str, Any] = full["files"]
    for name in files:
        if name != WEIGHTS:
            check_record(folder / name, record_of(folder / name), files[name])
    return {key: value for key, value in full.items() if key not in ADDED}, files


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


def describe_cell(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON values; its equations as text."""
    return {
        "name": cell.name,
        "equations": cell.plain(),
        "output": cell.output,
        "init": dict(cell.init),
        "source": cell.source,
    }


def restored_cell(values: Mapping[str, Any]) -> Cell:
    """Return the cell that `describe_cell` described.

    Raises:
        EquationError, UsageError, KeyError, TypeError: the values describe no cell.
    """
    init = values.get("init") or {}
    if not isinstance(init, Mapping) or not all(isinstance(value, str | int | float) for value in init.values()):
        raise TypeError(f"init must be a table of parameters; got {str(init)[:40]!r}")
    try:
        return Cell(
            values["equations"],
            name=str(values.get("name", "cell"))[:100],
            output=values["output"],
            init=init,
            source=str(values.get("source", ""))[:1000],
        )
    except RecursionError:
        raise UsageError("equations must not be nested this deeply") from None
