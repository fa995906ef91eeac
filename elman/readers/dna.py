"""DNA with a label each, or one for every base: FASTA, one file a class or labels in a table; CSV, TSV, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elman.errors import DataError, MissingInputError, UsageError, nearest
from elman.readers.examples import Example, Reading, shown
from elman.readers.fasta import SUFFIXES, fasta_records, is_fasta
from elman.readers.nucleotides import check_nucleotides
from elman.readers.tables import TABLES, Row, form_of, rows, text_of

FORMS = ("auto", "folder", "fasta", *TABLES)
COLUMNS = ("sequence", "label", "labels", "id", "group", "part")


@dataclass(frozen=True)
class DnaReading(Reading):
    """How files of DNA are read.

    Args:
        labels: Table with the labels of a FASTA file; None where the data says its own labels.
    """

    labels: Path | None = None


def read_dna(path: Path, how: Reading) -> Iterator[Example]:
    """Yield sequences of DNA in capitals with their labels.

        folder          FOLDER/LABEL.fa, .fasta, .fna, each also .gz: one file a class; other files are not read
        fasta           a file; labels come from a table with columns "id" and "label", by the first word of a header
        csv, tsv        a header; columns "sequence", and "label" or "labels": one letter a base
        jsonl, parquet  the same; "labels" may be a list

    Args:
        path: File or folder; files may be compressed by gzip.
        how: Form, encoding, columns ("sequence", "label", "labels", "id", "group", "part"), rejects, table of labels.

    Raises:
        MissingInputError, DataError, StorageError: something cannot be read or used.
        UsageError: an unknown form or column, or a table of labels where it has no effect.
    """
    how.known_columns(*COLUMNS)
    form = _form(path, how)
    labels = how.labels if isinstance(how, DnaReading) else None
    if labels is not None and form != "fasta":
        raise UsageError(f"labels: a table of labels goes with one FASTA file; {path} says its own labels")
    if form == "folder":
        yield from _of_folder(path, how)
    elif form == "fasta":
        yield from _of_fasta(path, how, labels)
    else:
        for row in rows(path, form, how, ("sequence",)):
            yield from _of_row(row, how)


def _form(path: Path, how: Reading) -> str:
    if how.form not in FORMS:
        raise UsageError(f"format: must be one of {', '.join(FORMS)}; got {how.form!r}{nearest(how.form, FORMS)}")
    if not path.exists():
        raise MissingInputError(f"{path}: data must exist; got none", "check the path and the working folder")
    if how.form != "auto" and path.is_dir() != (how.form == "folder"):
        raise DataError(f"{path}: must be a {'file' if path.is_dir() else 'folder'} for format {how.form}")
    if how.form != "auto":
        return how.form
    return "folder" if path.is_dir() else form_of(path) or "fasta"


def _of_folder(folder: Path, how: Reading) -> Iterator[Example]:
    files = sorted(entry for entry in folder.iterdir() if is_fasta(entry) and not entry.name.startswith("."))
    if not files:
        raise DataError(f"{folder}: must hold FASTA files, {', '.join(SUFFIXES)} or .gz of these; got none")
    for file in files:
        label = Path(file.name.removesuffix(".gz")).stem
        yield from (Example(r.where, r.letters, label, id=r.id or None) for r in fasta_records(file, how))


def _of_fasta(path: Path, how: Reading, labels: Path | None) -> Iterator[Example]:
    if labels is not None:
        yield from _joined(path, how, labels)
    elif how.labelled:
        raise DataError(
            f"{path}: must have a label a sequence; got one FASTA file without a table of labels",
            "name a table with columns id and label by --labels TABLE (of validation and test data in training by "
            "--validation-labels and --test-labels), or give a folder with one file a class",
        )
    else:
        yield from (Example(r.where, r.letters, id=r.id or None) for r in fasta_records(path, how))


def _joined(path: Path, how: Reading, table: Path) -> Iterator[Example]:
    """Sequences with the labels that a table has for their ids."""
    known = _table_of_labels(table, how)
    met: dict[str, str] = {}
    for record in fasta_records(path, how):
        row = known.get(record.id)
        if not record.id:
            how.rejects.refuse(record.where, f"must have an id by which {table} tells its label; got none")
        elif record.id in met:
            how.rejects.refuse(record.where, f"id must differ from that of {met[record.id]}; got {shown(record.id)}")
        elif row is None:
            how.rejects.refuse(record.where, f"{table} must have a row with id {shown(record.id)}; got none")
        else:
            met[record.id] = record.where
            yield from _of_row(Row(record.where, {**row.values, how.column("sequence"): record.letters}), how)
    idle = [name for name in known if name not in met]
    if idle:
        how.notes.append(f"labels of {table} without a usable sequence in {path}: {len(idle):,}, the first: {idle[0]}")


def _table_of_labels(path: Path, how: Reading) -> dict[str, Row]:
    """The rows of a table by id; the same id twice is refused."""
    found: dict[str, Row] = {}
    for row in rows(path, form_of(path) or "csv", how, ("id",)):
        name = str(row.values[how.column("id")]).strip()
        if name in found:
            how.rejects.refuse(row.where, f"id must differ from that of {found[name].where}; got {shown(name)}")
        else:
            found[name] = row
    return found


def _of_row(row: Row, how: Reading) -> Iterator[Example]:
    letters = str(row.values[how.column("sequence")]).strip()
    try:
        check_nucleotides(row.where, letters)
        label = _label(row, len(letters), how)
        name = row.values.get(how.column("id"))
        yield Example(row.where, letters.upper(), label, row.group(how), row.part(how), text_of(name) or None)
    except DataError as error:
        how.rejects.take(row.where, error)


def _label(row: Row, bases: int, how: Reading) -> str | tuple[str, ...] | None:
    """One label, or one for every base; None where nobody said one and none is needed."""
    one, each = (row.values.get(how.column(name)) for name in ("label", "labels"))
    if each not in (None, "", []):
        found = tuple(map(str, each)) if isinstance(each, list) else tuple(str(each).strip())
        if len(found) != bases:
            raise DataError(f"{row.where}: must have a label a base; got {bases} bases and {len(found)} labels")
        return found
    if one not in (None, ""):
        return str(one).strip()
    if how.labelled:
        raise DataError(
            f"{row.where}: must have a label, or labels with one letter a base; got {', '.join(row.values)}",
            f"name the column with --column, e.g. --column label={next(iter(row.values))}",
        )
    return None
