"""Tagged sentences: columns, CoNLL-U, JSON lines, spans of code points; broken files are told with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elman.errors import DataError, MissingInputError, UsageError
from elman.readers.examples import Reading, Rejects
from elman.readers.tagged_text import read_tagged_text
from elman.readers.words import with_places, words_of

CONLLU = """# sent_id = 1
# text = vámonos #al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tVV\t_\t0\troot\t_\t_
2\tnos\tnos\tPRON\tPP\t_\t1\tobj\t_\t_
2.1\tx\tx\tX\tX\t_\t_\t_\t_\t_
3\t#al\tal\tADP\tPR\t_\t1\tobl\t_\t_

1\tmar\tmar\tNOUN\tNN\t_\t0\troot\t_\t_
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def read(path: Path, **options) -> list[tuple[tuple[str, ...], tuple[str, ...] | None]]:
    return [(e.x, e.y) for e in read_tagged_text(path, Reading(**options))]


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.jsonl"])
def test_ends_of_line_of_old_macs_are_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"Ada B-x\rmet O\r\rBob B-x\r")
    with pytest.raises(DataError, match=r"a\.\w+: lines must end with LF or CRLF; got CR alone"):
        list(read_tagged_text(tmp_path / name, Reading(labelled=name != "a.txt")))


def test_columns_take_the_first_and_the_last(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conll", "-DOCSTART- -X- O\n\nEU NNP B-ORG\n#x CD O\n\n \nIt\u00a0s PRP O\n")
    assert read(path) == [(("EU", "#x"), ("B-ORG", "O")), (("It\u00a0s",), ("O",))]
    assert read(path, columns={"tag": "2"})[0] == (("EU", "#x"), ("NNP", "CD"))
    assert [e.where for e in read_tagged_text(path, Reading())] == [f"{path}:3", f"{path}:7"]


def test_blanks_beside_a_tab_belong_to_it(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conll", "EU NNP B-ORG\nis \t VBZ\tO\n.  .\t  O \n\nx\t\tO\n")
    assert read(path) == [(("EU", "is", "."), ("B-ORG", "O", "O")), (("x",), ("O",))]


def test_conllu_leaves_out_comments_ranges_and_empty_nodes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conllu", CONLLU)
    assert read(path) == [(("vamos", "nos", "#al"), ("VERB", "PRON", "ADP")), (("mar",), ("NOUN",))]
    assert read(path, columns={"word": "lemma", "tag": "xpos"})[0] == (("ir", "nos", "al"), ("VV", "PP", "PR"))
    with pytest.raises(UsageError, match="did you mean 'upos'"):
        read(path, columns={"tag": "uposs"})


def test_json_lines_with_tags_and_with_spans(tmp_path: Path) -> None:
    text = "Zoë met Ann Lee, in Bonn."
    spans = [{"start": 0, "end": 3, "label": "per"}, {"start": 8, "end": 15, "label": "per"}]
    spans.append({"start": 20, "end": 24, "label": "loc"})
    rows = [{"text": text, "spans": spans}, {"tokens": ["a", "b c"], "tags": ["O", "B-x"]}]
    path = write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    words = ("Zoë", "met", "Ann", "Lee", ",", "in", "Bonn", ".")
    tags = ("B-per", "O", "B-per", "I-per", "O", "O", "B-loc", "O")
    assert read(path) == [(words, tags), (("a", "b c"), ("O", "B-x"))]


def test_a_span_within_a_word_cuts_it_where_tags_are_needed(tmp_path: Path) -> None:
    text = "\U0001f600 Bob's dog, (Zoë)!"
    spans = [{"start": 2, "end": 5, "label": "per"}, {"start": 14, "end": 17, "label": "per"}]
    path = write(tmp_path, "a.jsonl", json.dumps({"text": text, "spans": spans}) + "\n")
    words = ("\U0001f600", "Bob", "'s", "dog", ",", "(", "Zoë", ")", "!")
    assert read(path) == [(words, ("O", "B-per", "O", "O", "O", "O", "B-per", "O", "O"))]
    assert read(path, labelled=False) == [(("\U0001f600", "Bob's", *words[3:]), None)], "the truth is not peeped at"
    inner = json.dumps({"text": "abcd", "spans": [{"start": 1, "end": 3, "label": "x"}]})
    assert read(write(tmp_path, "b.jsonl", inner + "\n")) == [(("a", "bc", "d"), ("O", "B-x", "O"))]


def test_words_keep_the_text_and_their_places(tmp_path: Path) -> None:
    text = "  Hi,  Bob"
    rows = [{"text": text}, {"text": text, "tokens": ["Hi", ", ", "Bob"]}, {"text": "Ada", "tokens": ["Hi", "Bob"]}]
    jsonl = write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lines, conll = write(tmp_path, "a.txt", text + "\n"), write(tmp_path, "a.conll", "Hi\nBob\n")
    plain, cut, foreign = (with_places(x) for x, _ in read(jsonl, labelled=False))
    assert (plain.text, plain.places) == (text, ((2, 4), (4, 5), (7, 10)))
    assert (cut.text, cut.places) == (text, ((2, 4), (4, 6), (7, 10)))
    assert (foreign.text, foreign.places) == ("Hi Bob", ((0, 2), (3, 6)))
    assert with_places(read(lines, labelled=False)[0][0]).places == plain.places
    assert with_places(read(conll, labelled=False)[0][0]).places == foreign.places


def test_without_tags(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.txt", "Hi, Bob\n\nbye\n"), labelled=False) == [
        (("Hi", ",", "Bob"), None),
        ("", None),
        (("bye",), None),
    ]
    assert read(write(tmp_path, "a.conll", "Hi\nBob\n\nbye\n"), labelled=False) == [
        (("Hi", "Bob"), None),
        (("bye",), None),
    ]
    few = write(tmp_path, "few.conll", "Hi UH\nBob NNP\n")  # a model whose tags were in the fourth column
    assert read(few, labelled=False, columns={"tag": "4"}) == [(("Hi", "Bob"), None)]
    assert read(write(tmp_path, "a.jsonl", '{"text": "Hi, Bob"}\n{"tokens": ["x"]}\n'), labelled=False) == [
        (("Hi", ",", "Bob"), None),
        (("x",), None),
    ]


@pytest.mark.parametrize(
    "text", ["हिन्दी भाषा", "தமிழ்", "שָׁלוֹם", "עֲלֵיכֶם", "مُحَمَّد", "می‌خواهم", "ka\u0301ve\u0301 e\u0301t-a\u0300", "❤️ 1️⃣"]
)
def test_marks_belong_to_the_letter_before_them(text: str) -> None:
    assert [word.text for word in words_of(text)] == text.split()
    assert [word.text for word in words_of(f"({text.split()[0]}!)")] == ["(", text.split()[0], "!", ")"]


def test_words_know_their_place() -> None:
    text = "Don't – it's 1,000.5 e-mails @ 10:30…"
    assert [text[w.begin : w.end] for w in words_of(text)] == [w.text for w in words_of(text)]
    assert [w.text for w in words_of(text)] == ["Don't", "–", "it's", "1,000.5", "e-mails", "@", "10:30", "…"]
    assert "".join(w.text for w in words_of(text)) == text.replace(" ", "")


GOOD_ROW = '{"tokens": ["ok"], "tags": ["O"]}\n'
BROKEN = {
    "a line with a column less": ("d.conll", "ok O\n\nEU NNP B-ORG\nx O\n", 3, "must have 2 columns; got 3"),
    "a line without a tag": ("d.conll", "ok O\n\nEU B-ORG\nx\n", 4, "must have 2 columns; got 1"),
    "an empty tag": ("d.conll", "ok\tO\n\nEU\tB-ORG\nx\t\n", 4, "must have 2 columns; got 1"),
    "an id that is no number": ("d.conllu", CONLLU.replace("1\tmar", "one\tmar"), 9, "id must be a number; got 'one'"),
    "JSON that ends early": ("d.jsonl", GOOD_ROW + '{"tokens": ["a"\n', 2, "must be valid JSON"),
    "a tag too few": ("d.jsonl", GOOD_ROW + '{"tokens": ["a", "b"], "tags": ["O"]}\n', 2, "got 2 tokens and 1 tags"),
    "tokens that are no texts": (
        "d.jsonl",
        GOOD_ROW + '{"tokens": [1], "tags": ["O"]}\n',
        2,
        "must be a list of texts",
    ),
    "neither tokens nor text": (
        "d.jsonl",
        GOOD_ROW + '{"txt": "a"}\n',
        2,
        "must have tokens and tags, or text with words",
    ),
    "a text without words": (
        "d.jsonl",
        GOOD_ROW + '{"text": " ", "spans": []}\n',
        2,
        "must have tokens and tags, or text",
    ),
    "no spans": ("d.jsonl", GOOD_ROW + '{"text": "a"}\n', 2, "spans must be a list; got 'None'"),
    "a span of white space": (
        "d.jsonl",
        GOOD_ROW + '{"text": "abc d", "spans": [{"start": 3, "end": 4, "label": "x"}]}\n',
        2,
        "must hold a word; got 3 to 4, which is white space",
    ),
    "a span beyond the text": (
        "d.jsonl",
        GOOD_ROW + '{"text": "abc d", "spans": [{"start": 4, "end": 9, "label": "x"}]}\n',
        2,
        r"end \(from 0 to 5\) and a label",
    ),
    "spans that overlap": (
        "d.jsonl",
        GOOD_ROW
        + '{"text": "a b", "spans": [{"start": 0, "end": 3, "label": "x"}, {"start": 2, "end": 3, "label": "y"}]}\n',
        2,
        "must not overlap; got two at 'b'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_sentences_are_told_with_file_and_line_or_counted(what: str, tmp_path: Path) -> None:
    name, text, line, message = BROKEN[what]
    path = write(tmp_path, name, text)
    with pytest.raises(DataError, match=f"^{path}:{line}: .*{message}"):
        read(path)
    rejects = Rejects(skip=True)
    found = [e.x for e in read_tagged_text(path, Reading(rejects))]
    assert found == [("ok",)] if "conllu" not in name else found == [("vamos", "nos", "#al")]
    assert [row["where"] for row in rejects.rows] == [f"{path}:{line}"]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="data must exist"):
        read(tmp_path / "none.conll")
    path = write(tmp_path, "a.conll", "a O\n")
    with pytest.raises(UsageError, match="did you mean 'conllu'"):
        read(path, form="conlu")
    for given in ("0", "²"):
        with pytest.raises(UsageError, match=f"must be the number of a column, from 1; got '{given}'"):
            read(path, columns={"tag": given})


def test_the_public_sets_have_the_counts_of_their_readmes(data_folder: Path) -> None:
    names = {
        "wnut17train.conll": (3394, 62730),
        "emerging.dev.conll": (1009, 15733),
        "emerging.test.annotated": (1287, 23394),
    }
    for name, expected in names.items():
        found = read(data_folder / "wnut17" / name)
        assert (len(found), sum(len(words) for words, _ in found)) == expected
    for part, expected in {"train": (12544, 204577), "dev": (2001, 25147), "test": (2077, 25094)}.items():
        found = read(data_folder / "ud_english_ewt" / f"en_ewt-ud-{part}.conllu.gz")
        assert (len(found), sum(len(words) for words, _ in found)) == expected
        assert len({tag for _, tags in found for tag in tags or ()}) == 17
