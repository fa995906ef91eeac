"""Pairs of texts: two parallel files, lines with a tab, tables; what is wrong with them is told with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from elman.errors import DataError, MissingInputError, UsageError
from elman.readers import Rejects
from elman.readers.pairs import PairReading, read_pairs


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def found(path: Path, **options: object) -> list[tuple[str, str, str | None]]:
    how = PairReading(**options)  # type: ignore[arg-type]
    return [(e.where.removeprefix(f"{path.parent}/"), e.x, e.y) for e in read_pairs(path, how)]


PAIRS = [("a cat", "eine Katze"), ("a dog", "ein Hund")]


@pytest.mark.parametrize(
    ("name", "text", "first"),
    [
        ("p.tsv", "a cat\teine Katze\na dog\tein Hund\n", 1),
        ("p.txt", "a cat\teine Katze\n\na dog\tein Hund\n", 1),
        ("p.tsv.gz", "source\ttarget\na cat\teine Katze\na dog\tein Hund\n", 2),
        ("p.csv", 'target,source\n"eine Katze",a cat\nein Hund,a dog\n', 2),
        ("p.jsonl", '{"source": "a cat", "target": "eine Katze"}\n{"source": "a dog", "target": "ein Hund"}\n', 1),
    ],
)
def test_every_form_gives_the_same_pairs(tmp_path, name, text, first):
    read = found(written(tmp_path, name, text))
    assert [(x, y) for _, x, y in read] == PAIRS
    assert read[0][0] == f"{name}:{first}"


def test_parallel_files_belong_together_line_by_line(tmp_path):
    target = written(tmp_path, "b.de", "eine Katze\r\nein Hund")
    source = written(tmp_path, "a.en.gz", " a cat\na dog\n")
    assert [(x, y) for _, x, y in found(source, target=target)] == PAIRS


def test_columns_have_the_names_that_are_told(tmp_path):
    path = written(tmp_path, "p.csv", "en,de,set\na cat,eine Katze,test\n")
    (example,) = read_pairs(path, PairReading(columns={"source": "en", "target": "de", "part": "set"}))
    assert (example.x, example.y, example.part) == ("a cat", "eine Katze", "test")


def test_without_targets_lines_are_sources(tmp_path):
    assert found(written(tmp_path, "a.txt", "a cat\n\na dog\n"), labelled=False) == [
        ("a.txt:1", "a cat", None),
        ("a.txt:2", "", None),  # it gets an empty line for an answer
        ("a.txt:3", "a dog", None),
    ]
    assert [x for _, x, _ in found(written(tmp_path, "p.tsv", "a cat\neine\tKatze\n"), labelled=False)] == [
        "a cat",
        "eine",
    ]


@pytest.mark.parametrize("name", ["p.tsv", "p.txt"])
def test_sources_of_pairs_are_those_that_are_measured(tmp_path, name):
    """And every line has one, so that line n of the answers is that of line n."""
    path = written(tmp_path, name, "\na cat\teine Katze\n\na dog\tein Hund\n")
    assert [x for _, x, _ in found(path, labelled=False)] == ["", "a cat", "", "a dog"]
    assert [(x, y) for _, x, y in found(path)] == PAIRS
    path = written(tmp_path, name, "a cat\teine Katze\na dog\t\nan ox\n")
    assert [x for _, x, _ in found(path, labelled=False)] == ["a cat", "a dog", "an ox"]
    path = written(tmp_path, "a.txt", "a\tcat or\ttwo\na\tdog\n")  # lines
    assert [x for _, x, _ in found(path, labelled=False)] == ["a\tcat or\ttwo", "a\tdog"]


@pytest.mark.parametrize(
    ("source", "target", "where", "problem"),
    [
        ("a\nb\nc\n", "x\ny\n", "a.en", "must have as many lines as .*b.de; got 3 and 2"),
        ("a\n\nc\n", "x\ny\nz\n", "a.en:2", "source must not be empty"),
        ("a\nb\nc\n", "x\n \nz\n", "b.de:2", "target must not be empty"),
        ("a\nb\nc\n", b"x\n\xff\nz\n", "b.de:2", "must be utf-8; got byte 0xff"),
        (b"a\n\xc3\nc\n", "x\ny\nz\n", "a.en:2", "must be utf-8; got byte 0xc3"),
        (b"a\nb\0\nc\n", "x\ny\nz\n", "a.en:2", "got a NUL byte"),
        ("", "x\n", "a.en", "the file is empty"),
    ],
)
def test_broken_parallel_files_are_told_or_skipped_without_a_shift(tmp_path, source, target, where, problem):
    source, target = written(tmp_path, "a.en", source), written(tmp_path, "b.de", target)
    with pytest.raises(DataError, match=problem) as error:
        found(source, target=target)
    assert str(error.value).startswith(f"{tmp_path / where}")
    if ":" in where:
        rejects = Rejects(skip=True)
        assert [(x, y) for _, x, y in found(source, target=target, rejects=rejects)] == [("a", "x"), ("c", "z")]
        assert [row["where"] for row in rejects.rows] == [str(tmp_path / where)]


def test_a_first_line_that_is_no_text_is_skipped_once(tmp_path):
    rejects = Rejects(skip=True)
    read = found(written(tmp_path, "p.tsv", b"caf\xe9\tx\na cat\teine Katze\n"), rejects=rejects)
    assert (read, len(rejects)) == ([("p.tsv:2", *PAIRS[0])], 1)


@pytest.mark.parametrize(
    ("name", "text", "where", "problem"),
    [
        ("p.tsv", "a\tx\nb\n", "p.tsv:2", "must be SOURCE<tab>TARGET; got 1 parts in 'b'"),
        ("p.txt", "a\tx\nb\ty\tz\n", "p.txt:2", "got 3 parts"),
        ("p.tsv", "a\tx\n\ty\n", "p.tsv:2", "source must not be empty"),
        ("p.csv", "source,target\na,x\nb,\n", "p.csv:3", "target must not be empty"),
        ("p.csv", "source,text\na,x\n", "p.csv:1", "must have a column 'target'"),
        ("p.jsonl", '{"source": "a", "target": "x"}\n{"source": 1\n', "p.jsonl:2", "JSON"),
    ],
)
def test_broken_pairs_are_told_with_their_line(tmp_path, name, text, where, problem):
    with pytest.raises(DataError, match=problem) as error:
        found(written(tmp_path, name, text))
    assert str(error.value).startswith(f"{tmp_path / where}: ")


def test_what_does_not_fit_together_is_refused(tmp_path):
    lines, pairs = written(tmp_path, "a.en", "a\n"), written(tmp_path, "p.csv", "source,target\na,x\n")
    with pytest.raises(UsageError, match=r"target: has an effect with format lines only; .* is read as csv"):
        found(pairs, target=lines, form="csv")
    with pytest.raises(UsageError, match="must come with a file of targets"):
        found(lines, form="lines")
    with pytest.raises(UsageError, match="did you mean 'pairs'"):
        found(pairs, form="pair")
    with pytest.raises(MissingInputError, match="data must exist"):
        found(tmp_path / "none.tsv")
    with pytest.raises(MissingInputError, match="no such file"):
        found(lines, target=tmp_path / "none.de")
