"""Files below a folder: links are followed, what is hidden can be left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below it, by path, those that links lead to among them.

    A link to a folder that it stands in is not followed.
    """
    yield from _below(folder, frozenset())


def visible_files(folder: Path) -> list[Path]:
    """Return the files in a folder and below it, by path, without hidden ones and those in hidden folders."""
    found = files_below(folder)
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _below(entry, above | {here})
        elif entry.is_file():
            yield entry
