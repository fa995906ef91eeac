"""Files that a reader does not decode: in a folder that is read for its sounds, none is passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from elman.readers.examples import Rejects

# fmt: off
OTHERS = {
    "sound": (".aac", ".aif", ".aiff", ".amr", ".ape", ".au", ".m4a", ".oga", ".opus", ".ra", ".wma"),
    "image": (
        ".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm",
        ".svg", ".tga", ".tif", ".tiff",
    ),
    "clip": (".3gp", ".asf", ".flv", ".m2ts", ".mts", ".ogv", ".ts", ".vob", ".wmv"),
    "music": (".kar", ".krn", ".mscx", ".mscz", ".musicxml", ".mxl", ".rmi"),
}
# fmt: on
"""Suffixes of what people also keep such things in."""


def refuse_others(files: Iterable[Path], kind: str, read: Sequence[str], rejects: Rejects) -> None:
    """Refuse files that hold something of a kind in a form that is not read; hidden ones and others are left alone.

    Args:
        files: Of a folder.
        kind: A key of OTHERS.
        read: Suffixes that are read.
        rejects: Who takes them.

    Raises:
        DataError: there is one, and examples are not to be skipped.
    """
    form = f"{'an' if kind == 'image' else 'a'} {kind} of a form that is read, {', '.join(read)}"
    for file in files:
        if file.suffix.lower() in OTHERS[kind] and not file.name.startswith("."):
            rejects.refuse(
                str(file),
                f"must be {form}; got {file.suffix}",
                "convert it, or leave such files out with --on-error skip",
            )
