"""Data of the command line: a file, a folder, or stdin kept in a file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import ElmanError, MissingInputError
from elman.readers.small_text import check_input

if TYPE_CHECKING:
    from elman.readers import Reading


def as_given(text: str, file: str, path: Path) -> str:
    """Return a text with "stdin" in place of the path where stdin is kept, if that is the file."""
    return text.replace(str(path), "stdin") if file == "-" else text


def counted_from(file: str, how: Reading) -> Reading:
    """Return how a file is read: a manifest from stdin stands in no folder but the one that the user works in."""
    return replace(how, folder=Path()) if file == "-" else how


@contextmanager
def as_path(file: str, *, folders: bool = False) -> Iterator[Path]:
    """Give a file that can be read several times; what comes from stdin is kept in one as long as the block lasts.

    Args:
        file: Its path, or - for stdin.
        folders: Whether it may be a folder.
    """
    if file != "-":
        if not (folders and Path(file).is_dir()):
            check_input(Path(file))
        yield Path(file)
        return
    if sys.stdin is None or sys.stdin.closed:
        raise MissingInputError("stdin: must be open; got a closed one")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "stdin"
        with kept.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        try:
            yield kept
        except ElmanError as error:  # names what the user gave, not where it is kept
            error.message = as_given(error.message, file, kept)
            raise
