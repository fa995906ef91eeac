"""The checkpoint protocol: a checkpoint is complete if and only if its manifest matches its files.

Saving: write into a temporary folder of the same parent, flush every file, write and flush the manifest, flush the
folder, rename it, flush the parent; only then retire older ones. A kill or a power cut at any instant leaves at least
the last complete checkpoint.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elman.errors import ElmanError, MissingInputError, ModelFileError, StorageError, UsageError
from elman.model_folder import check_record
from elman.storage import (
    make_folder,
    read_json,
    record_of,
    remove_folder,
    storing,
    sync_file,
    sync_folder,
    write_json,
)

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{9,15})(\.replaced)?")


class NewerFormatError(ModelFileError):
    """A checkpoint that a newer Elman made: whole, as far as this one can tell, and not to be passed over."""


class Checkpoints:
    """The checkpoints of one run, in one folder.

    Args:
        folder: Where they are; made when missing.
        warn: Called with a sentence about every checkpoint that is skipped.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder, self.warn = folder, warn
        make_folder(folder)

    def check_renames(self) -> None:
        """Refuse at once a file system that renames no folder, rather than at the first checkpoint.

        Raises:
            StorageError: it does not.
        """
        probe = self._temporary()
        try:
            with storing(probe):
                probe.mkdir()
                os.rename(probe, probe.with_name(probe.name + ".renamed"))
        except StorageError as error:
            error.hint = (
                "train into a folder of a file system that can rename folders, and copy the run when it is done"
            )
            raise
        finally:
            for path in (probe, probe.with_name(probe.name + ".renamed")):
                remove_folder(path)

    def path(self, step: int) -> Path:
        """Return the folder of the checkpoint of a step."""
        return self.folder / f"step-{step:09d}"

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Save a checkpoint; `write` fills the empty folder it is given.

        Raises:
            StorageError: the file system failed; earlier checkpoints are untouched and nothing is left behind.
        """
        temporary = self._temporary()
        try:
            with storing(temporary):
                temporary.mkdir()
                write(temporary)
                seal(temporary, step)
            self._commit(temporary, step)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return self.path(step)

    def _temporary(self) -> Path:
        return self.folder / f".tmp-{os.getpid()}-{secrets.token_hex(4)}"

    def _commit(self, temporary: Path, step: int) -> None:
        final = self.path(step)
        with storing(final):
            if final.exists():
                self._make_way(final)
            os.rename(temporary, final)
        sync_folder(self.folder)

    def _make_way(self, final: Path) -> None:
        """Move an older checkpoint of the same step to a name that still counts until the new one is there."""
        if not is_complete(final):
            self._remove(final)
            return
        aside = final.with_name(final.name + ".replaced")
        self._remove(aside)
        os.rename(final, aside)

    def _remove(self, path: Path) -> None:
        """Remove a checkpoint; it loses its name first, so that a kill leaves no half of one."""
        if path.exists():
            temporary = self._temporary()
            with storing(path):
                os.rename(path, temporary)
            remove_folder(temporary)

    def retire(self, step: int, keep: int, best: int | None) -> None:
        """Remove what is not needed after the checkpoint of `step` was saved.

        Kept are it and the `keep` - 1 before it, and the one of step `best`. Checkpoints of later steps come from a
        past that this run has left (it was resumed from an earlier one) and are removed.
        """
        earlier = [number for number, path in self._found() if number <= step and path == self.path(number)]
        wanted = {self.path(number) for number in earlier[:keep]} | {self.path(step)}
        if best is not None:
            wanted.add(self.path(best))
        for _, path in self._found():
            if path not in wanted:
                self._remove(path)

    def refuse_newer(self) -> None:
        """Refuse to work beside a checkpoint of a newer format, which going on would leave behind and remove.

        Raises:
            NewerFormatError: there is one; the text names it.
        """
        for _, path in self._found():
            if (path / MANIFEST).is_file():
                try:
                    _read_manifest(path / MANIFEST)
                except NewerFormatError:
                    raise
                except ModelFileError:
                    continue  # damaged, which is for `newest` to tell

    def newest(self) -> Path | None:
        """Return the newest complete checkpoint, None if there is none; a damaged one is named in a warning.

        Raises:
            NewerFormatError: one of a newer Elman comes first.
        """
        for _, path in self._found():
            try:
                verify(path)
            except (StorageError, NewerFormatError):
                raise
            except ElmanError as error:
                self.warn(f"{path.name} is skipped: {error.message}")
            else:
                return path
        return None

    def _found(self) -> list[tuple[int, Path]]:
        """Return step and path of what is named like a checkpoint: newest first, replaced ones after their heirs."""
        found = []
        for path in self.folder.iterdir():
            if (step := step_of(path)) is not None:
                found.append((step, path))
        return sorted(found, key=lambda item: (-item[0], item[1].name))


def step_of(path: Path) -> int | None:
    """Return the step of a checkpoint, whether replaced or not, by its name; None for the name of something else."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def seal(folder: Path, step: int) -> None:
    """Flush every file of a folder and write the manifest with their sizes and hashes, last."""
    files = []
    for path in sorted(_members(folder)):
        sync_file(path)
        record = record_of(path)
        files.append({"name": record.name, "bytes": record.bytes, "sha256": record.sha256})
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "step": step, "files": files})
    sync_folder(folder)


def _members(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if not path.is_file():
            raise UsageError(f"checkpoint: save_model must write plain files only; got the folder {path.name!r}")
        yield path


def is_complete(path: Path) -> bool:
    """Return whether a checkpoint's manifest matches its files."""
    try:
        verify(path)
    except NewerFormatError:
        raise
    except (ModelFileError, MissingInputError):
        return False
    return True


def verify(path: Path) -> None:
    """Check a checkpoint against its manifest: every listed file with its size and hash, and no other file.

    Raises:
        MissingInputError: no such folder.
        NewerFormatError: made by a newer Elman.
        ModelFileError: not complete, or damaged; the text names the file and the reason.
    """
    if not path.is_dir():
        raise MissingInputError(f"{path}: checkpoint must exist; got none")
    if not (path / MANIFEST).exists():
        raise ModelFileError(f"{path}: checkpoint must be complete; got one without {MANIFEST}")
    manifest = _read_manifest(path / MANIFEST)
    present = {member.name for member in path.iterdir()} - {MANIFEST}
    if missing := sorted(set(manifest) - present):
        raise ModelFileError(f"{path / missing[0]}: must exist, as {MANIFEST} lists it; got none")
    if extra := sorted(present - set(manifest)):
        raise ModelFileError(f"{path / extra[0]}: must not exist, as {MANIFEST} does not list it; got a file")
    for name, row in manifest.items():
        check_record(path / name, record_of(path / name), row)


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    manifest = read_json(path, limit=1 << 20)
    if not isinstance(manifest, dict) or type(manifest.get("format_version")) is not int:
        raise ModelFileError(f"{path}: must be a manifest with a format_version; got something else")
    if manifest["format_version"] > FORMAT_VERSION:
        raise NewerFormatError(
            f"{path}: format_version must be at most {FORMAT_VERSION};"
            f" got {manifest['format_version']}, made by a newer Elman",
            "upgrade with: pip install --upgrade elman",
        )
    rows = manifest.get("files")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise ModelFileError(f"{path}: files must list name, bytes and sha256; got something else")
    return {row["name"]: row for row in rows}


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and set(row) == {"name", "bytes", "sha256"}
        and isinstance(row["name"], str)
        and not set(row["name"]) & set("/\\\0")
    )
