"""Pairs of texts, the second being what the first becomes: two parallel files, or one file of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.examples import EMPTY, Example, Reading, shown
from elman.readers.lines import count_lines, lines, looked_at
from elman.readers.tables import TABLES, Row, form_of, rows

FORMS = ("auto", "lines", "pairs", *TABLES)


@dataclass(frozen=True)
class PairReading(Reading):
    """How files of pairs are read.

    Args:
        target: The file whose line n is what line n of the data becomes; None where the data holds both.
    """

    target: Path | None = None


def read_pairs(path: Path, how: PairReading) -> Iterator[Example]:
    """Yield texts with what they become.

        lines                     a line is a text; line n of `how.target` is what it becomes
        pairs                     a line is "SOURCE<tab>TARGET", without a header
        csv, tsv, jsonl, parquet  columns "source" and "target"

    Where nothing but sources is needed, an empty line of the first two stands for itself, and a line of pairs may be a
    source alone.

    Without a form: lines where there is a target file; else what the name tells, where a .tsv whose first line does not
    name the columns holds pairs, and other names hold pairs, or, where nothing but sources is needed and the first line
    is no pair, lines.

    Args:
        path: The file, plain or gzip.
        how: Form, target file, encoding, columns ("source", "target", "group", "part"), rejects.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        UsageError: an unknown form or column, or a target file that the form does not take.
    """
    how.known_columns("source", "target", "group", "part")
    form = _form(path, how)
    if form not in TABLES:
        how.refuse_columns(form)
    if form == "lines":
        yield from _of_lines(path, how)
    elif form == "pairs":
        for number, text in lines(path, how):
            yield from _of_pair(f"{path}:{number}", text, how)
    else:
        for row in rows(path, form, how, ("source", "target") if how.labelled else ("source",)):
            yield from _of_row(row, how)


def _form(path: Path, how: PairReading) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    form = _told(path, how) if how.form == "auto" else how.form
    if how.target is not None and form != "lines":
        raise UsageError(f"target: has an effect with format lines only; {path} is read as {form}, which holds both")
    if how.target is None and form == "lines" and how.labelled:
        raise UsageError(
            f"{path}: lines of sources must come with a file of targets; got none", "name it with --target FILE"
        )
    return form


def _told(path: Path, how: PairReading) -> str:
    """The form that the target file, the name and the first line tell."""
    if how.target is not None:
        return "lines"
    form = form_of(path)
    if form == "tsv":
        header = next((text.split("\t") for text in looked_at(path, how)), [])
        return "tsv" if how.column("source") in [cell.strip() for cell in header] else "pairs"
    if form or how.labelled:
        return form or "pairs"
    first = next((text for text in looked_at(path, how) if text.strip()), "")
    return "pairs" if _is_pair(first) else "lines"


def _is_pair(line: str) -> bool:
    return [bool(cell.strip()) for cell in line.split("\t")] == [True, True]


def _of_lines(path: Path, how: PairReading) -> Iterator[Example]:
    if how.target is None:
        yield from (Example(f"{path}:{n}", text.strip() or EMPTY) for n, text in lines(path, how))
        return
    counts = count_lines(path), count_lines(how.target)
    if counts[0] != counts[1]:
        raise DataError(
            f"{path}: must have as many lines as {how.target}; got {counts[0]:,} and {counts[1]:,}",
            "line n of one must be what line n of the other becomes",
        )
    # A line that is no text is left out with the one that belongs to it.
    targets = lines(how.target, how)
    number, target = 0, ""
    for n, source in lines(path, how):
        while number < n:
            number, target = next(targets, (counts[0] + 1, ""))
        if number == n:
            yield from _checked(f"{path}:{n}", source, target, f"{how.target}:{n}", how)


def _of_pair(where: str, text: str, how: PairReading) -> Iterator[Example]:
    cells = text.split("\t")
    if not how.labelled and not "".join(cells[1:]).strip():
        yield Example(where, text.strip() or EMPTY)
    elif not text.strip():
        return
    elif len(cells) == 2:
        yield from _checked(where, cells[0], cells[1], where, how)
    else:
        alone = "where lines are sources alone, name the file of targets: --target, --validation-target, --test-target"
        problem = f"must be SOURCE<tab>TARGET; got {len(cells)} parts in {shown(text)}"
        how.rejects.refuse(where, problem, alone if len(cells) == 1 else None)


def _checked(where: str, source: str, target: str, where_target: str, how: PairReading) -> Iterator[Example]:
    for text, place, name in ((source, where, "source"), (target, where_target, "target")):
        if not text.strip():
            how.rejects.refuse(place, f"{name} must not be empty; got nothing")
            return
    yield Example(where, source.strip(), target.strip())


def _of_row(row: Row, how: PairReading) -> Iterator[Example]:
    target = row.values.get(how.column("target"))
    try:
        group, part = row.group(how), row.part(how)
    except DataError as error:
        how.rejects.take(row.where, error)
        return
    text = None if target is None or not str(target).strip() else str(target).strip()
    yield Example(row.where, str(row.values[how.column("source")]).strip(), text, group, part)
