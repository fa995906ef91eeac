"""Sounds with what is said in them or with a class: manifests, transcripts beside the sounds, folders by class."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.examples import Example, Reading
from elman.readers.folders import visible_files
from elman.readers.kinds import refuse_others
from elman.readers.lines import lines
from elman.readers.recordings import Recorder
from elman.readers.tables import form_of, rows

FORMS = ("auto", "csv", "tsv", "jsonl", "beside", "folders", "sounds")
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
Found = tuple[str, Path, str | None, str | None, str | None]
"""Where it stands, the sound, its answer, group and part."""


def read_sounds(path: Path, how: Reading, answer: str) -> Iterator[Example]:
    """Yield the recordings of a manifest, folder or file, each with its answer.

        csv, tsv, jsonl  a manifest: columns "path", from the manifest's folder on, and "transcript" or "label"
        beside           FOLDER/.../x.wav and its transcript FOLDER/.../x.txt, or one such sound
        folders          FOLDER/LABEL/.../x.wav
        sounds           FOLDER/.../x.wav, or one sound, without an answer

    Without a form the name tells: .csv, .tsv, .jsonl; folders and single sounds are of the form that has answers of
    this kind, or "sounds" where none are needed. White space in transcripts becomes single blanks, their letters are
    composed (NFC).

    Args:
        path: Manifest, folder or sound (.wav, .flac, .ogg, .mp3).
        how: Form, encoding, columns ("path", `answer`, "group", "part"), whether answers are needed, rejects.
        answer: "transcript" or "label".

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        MissingExtraError: soundfile is not installed.
        UsageError: an unknown form or column.
    """
    how.known_columns("path", answer, "group", "part")
    form = _form(path, how, answer)
    if form in ("beside", "folders", "sounds"):
        how.refuse_columns(form)
    with Recorder() as recorder:
        for where, sound, said, group, part in _found(path, form, how, answer):
            try:
                recording = recorder.record(sound)
            except (DataError, MissingInputError) as error:
                how.rejects.take(where, _at(where, sound, error))
            else:
                yield Example(where, recording, said, group, part)


def _at(where: str, sound: Path, error: DataError | MissingInputError) -> DataError:
    """The error of a sound, with the line of the manifest that names it."""
    return DataError(error.message if where == str(sound) else f"{where}: {error.message}", error.hint)


def _form(path: Path, how: Reading, answer: str) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    chosen = how.form
    if chosen == "auto":
        named = None if path.is_dir() else form_of(path)
        chosen = named or ("sounds" if not how.labelled else "beside" if answer == "transcript" else "folders")
    if path.is_dir() and chosen in ("csv", "tsv", "jsonl"):
        raise DataError(f"{path}: must be a file for format {chosen}")
    if not path.is_dir() and chosen == "folders":
        raise DataError(f"{path}: must be a folder with a folder for each label, or a manifest; got a file")
    if chosen == ("folders" if answer == "transcript" else "beside"):
        raise UsageError(f"format: must have a {answer} for each sound; got {chosen!r}")
    if chosen == "sounds" and how.labelled:
        raise UsageError(f"format: must have a {answer} for each sound; got 'sounds', which has none")
    return chosen


def _found(path: Path, form: str, how: Reading, answer: str) -> Iterator[Found]:
    if form in ("csv", "tsv", "jsonl"):
        return _of_manifest(path, form, how, answer)
    if form == "folders":
        return _of_folders(path, how)
    if path.is_dir():
        files = visible_files(path)
        sounds = [file for file in files if file.suffix.lower() in SUFFIXES]
    else:
        files, sounds = [], [path]
    refuse_others(files, "sound", SUFFIXES, how.rejects)
    if form == "sounds":
        return ((str(sound), sound, None, None, None) for sound in sounds)
    return _beside(files, sounds, how)


def _of_manifest(path: Path, form: str, how: Reading, answer: str) -> Iterator[Found]:
    for row in rows(path, form, how, ("path", answer) if how.labelled else ("path",)):
        try:
            group, part = row.group(how), row.part(how)
        except DataError as error:
            how.rejects.take(row.where, error)
            continue
        said = row.values.get(how.column(answer))
        named = None if said in (None, "") else _normal(str(said))
        yield row.where, how.named(path, row.values[how.column("path")]), named, group, part


def _of_folders(path: Path, how: Reading) -> Iterator[Found]:
    for file in visible_files(path):
        inside = file.relative_to(path).parts
        if file.suffix.lower() not in SUFFIXES:
            how.rejects.refuse(str(file), f"must be a sound, one of {', '.join(SUFFIXES)}; got another file")
        elif len(inside) == 1:
            how.rejects.refuse(
                str(file), "must stand in a folder named after its label; got a sound beside such folders"
            )
        else:
            yield str(file), file, inside[0], None, None


def _beside(files: list[Path], sounds: list[Path], how: Reading) -> Iterator[Found]:
    for sound in sounds:
        text = sound.with_suffix(".txt")
        if not text.is_file():
            how.rejects.refuse(str(sound), f"must have its transcript beside it, {text.name}; got none")
        elif (said := _transcript(text, how)) is not None:
            yield str(sound), sound, said, None, None
    known = {sound.with_suffix(".txt") for sound in sounds}
    for file in files:
        if file.suffix == ".txt" and file not in known:
            how.rejects.refuse(str(file), "must stand beside the sound that it transcribes; got none")


def _transcript(file: Path, how: Reading) -> str | None:
    """The text of a file; None where it has none that can be used."""
    before = len(how.rejects)
    try:
        text = _normal(" ".join(part for _, part in lines(file, how)))
    except DataError as error:
        how.rejects.take(str(file), error)
        return None
    if len(how.rejects) > before:
        return None  # a text with a hole in it is another text
    if not text:
        how.rejects.refuse(str(file), "must hold a transcript; got white space only")
    return text or None


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))
