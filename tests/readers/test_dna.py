"""DNA with labels: every form reads the same examples, and every broken file is told with file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from elman.errors import DataError, UsageError
from elman.readers import text_chunks
from elman.readers.dna import DnaReading, read_dna
from elman.readers.examples import Example, Reading, Rejects

PAIRS = [("exon", "ACGTN"), ("exon", "TTAGGR"), ("intron", "GATTACA")]


def written(folder: Path, form: str) -> tuple[Path, Path | None]:
    """The three examples in a form, and the table of labels beside them."""
    if form == "folder":
        (folder / "data").mkdir()
        (folder / "data" / "exon.fa").write_text(">one first\nACG\ntn\n\n>two\nTTAGGR\n", encoding="ascii")
        (folder / "data" / "intron.fasta.gz").write_bytes(gzip.compress(b">three\r\nGATT\r\nACA"))
        (folder / "data" / "README.md").write_text("what this is", encoding="ascii")
        return folder / "data", None
    if form == "fasta":
        path, table = folder / "data.fna", folder / "labels.tsv"
        path.write_text("".join(f">s{n}\n{letters}\n" for n, (_, letters) in enumerate(PAIRS)), encoding="ascii")
        rows = [f"s{n}\t{label}\n" for n, (label, _) in enumerate(PAIRS)]
        table.write_text("id\tlabel\n" + "".join(reversed(rows)) + "unused\texon\n", encoding="ascii")
        return path, table
    path = folder / f"data.{form}"
    if form == "jsonl":
        text = "".join(json.dumps({"sequence": letters, "label": label}) + "\n" for label, letters in PAIRS)
    else:
        text = "label, sequence\n" + "".join(f"{label},   {letters.lower()}\n" for label, letters in PAIRS)
    path.write_text(text, encoding="ascii")
    return path, None


@pytest.mark.parametrize("form", ["folder", "fasta", "csv", "jsonl"])
@pytest.mark.parametrize("named", [False, True])
def test_every_form_reads_the_same(form: str, named: bool, tmp_path: Path) -> None:
    path, table = written(tmp_path, form)
    found = list(read_dna(path, DnaReading(form=form if named else "auto", labels=table)))
    assert [(example.y, example.x) for example in found] == PAIRS


def test_examples_say_where_they_stand(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "folder")
    assert [e.where for e in read_dna(path, Reading())] == [
        f"{path}/exon.fa:1",
        f"{path}/exon.fa:5",
        f"{path}/intron.fasta.gz:1",
    ]


def test_a_label_for_every_base_is_a_text_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("sequence,labels,chromosome\nACGT,..EE,chr1\n", encoding="ascii")
    found = list(read_dna(tmp_path / "d.csv", Reading(columns={"group": "chromosome"})))
    assert found == [Example(f"{tmp_path}/d.csv:2", "ACGT", (".", ".", "E", "E"), "chr1")]
    (tmp_path / "d.jsonl").write_text('{"sequence": "AC", "labels": ["exon", "intron"]}\n', encoding="ascii")
    assert next(read_dna(tmp_path / "d.jsonl", Reading())).y == ("exon", "intron")


def test_without_labels_sequences_are_enough(tmp_path: Path) -> None:
    how = Reading(labelled=False)
    assert [(e.x, e.y) for e in read_dna(written(tmp_path, "fasta")[0], how)] == [(x, None) for _, x in PAIRS]
    (tmp_path / "a.csv").write_text("sequence\nacgu\n", encoding="ascii")
    assert [(e.x, e.y) for e in read_dna(tmp_path / "a.csv", how)] == [("ACGU", None)]


BROKEN: dict[str, tuple[str, str, int, str]] = {
    # what is wrong: file name, content, line, and what the error says; each has one good example
    "a letter that is no base": ("a.fa", ">good\nAC\n>bad\nACGT\nAC-T\n", 5, "got '-' at letter 3 of 4"),
    "a protein": ("a.fa", ">good\nAC\n>bad\nMKLV\n", 4, "must hold letters of DNA, .*; got 'L'"),
    "a letter of another alphabet": ("a.fa", ">good\nAC\n>bad\nAC\u212a\n", 4, "must hold letters of DNA"),
    "a header without letters": ("a.fa", ">empty\n\n>good\nAC\n", 1, "must have letters after its header"),
    "a header without letters at the end": ("a.fa", ">good\nAC\n>empty", 3, "must have letters after its header"),
    "letters before a header": ("a.fa", "ACGT\n>good\nAC\n", 1, "must begin with a line '>id'; got 'ACGT'"),
    "a letter that is no base in a table": ("a.csv", "sequence,label\nAC,x\nAXC,x\n", 3, "got 'X' at letter 2 of 3"),
    "no sequence": ("a.csv", "sequence,label\nAC,x\n,x\n", 3, "sequence must not be empty"),
    "no label": ("a.csv", "sequence,label\nAC,x\nAC,\n", 3, "must have a label"),
    "labels that are too few": ("a.csv", "sequence,labels\nAC,xy\nACG,xy\n", 3, "got 3 bases and 2 labels"),
    "a row with a column more": ("a.csv", "sequence,label\nAC,x\nAC,x,y\n", 3, "must have 2 columns; got 3"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_with_file_and_line_or_left_out(case: str, tmp_path: Path) -> None:
    name, text, line, message = BROKEN[case]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")
    path = folder if name.endswith(".fa") else folder / name
    with pytest.raises(DataError, match=f":{line}: .*{message}"):
        list(read_dna(path, Reading()))
    rejects = Rejects(skip=True)
    assert [e.x for e in read_dna(path, Reading(rejects=rejects))] == ["AC"]
    assert [row["where"] for row in rejects.rows] == [f"{folder / name}:{line}"]


def test_labels_by_id_must_be_there_once(tmp_path: Path) -> None:
    path, table = written(tmp_path, "fasta")
    assert table is not None
    table.write_text("id,label\ns0,a\ns1,b\ns1,c\n".replace(",", "\t"), encoding="ascii")
    with pytest.raises(DataError, match=r"labels\.tsv:4: id must differ from that of .*:3; got 's1'"):
        list(read_dna(path, DnaReading(labels=table)))
    table.write_text("id\tlabel\ns0\ta\ns2\tb\n", encoding="ascii")
    with pytest.raises(DataError, match=r"data\.fna:3: .* must have a row with id 's1'; got none"):
        list(read_dna(path, DnaReading(labels=table)))
    with pytest.raises(DataError, match="must have a label a sequence") as told:
        list(read_dna(path, Reading()))
    assert "--labels TABLE" in str(told.value.hint)
    with pytest.raises(UsageError, match="a table of labels goes with one FASTA file"):
        list(read_dna(table, DnaReading(columns={"sequence": "id"}, labels=table)))


def test_ids_of_a_table_are_those_of_sequences_once_each(tmp_path: Path) -> None:
    path, table = tmp_path / "a.fa", tmp_path / "labels.csv"
    table.write_text("id,label\nr0,x\nghost,y\nr1,y\nlost,y\n", encoding="ascii")
    path.write_text(">r0\nAC\n>r1 more\nAG\n> \nAT\n>r0\nCC\n", encoding="ascii")
    with pytest.raises(DataError, match=r"a\.fa:5: must have an id by which .*labels\.csv tells its label; got none"):
        list(read_dna(path, DnaReading(labels=table)))
    how = DnaReading(Rejects(skip=True), labels=table)
    assert [(e.id, e.x, e.y) for e in read_dna(path, how)] == [("r0", "AC", "x"), ("r1", "AG", "y")]
    assert [row["where"] for row in how.rejects.rows] == [f"{path}:5", f"{path}:7"]
    assert how.rejects.rows[1]["problem"] == f"id must differ from that of {path}:1; got 'r0'"
    assert how.notes == [f"labels of {table} without a usable sequence in {path}: 2, the first: ghost"]
    unlabelled = Reading(labelled=False)
    assert [e.id for e in read_dna(path, unlabelled)] == ["r0", "r1", None, "r0"], "without a table, ids do not matter"
    assert unlabelled.notes == []


def test_a_damaged_archive_and_a_folder_without_fasta_are_errors(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="ascii")
    with pytest.raises(DataError, match="must hold FASTA files"):
        list(read_dna(tmp_path, Reading()))
    packed = gzip.compress(b">a\n" + b"ACGT" * 1000)
    (tmp_path / "x.fa.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"x\.fa\.gz: must be a whole gzip file"):
        list(read_dna(tmp_path, Reading()))


def test_fasta_is_text_for_a_language_model(tmp_path: Path) -> None:
    text = ">one first\nacgt\nNN\n\n>two\nGgC\r\nA\n"
    (tmp_path / "a.fa").write_text(text, encoding="ascii")
    (tmp_path / "b.fasta.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.fa", "b.fasta.gz"):
        assert "".join(text_chunks(tmp_path / name)) == "ACGTNN\nGGCA\n"
    letters = "ACGT" * 15
    (tmp_path / "long.fna").write_text(">x\n" + f"{letters}\n" * 40_000, encoding="ascii")
    pieces = list(text_chunks(tmp_path / "long.fna"))
    assert len(pieces) == 3 and "".join(pieces) == letters * 40_000 + "\n"
    for bad, message in (("acgt\n", "bad.fa:1: must begin with a line '>id'"), (">a\nAC-GT\n", "bad.fa:2: .* got '-'")):
        (tmp_path / "bad.fa").write_text(bad, encoding="ascii")
        with pytest.raises(DataError, match=message):
            list(text_chunks(tmp_path / "bad.fa"))
