"""Clips with a label each, or one for every frame: manifests, folders by class; videos and folders of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers import video_decoder
from elman.readers.apart import Apart
from elman.readers.examples import Example, Reading, Rejects
from elman.readers.kinds import refuse_others
from elman.readers.tables import TABLES, Row, form_of, rows

FORMS = ("auto", *TABLES, "folders", "clips")
VIDEOS = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames (T, S, S, C) of bytes, of a file or folder. Two are equal if their frames are."""

    path: Path
    frames: npt.NDArray[np.uint8]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clip) and np.array_equal(self.frames, other.frames)

    def __hash__(self) -> int:
        return hash((self.frames.shape, self.frames.tobytes()))


@dataclass(frozen=True)
class VideoReading(Reading):
    """How clips are read.

    Args:
        size: S, width and height that frames are made, whatever shape they had.
        colour: Three channels; otherwise one of brightness.
        frames_per_second: How many frames of a video are kept; None for all. Folders of images have no times.
    """

    size: int = 32
    colour: bool = False
    frames_per_second: float | None = None


def read_videos(path: Path, how: VideoReading) -> Iterator[Example]:
    """Yield the clips of a manifest, folder or file with their labels.

        csv, tsv, jsonl, parquet  a manifest: columns "path", from the manifest's folder on, and "label"; or "labels",
                                  one for every frame, with blanks between them or as a list
        folders                   FOLDER/LABEL/clip.mp4
        clips                     FOLDER/clip.mp4, or one clip, without labels

    A folder of images, in order of their names and the numbers in them, is a clip, too.

    Args:
        path: Manifest, folder or clip.
        how: Form, columns ("path", "label", "labels", "group", "part"), what becomes of frames, rejects.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        MissingExtraError: PyAV or Pillow is not installed.
        UsageError: an unknown form or column.
    """
    how.known_columns("path", "label", "labels", "group", "part")
    form = _form(path, how)
    if form not in TABLES:
        how.refuse_columns(form)
    with Clips(how) as clips:
        for row in _rows(path, form, how):
            try:
                yield _example(row, clips, how)
            except (DataError, MissingInputError) as error:
                how.rejects.take(row.where, _at(row.where, error))


def _at(where: str, error: DataError | MissingInputError) -> DataError:
    """The error of a clip, with the line of the manifest that names it."""
    return DataError(error.message if error.message.startswith(where) else f"{where}: {error.message}", error.hint)


def _form(path: Path, how: Reading) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    form = how.form
    if form == "auto":
        form = form_of(path) or ("folders" if path.is_dir() and (how.labelled or _holds_folders(path)) else "clips")
    if form in TABLES and path.is_dir():
        raise DataError(f"{path}: must be a file for format {form}; got a folder")
    if form == "folders" and not path.is_dir():
        raise DataError(f"{path}: must be a folder with a folder for each label, or a manifest; got a file")
    if form == "clips" and how.labelled:
        raise DataError(
            f"{path}: must have a label a clip; got a clip without one",
            "name a folder with a folder for each label, or a manifest with columns path and label",
        )
    return form


def _rows(path: Path, form: str, how: Reading) -> Iterator[Row]:
    """Where clips stand, their paths and what is said of them, under the names of the columns."""
    if form in TABLES:
        for row in rows(path, form, how, ("path",)):
            yield Row(row.where, {**row.values, how.column("path"): how.named(path, row.values[how.column("path")])})
        return
    alone = not path.is_dir() or _is_clip(path)
    if not alone:
        refuse_others(sorted(path.iterdir()), "clip", VIDEOS, how.rejects)
    if form == "clips":
        for clip in [path] if alone else _inside(path):
            yield Row(str(clip), {how.column("path"): clip})
    else:
        for folder in _inside(path):
            if not folder.is_dir():
                how.rejects.refuse(str(folder), "must stand in a folder named after its label; got a clip beside such")
                continue
            clips = _inside(folder)
            others = [e for e in folder.iterdir() if e not in clips and not e.name.startswith(".")]
            for other in sorted(others) if how.labelled else []:
                how.rejects.refuse(str(other), f"must be a clip, {', '.join(VIDEOS)} or a folder of images")
            refuse_others(sorted(others) if not how.labelled else [], "clip", VIDEOS, how.rejects)
            for clip in clips:
                yield Row(str(clip), {how.column("path"): clip, how.column("label"): folder.name})


def _inside(folder: Path) -> list[Path]:
    """Clips or folders of them in a folder, by name; other files are not read."""
    found = [e for e in sorted(folder.iterdir()) if e.is_dir() or e.suffix.lower() in VIDEOS]
    return [entry for entry in found if not entry.name.startswith(".")]


def _holds_folders(folder: Path) -> bool:
    """Whether a folder holds folders of clips, rather than folders of images."""
    return any(entry.is_dir() and not _is_clip(entry) for entry in _inside(folder))


def _is_clip(folder: Path) -> bool:
    """Whether a folder is one clip, frame by frame; an image beside videos is a picture of them."""
    return bool(_images(folder)) and not any(not entry.is_dir() for entry in _inside(folder))


def _images(folder: Path) -> list[Path]:
    """Images in a folder by name, numbers in it by their value: frame 2 stands before frame 10."""
    found = [e for e in folder.iterdir() if e.suffix.lower() in IMAGES and not e.name.startswith(".")]
    return sorted(found, key=lambda image: (_in_parts(image.name), image.name))


def _in_parts(name: str) -> list[str | int]:
    """A name as text and numbers in turns, as it is sorted."""
    return [int(part) if n % 2 else part for n, part in enumerate(re.split("([0-9]+)", name))]


class Clips:
    """Decodes clips for as long as the block lasts, each apart from this process.

    Args:
        how: What becomes of frames.

    Raises:
        MissingExtraError: PyAV or Pillow is not installed.
    """

    def __init__(self, how: VideoReading) -> None:
        self.size, self.channels = how.size, 3 if how.colour else 1
        arguments = (str(how.size), "rgb24" if how.colour else "gray", str(how.frames_per_second or 0))
        self._apart = Apart.decoder(video_decoder, ("av", "PIL"), "video", arguments)

    def __enter__(self) -> Clips:
        self._apart.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._apart.__exit__(*error)

    def clip(self, path: Path) -> tuple[Clip, list[int], int]:
        """Return a clip, the numbers of the frames that were kept, and how many there were.

        Raises:
            MissingInputError: there is none.
            DataError: it cannot be decoded.
        """
        if not path.is_dir():
            facts, data = self._apart.decode(path)
            return Clip(path, self._frames(data)), facts["kept"], facts["count"]
        images = _images(path)
        # A frame that is not read would be missing in silence.
        refuse_others(path.iterdir(), "image", IMAGES, Rejects())
        if not images:
            raise DataError(f"{path}: must hold images, {', '.join(IMAGES)}; got none")
        frames = [self._frames(self._apart.decode(image)[1])[:1] for image in images]
        return Clip(path, np.concatenate(frames)), list(range(len(frames))), len(frames)

    def _frames(self, data: bytes) -> npt.NDArray[np.uint8]:
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, self.size, self.size, self.channels)


def _example(row: Row, clips: Clips, how: Reading) -> Example:
    group, part = row.group(how), row.part(how)
    one, each = (_said(row.values.get(how.column(name))) for name in ("label", "labels"))
    if how.labelled and one is None and each is None:
        raise DataError(
            f"{row.where}: must have a label, or labels for every frame; got {', '.join(row.values)}",
            "name the column with --column label=NAME",
        )
    if how.labelled and one is not None and each is not None:
        raise DataError(
            f"{row.where}: must have a label or labels for every frame; got both",
            "leave one of them empty, or name another column with --column labels=NAME",
        )
    clip, kept, count = clips.clip(row.values[how.column("path")])
    if each is None:
        return Example(row.where, clip, one if one is None else str(one).strip(), group, part)
    labels = tuple(map(str, each)) if isinstance(each, list) else tuple(str(each).split())
    if isinstance(each, list) and None in map(_said, each):
        raise DataError(f"{row.where}: must have a label a frame; frame {[*map(_said, each)].index(None) + 1} has none")
    if len(labels) != count:
        raise DataError(f"{row.where}: must have a label a frame; got {count} frames and {len(labels)} labels")
    return Example(row.where, clip, tuple(labels[n] for n in kept), group, part)


def _said(value: Any) -> Any:
    """A value of a table; None where it is empty or blank."""
    return None if value in (None, []) or not str(value).strip() else value
