"""Texts with a label each: tables, folders, fastText lines, lines that begin with their label."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.examples import EMPTY, Example, Reading, shown
from elman.readers.lines import lines, looked_at
from elman.readers.tables import TABLES, Row, form_of, rows, text_of

FORMS = ("auto", *TABLES, "folders", "files", "fasttext", "label-first", "lines")
MARK = "__label__"


def read_labelled_text(path: Path, how: Reading) -> Iterator[Example]:
    """Yield the texts of a file or folder with their labels.

        csv, tsv     a header; columns "text" and "label"
        jsonl        a line is {"text": ..., "label": ...}
        parquet      columns "text" and "label"
        folders      FOLDER/LABEL/anything.txt, one text a file
        files        FOLDER/LABEL.txt, one text a line
        fasttext     a line is "__label__LABEL text"
        label-first  a line is "LABEL text"
        lines        a line is a text without a label

    Where no labels are needed, an empty line of the last three stands for itself.

    Without a form the name tells: .csv, .tsv, .jsonl, .parquet; a folder holds folders or files; other files are
    fastText if their first line begins so, else label-first, or lines where no labels are needed.

    Args:
        path: File or folder; files may be compressed by gzip.
        how: Form, encoding, columns ("text", "label", "group", "part"), whether labels are needed, rejects.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        UsageError: an unknown form or column, or lines where labels are needed.
    """
    how.known_columns("text", "label", "group", "part")
    form = _form(path, how)
    if form in TABLES:
        needed = ("text", "label") if how.labelled else ("text",)
        for row in rows(path, form, how, needed):
            yield from _of_row(row, how)
        return
    how.refuse_columns(form)
    if form == "folders":
        yield from _of_folders(path, how)
    elif form == "files":
        for file in _inside(path):
            yield from (Example(w, text, _label_of(file)) for w, text in _texts(file, how))
    elif form == "lines":
        yield from (Example(f"{path}:{number}", text.strip() or EMPTY) for number, text in lines(path, how))
    else:
        for number, text in lines(path, how):
            yield from _of_line(f"{path}:{number}", text.strip(), form, how)


def _form(path: Path, how: Reading) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    if how.form != "auto" and not _is_of_training(how):
        if path.is_dir() != (how.form in ("folders", "files")):
            raise DataError(f"{path}: must be a {'file' if path.is_dir() else 'folder'} for format {how.form}")
        if how.form == "lines" and how.labelled:
            raise UsageError(
                f"format: must be one that says labels; got 'lines', which have none, for {path}",
                f"with labels in it, its format is one of {', '.join(FORMS[1:-1])}",
            )
        return how.form
    if path.is_dir():
        return "folders" if any(entry.is_dir() for entry in _inside(path)) else "files"
    if form := form_of(path):
        return form
    first = next((text for text in looked_at(path, how) if text.strip()), "")
    if first.lstrip().startswith(MARK):
        return "fasttext"
    return "label-first" if how.labelled else "lines"


def _is_of_training(how: Reading) -> bool:
    """Whether a form is that of the lines with labels that a model was trained on; what it answers needs none."""
    return how.purpose == "predict" and how.form in ("fasttext", "label-first") and "format" not in how.asked


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden entries."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _label_of(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).stem


def _texts(path: Path, how: Reading) -> Iterator[tuple[str, str]]:
    """The lines of a file that hold anything, with where they stand."""
    return ((f"{path}:{number}", text.strip()) for number, text in lines(path, how) if text.strip())


def _of_row(row: Row, how: Reading) -> Iterator[Example]:
    label = row.values.get(how.column("label"))
    try:
        group, part = row.group(how), row.part(how)
    except DataError as error:
        how.rejects.take(row.where, error)
        return
    yield Example(row.where, str(row.values[how.column("text")]).strip(), text_of(label) or None, group, part)


def _of_folders(path: Path, how: Reading) -> Iterator[Example]:
    for folder in _inside(path):
        if not folder.is_dir():
            how.rejects.refuse(str(folder), "must be a folder named after a label; got a file beside such folders")
            continue
        for file in _inside(folder):
            text = _whole(file, how)
            if text is not None:
                yield Example(str(file), text, folder.name)


def _whole(file: Path, how: Reading) -> str | None:
    """The text of a file, white space in it made single blanks; None where it has none."""
    before = len(how.rejects)
    try:
        text = " ".join(" ".join(part for _, part in lines(file, how)).split())
    except DataError as error:
        how.rejects.take(str(file), error)
        return None
    if len(how.rejects) > before:
        return None  # a text with a hole in it is another text
    if not text:
        how.rejects.refuse(str(file), "must hold text; got white space only")
    return text or None


def _of_line(where: str, text: str, form: str, how: Reading) -> Iterator[Example]:
    if not text:
        if not how.labelled:
            yield Example(where, EMPTY)
        return
    label, rest = [*re.split(r"[ \t]", text, maxsplit=1), ""][:2]
    if form == "fasttext":
        if not label.startswith(MARK) or label == MARK:
            how.rejects.refuse(where, f"must begin with {MARK} and a label; got {shown(text)}")
            return
        label = label.removeprefix(MARK)
        if rest.lstrip().startswith(MARK):
            how.rejects.refuse(where, f"must have one label; got a second, {shown(rest.split()[0])}")
            return
    if not rest.strip():
        how.rejects.refuse(where, f"must hold a label and a text; got {shown(text)}")
        return
    yield Example(where, rest.strip(), label)
