"""Images with what can be seen in them: a manifest of images and captions; or images alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.examples import Example, Reading, shown
from elman.readers.kinds import refuse_others
from elman.readers.tables import TABLES, Row, form_of, rows
from elman.readers.videos import IMAGES, Clip, Clips, VideoReading

FORMS = ("auto", *TABLES, "images")


@dataclass
class _Described:
    """What a manifest says of one image."""

    where: str
    group: str | None
    part: str | None
    captions: list[str] = field(default_factory=list)


def read_captions(path: Path, how: VideoReading) -> Iterator[Example]:
    """Yield images, each as a clip of one frame, with all their captions.

        csv, tsv, jsonl, parquet  a manifest: columns "path", from the manifest's folder on, and "caption"; an image
                                  with several captions stands in several rows, or has a list of them
        images                    a folder of images or one of them, without captions

    Args:
        path: Manifest, folder or image.
        how: Form, columns ("path", "caption", "group", "part"), size and colours, rejects.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        MissingExtraError: PyAV, which decodes, is not installed.
        UsageError: an unknown form or column.
    """
    how.known_columns("path", "caption", "group", "part")
    form = _form(path, how)
    found = _of_images(path, how) if form == "images" else _of_manifest(path, form, how)
    with Clips(how) as clips:
        for image, described in found.items():
            try:
                clip = _picture(image, described.where, clips)
            except DataError as error:
                how.rejects.take(described.where, error)
            else:
                yield Example(described.where, clip, tuple(described.captions) or None, described.group, described.part)


def _form(path: Path, how: Reading) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    form = (form_of(path) or "images") if how.form == "auto" else how.form
    if form in TABLES and path.is_dir():
        raise DataError(f"{path}: must be a file for format {form}; got a folder")
    if form == "images" and how.labelled:
        raise DataError(
            f"{path}: must have a caption an image; got images without", "name a manifest with columns path and caption"
        )
    return form


def _of_images(path: Path, how: Reading) -> dict[Path, _Described]:
    if path.is_file():
        return {path: _Described(str(path), None, None)}
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    refuse_others(files, "image", IMAGES, how.rejects)
    return {file: _Described(str(file), None, None) for file in files if file.suffix.lower() in IMAGES}


def _of_manifest(path: Path, form: str, how: Reading) -> dict[Path, _Described]:
    found: dict[Path, _Described] = {}
    for row in rows(path, form, how, ("path", "caption") if how.labelled else ("path",), listed=("caption",)):
        try:
            group, part, captions = row.group(how), row.part(how), _captions(row, how)
            image = how.named(path, row.values[how.column("path")])
            described = found.setdefault(image, _Described(row.where, group, part))
            if (described.group, described.part) != (group, part):
                raise DataError(f"{row.where}: must be of the group and part of {described.where}, the same image")
        except DataError as error:
            how.rejects.take(row.where, error)
        else:
            described.captions += captions
    return found


def _captions(row: Row, how: Reading) -> list[str]:
    """What a row says of its image; JSON lines and Parquet may say several things, as a list.

    Raises:
        DataError: something of it is no text.
    """
    found = row.values.get(how.column("caption"))
    captions = found if isinstance(found, list) else [] if found in (None, "") else [found]
    told = all(isinstance(caption, str | int | float) and str(caption).strip() for caption in captions)
    if not told or (how.labelled and not captions):
        raise DataError(f"{row.where}: {how.column('caption')} must be a text or a list of texts; got {shown(found)}")
    return list(map(str, captions))


def _picture(image: Path, where: str, clips: Clips) -> Clip:
    """Decode an image.

    Raises:
        DataError: it cannot be, or moves; with its place in the manifest.
    """
    try:
        clip, _, count = clips.clip(image)
    except (DataError, MissingInputError) as error:
        raise DataError(error.message if where == str(image) else f"{where}: {error.message}", error.hint) from None
    if count != 1:
        raise DataError(f"{where}: must be one picture; got {count} frames in {image}")
    return clip
