"""Texts with labels: every form reads the same examples, and every broken file is told with file and line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from elman.errors import DataError, MissingInputError, UsageError
from elman.readers.examples import Example, Reading, Rejects, is_empty
from elman.readers.labelled_text import read_labelled_text

PAIRS = [("good", "a fine, warm film"), ("bad", 'not "my" kind'), ("good", "crème brûlée")]


def csv_text(separator: str = ",") -> str:
    quoted = [(label, text if separator == "\t" else '"' + text.replace('"', '""') + '"') for label, text in PAIRS]
    return f"label{separator}text\n" + "".join(f"{label}{separator}{text}\n" for label, text in quoted)


def written(folder: Path, form: str) -> Path:
    """The three examples in a form."""
    if form == "folders":
        for n, (label, text) in enumerate(PAIRS):
            (folder / "data" / label).mkdir(parents=True, exist_ok=True)
            (folder / "data" / label / f"{n}.txt").write_text(text.replace(" ", "\n  ") + "\n", encoding="utf-8")
        return folder / "data"
    if form == "files":
        (folder / "data").mkdir()
        for label in ("good", "bad"):
            texts = [text for own, text in PAIRS if own == label]
            (folder / "data" / f"{label}.txt").write_text("\n\n".join(texts), encoding="utf-8")
        return folder / "data"
    name, text = {
        "csv": ("data.csv", csv_text()),
        "tsv": ("data.tsv", csv_text("\t")),
        "jsonl": ("data.jsonl", "".join(json.dumps({"label": a, "text": b}) + "\n\n" for a, b in PAIRS)),
        "fasttext": ("data.ft", "".join(f"__label__{a} {b}\n" for a, b in PAIRS)),
        "label-first": ("data.train", "\ufeff" + "".join(f"{a}\t{b}\r\n" for a, b in PAIRS)),
    }[form]
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "folders", "files", "fasttext", "label-first"])
@pytest.mark.parametrize("named", [False, True])
def test_every_form_reads_the_same(form: str, named: bool, tmp_path: Path) -> None:
    found = list(read_labelled_text(written(tmp_path, form), Reading(form=form if named else "auto")))
    assert sorted((example.y, example.x) for example in found) == sorted(PAIRS)


@pytest.mark.parametrize("form", ["csv", "label-first"])
def test_gzip_is_read_as_what_it_holds(form: str, tmp_path: Path) -> None:
    plain = written(tmp_path, form)
    packed = plain.with_name(plain.name + ".gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [e.x for e in read_labelled_text(packed, Reading())] == [text for _, text in PAIRS]


def test_examples_say_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('text,label\n"two\nlines",a\n\nthree,b\n', encoding="utf-8")
    assert [(e.where, e.x) for e in read_labelled_text(path, Reading())] == [
        (f"{path}:2", "two\nlines"),
        (f"{path}:5", "three"),
    ]


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    path.write_text("stars\treview\tauthor\tset\n5\tfine\tann\tdev\n1\tpoor\tbob\ttest\n", encoding="utf-8")
    columns = {"text": "review", "label": "stars", "group": "author", "part": "set"}
    assert list(read_labelled_text(path, Reading(columns=columns))) == [
        Example(f"{path}:2", "fine", "5", "ann", "validation"),
        Example(f"{path}:3", "poor", "1", "bob", "test"),
    ]
    with pytest.raises(UsageError, match="must be for one of text, label, group, part; got 'txt'"):
        list(read_labelled_text(path, Reading(columns={"txt": "review"})))


def test_without_labels_lines_are_texts_and_tables_need_no_label_column(tmp_path: Path) -> None:
    how = Reading(labelled=False)
    (tmp_path / "a.txt").write_text("good day\n\nbye\n", encoding="utf-8")
    found = list(read_labelled_text(tmp_path / "a.txt", how))
    assert [(e.x, e.y) for e in found] == [("good day", None), ("", None), ("bye", None)]
    assert [is_empty(e) for e in found] == [False, True, False]
    (tmp_path / "a.txt").write_text("__label__a good day\n\n__label__b bye\n", encoding="utf-8")  # no word of a text
    found = list(read_labelled_text(tmp_path / "a.txt", how))
    assert [(e.x, e.y) for e in found] == [("good day", "a"), ("", None), ("bye", "b")]
    (tmp_path / "a.csv").write_text("text\ngood day\n", encoding="utf-8")
    assert [(e.x, e.y) for e in read_labelled_text(tmp_path / "a.csv", how)] == [("good day", None)]


BROKEN: dict[str, tuple[str, bytes, int, str]] = {
    # what is wrong: file name, content, line, and what the error says; each has one good example in label "a"
    "a row with a column more": ("d.csv", b"text,label\nfine,a\nsmall,a,b\n", 3, "must have 2 columns; got 3"),
    "a row with a column less": ("d.tsv", b"text\tlabel\nfine\ta\nsmall\n", 3, "must have 2 columns; got 1"),
    "a quote that does not end": ("d.csv", b'text,label\nfine,a\n"small,a\nx,a\n', 3, "must be a row of CSV"),
    "an empty text": ("d.csv", b"text,label\nfine,a\n  ,a\n", 3, "text must not be empty; got nothing"),
    "an empty label": ("d.csv", b"text,label\nfine,a\nsmall,\n", 3, "label must not be empty; got nothing"),
    "JSON that ends early": ("d.jsonl", b'{"text": "fine", "label": "a"}\n{"text": \n', 2, "must be valid JSON"),
    "JSON that is no object": (
        "d.jsonl",
        b'{"text": "fine", "label": "a"}\n[1]\n',
        2,
        r"must be a JSON object; got '\[1\]'",
    ),
    "JSON without a label": (
        "d.jsonl",
        b'{"text": "fine", "label": "a"}\n{"text": "x"}\n',
        2,
        "label must not be empty; got the columns text",
    ),
    "a label without a text": ("d.train", b"a fine\nb\n", 2, "must hold a label and a text; got 'b'"),
    "no mark of fastText": ("d.train", b"__label__a fine\nb small\n", 2, "must begin with __label__ and a label"),
    "two labels": ("d.train", b"__label__a fine\n__label__b __label__c x\n", 2, "must have one label; got a second"),
    "bytes that are not UTF-8": ("d.train", b"a fine\nb caf\xe9\n", 2, "must be utf-8; got byte 0xe9 at offset 5"),
    "a first line that is not UTF-8": (
        "d.train",
        b"b caf\xe9\na fine\n",
        1,
        "must be utf-8; got byte 0xe9 at offset 5",
    ),
    "a NUL byte": ("d.train", b"a fine\nb sm\0all\n", 2, "must be text; got a NUL byte at offset 4"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_examples_are_told_with_file_and_line_or_counted(what: str, tmp_path: Path) -> None:
    name, data, line, message = BROKEN[what]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"^{path}:{line}: {message}"):
        list(read_labelled_text(path, Reading()))
    rejects = Rejects(skip=True)
    found = list(read_labelled_text(path, Reading(rejects)))
    assert [(e.x, e.y) for e in found][:1] == [("fine", "a")]
    assert all(e.x != "small" for e in found)
    assert [row["where"] for row in rejects.rows] == [f"{path}:{line}"]
    rejects.write(tmp_path / "rejects.jsonl")
    rows = [json.loads(row) for row in (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == rejects.rows and len(rows) == 1


WHOLE: dict[str, tuple[str, bytes, str]] = {
    "an empty file": ("d.csv", b"", "must hold text; the file is empty"),
    "no such column": (
        "d.csv",
        b"txt,label\nfine,a\n",
        ":1: must have a column 'text'; got 'txt', 'label'; did you mean",
    ),
    "two columns of one name": ("d.csv", b"text,text\nfine,a\n", ":1: columns must have different names"),
    "gzip that ends early": ("d.csv.gz", gzip.compress(b"text,label\nfine,a\n")[:-4], "must be a whole gzip file"),
    "no gzip at all": ("d.csv.gz", b"text,label\n", "must be a whole gzip file"),
}


@pytest.mark.parametrize("what", WHOLE)
@pytest.mark.parametrize("skip", [False, True])
def test_files_broken_as_a_whole_are_errors_even_when_skipping(what: str, skip: bool, tmp_path: Path) -> None:
    name, data, message = WHOLE[what]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        list(read_labelled_text(tmp_path / name, Reading(Rejects(skip))))


def test_folders_with_something_else_in_them(tmp_path: Path) -> None:
    folder = written(tmp_path, "folders")
    (folder / "good" / "empty.txt").write_text(" \n")
    (folder / "good" / "bytes.txt").write_bytes(b"caf\xe9")
    (folder / "loose.txt").write_text("x")
    (folder / ".hidden").mkdir()
    with pytest.raises(DataError, match=r"bytes.txt:1: must be utf-8"):
        list(read_labelled_text(folder, Reading()))
    rejects = Rejects(skip=True)
    assert len(list(read_labelled_text(folder, Reading(rejects)))) == 3
    assert sorted(Path(row["where"].split(":")[0]).name for row in rejects.rows) == [
        "bytes.txt",
        "empty.txt",
        "loose.txt",
    ]


def refusals() -> list[tuple[Callable[[Path], Path], Reading, type[Exception], str]]:
    return [
        (lambda folder: folder / "none.csv", Reading(), MissingInputError, "data must exist"),
        (lambda folder: written(folder, "csv"), Reading(form="cvs"), UsageError, "did you mean 'csv'"),
        (
            lambda folder: written(folder, "csv"),
            Reading(form="folders"),
            DataError,
            "must be a folder for format folders",
        ),
        (lambda folder: written(folder, "fasttext"), Reading(form="lines"), UsageError, "must be one that says labels"),
        (lambda folder: written(folder, "files"), Reading(form="csv"), DataError, "must be a file for format csv"),
        (lambda folder: written(folder, "csv"), Reading(encoding="utf-9"), UsageError, "got 'utf-9'"),
        (
            lambda folder: written(folder, "csv"),
            Reading(encoding="utf-16"),
            UsageError,
            "agrees with ASCII; got 'utf-16'",
        ),
    ]


@pytest.mark.parametrize("case", range(len(refusals())))
def test_what_cannot_be_read_that_way_is_refused(case: int, tmp_path: Path) -> None:
    make, how, error, message = refusals()[case]
    with pytest.raises(error, match=message):
        list(read_labelled_text(make(tmp_path), how))


def test_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "d.train").write_bytes("a café\n".encode("cp1252"))
    assert [e.x for e in read_labelled_text(tmp_path / "d.train", Reading(encoding="cp1252"))] == ["café"]


def test_the_public_sets_have_the_counts_of_their_readmes(data_folder: Path) -> None:
    counts = [
        len(list(read_labelled_text(data_folder / "sst" / f"stsa.binary.{p}", Reading())))
        for p in ("train", "dev", "test")
    ]
    assert counts == [6920, 872, 1821]
    subjectivity = list(read_labelled_text(data_folder / "subj" / "subj.all", Reading(encoding="cp1252")))
    assert [sum(e.y == label for e in subjectivity) for label in "01"] == [5000, 5000]
    names = list(read_labelled_text(data_folder / "names" / "names", Reading()))
    assert len(names) > 20_000 and len({e.y for e in names}) == 18


@pytest.mark.parametrize("form", ["fasttext", "label-first", "folders", "files"])
def test_columns_of_data_without_any_are_refused_where_they_were_asked_for(form: str, tmp_path: Path) -> None:
    path = written(tmp_path, form)
    with pytest.raises(UsageError, match=f"column: has no effect on format {form}, which has no columns; got 'text'"):
        list(read_labelled_text(path, Reading(columns={"text": "foo"})))
    later = Reading(columns={"text": "foo"}, purpose="measure")
    assert len(list(read_labelled_text(path, later))) == 3
    with pytest.raises(UsageError, match="column: has no effect"):
        list(read_labelled_text(path, replace(later, asked=frozenset({"text"}))))


@pytest.mark.parametrize(("sign", "text"), [(";", "one, two"), ("\t", "one, two; three"), (",", "one; two")])
def test_what_separates_a_csv_is_told_by_its_header(sign: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(f'text{sign}label\n{text}{sign}a\n"x{sign}y"{sign}b\n', encoding="utf-8")
    assert [(e.x, e.y) for e in read_labelled_text(tmp_path / "d.csv", Reading())] == [(text, "a"), (f"x{sign}y", "b")]


def test_hints_name_the_key_and_a_column_that_could_be_meant(tmp_path: Path) -> None:
    def hint(name: str, content: str, **columns: str) -> str:
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="must have a column") as caught:
            list(read_labelled_text(tmp_path / name, Reading(columns=columns)))
        return str(caught.value.hint).removeprefix("name the column with --column ")

    assert hint("a.csv", "text,label\nx,y\n", text="Review Body") == "text=text"
    assert hint("b.csv", "Review Body,label\nx,y\n", text="nope") == "text=NAME"
    assert hint("c.csv", "Review Body,label\nx,y\n", text="Review body") == "'text=Review Body'"
    assert hint("d.jsonl", '{"en": "x", "label": "y"}\n') == "text=NAME"
    assert hint("e.jsonl", '{"texts": "x", "label": "y"}\n') == "text=texts"
