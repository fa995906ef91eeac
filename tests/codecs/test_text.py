"""Text to tokens and back: every level, limits, unknowns, and vocabularies that are not what they claim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.codecs.subwords import SubwordCodec
from elman.codecs.text import CharacterCodec, WordCodec, build_codec, codec_from_json
from elman.errors import DataError, ModelFileError, UsageError

TEXT = "the cat sat on the mat\nthe dog sat\n"


def write(folder: Path, text: str, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


@given(st.text(min_size=1))
def test_characters_decode_to_what_was_encoded(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode("utf-8") or "a"
    codec = CharacterCodec.build([text])
    assert codec.decode(codec.encode(text)) == text
    assert codec.size == len(set(text)) + 1


@given(st.lists(st.lists(st.text("abcäλ", min_size=1), min_size=1), min_size=1))
def test_words_decode_to_what_was_encoded(lines: list[list[str]]) -> None:
    text = "\n".join(" ".join(line) for line in lines) + "\n"
    codec = WordCodec.build([text.replace("\n", " <eos> ").split()])
    assert codec.decode(codec.encode(text)) == text


@pytest.fixture(scope="module")
def subwords(tmp_path_factory: pytest.TempPathFactory) -> SubwordCodec:
    return SubwordCodec.build([write(tmp_path_factory.mktemp("subwords"), TEXT * 5)], 280)


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=50))
def test_subwords_decode_any_text(subwords: SubwordCodec, text: str) -> None:
    text = text.encode("utf-8", "ignore").decode("utf-8")
    assert subwords.decode(subwords.encode(text)) == text


@pytest.mark.parametrize("text", ["a\n\nb\u2028c\x85", "one\n", "\n", "x" * 70_000 + "\n" + "ab " * 40_000])
def test_a_file_of_subwords_decodes_to_its_text(subwords: SubwordCodec, text: str, tmp_path: Path) -> None:
    ids = np.concatenate(list(subwords.encode_file(write(tmp_path, text))))
    assert subwords.decode(ids) == text


def test_subwords_are_as_many_as_said_and_join_what_comes_often_enough() -> None:
    assert SubwordCodec.of_texts([TEXT * 5], 263).size == 263
    sizes = [SubwordCodec.of_texts(["ab ab"], 300, count).size for count in (1, 2, 3)]
    assert sizes == [257, 257, 256], "two bytes are joined where they meet twice, or as often as asked for"
    with pytest.raises(UsageError, match="must be at least 257 for subwords"):
        SubwordCodec.of_texts([TEXT], 256)


def test_size_and_count_limits_keep_the_most_frequent() -> None:
    words = TEXT.replace("\n", " <eos> ").split()
    assert WordCodec.build([words], vocabulary_size=4).tokens == ["<unk>", "<eos>", "the", "sat"]
    assert WordCodec.build([words], min_count=2).tokens == ["<unk>", "<eos>", "the", "sat"]
    assert CharacterCodec.build(["aaab"], min_count=2).tokens == ["<unk>", "a"]


def test_what_was_never_seen_becomes_unknown() -> None:
    codec = CharacterCodec.build(["abc"])
    assert codec.encode("axc").tolist() == [1, 0, 3]
    words = WordCodec.build([["a", "b"]])
    assert words.encode("a zebra\n").tolist() == [words.encode("a")[0], 0, 1]


def test_every_line_ends_a_sentence_at_word_level(tmp_path: Path) -> None:
    codec = build_codec([write(tmp_path, TEXT)], "word")
    ids = np.concatenate(list(codec.encode_file(write(tmp_path, TEXT))))
    assert ids.tolist() == codec.encode(TEXT).tolist()
    assert int((ids == codec.end).sum()) == 2
    open_end = np.concatenate(list(codec.encode_file(write(tmp_path, TEXT.rstrip("\n"), "open.txt"))))
    assert open_end.tolist() == ids.tolist()


@pytest.mark.parametrize("level", ["character", "word", "subword"])
def test_a_codec_survives_json(level: str, tmp_path: Path) -> None:
    codec = build_codec([write(tmp_path, TEXT * 3)], level, 300 if level == "subword" else None)
    again = codec_from_json(json.loads(json.dumps(codec.to_json())))
    assert again.tokens == codec.tokens
    assert again.encode(TEXT).tolist() == codec.encode(TEXT).tolist()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must name its level, one of character, word, subword"),
        ({"level": "runes"}, "must name its level"),
        ({"level": "word", "tokens": ["a", "a"]}, "tokens must be different strings"),
        ({"level": "word", "tokens": ["a", "b"]}, "<unk>, <eos> is missing"),
        ({"level": "character", "tokens": ["<unk>", "ab"]}, "must be single characters; got 'ab'"),
        ({"level": "character"}, "must have a list of tokens"),
        ({"level": "subword", "tokenizer": {"model": {"type": "Unigram"}}}, "must be a byte-pair encoding"),
        (
            {
                "level": "subword",
                "tokenizer": {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}},
            },
            "every merge must join two tokens to one of the vocabulary; got 'a b'",
        ),
        (
            {"level": "subword", "tokenizer": {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "x": 1}},
            "tokenizer",
        ),
    ],
)
def test_a_damaged_vocabulary_is_refused(value: object, message: str) -> None:
    with pytest.raises(ModelFileError, match=message.replace("(", r"\(")):
        codec_from_json(value)


@pytest.mark.parametrize("change", [{"pre_tokenizer": None}, {"normalizer": {"type": "Lowercase"}}])
def test_subwords_that_lose_text_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    value = build_codec([write(tmp_path, TEXT)], "subword", 300).to_json()
    assert codec_from_json(value).size > 256
    value["tokenizer"].update(change)
    with pytest.raises(ModelFileError, match="every text has an encoding"):
        codec_from_json(value)


def test_options_outside_their_range_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    with pytest.raises(
        UsageError, match="level: must be one of character, word, subword; got 'words'; did you mean 'word'"
    ):
        build_codec([path], "words")
    with pytest.raises(UsageError, match="vocabulary_size: must be at least 257"):
        build_codec([path], "subword", 100)
    with pytest.raises(DataError, match="must keep at least one token"):
        build_codec([path], "word", min_count=1000)
