"""Vocabularies and labels: counting, the unknown token, forgetting, balance, and what a model folder keeps."""

from __future__ import annotations

import json

import pytest

from elman.codecs.labels import Labels
from elman.codecs.saved import codecs_from_json, codecs_to_json
from elman.codecs.vocabulary import Vocabulary
from elman.errors import DataError, ModelFileError

TEXTS = [["The", "cat"], ["the", "dog", "the"], ["<unk>", "Cat"]]


def test_tokens_are_numbered_by_frequency_and_then_by_text() -> None:
    words = Vocabulary.build(TEXTS)
    assert words.tokens == ["<unk>", "the", "Cat", "The", "cat", "dog"]
    assert words.encode(["dog", "The", "bird", "<unk>"]) == [5, 3, 0, 0]
    assert Vocabulary.build(TEXTS, min_count=2).tokens == ["<unk>", "the"]
    assert Vocabulary.build(TEXTS, size=3).tokens == ["<unk>", "the", "Cat"]
    with pytest.raises(DataError, match="must keep at least one token"):
        Vocabulary.build(TEXTS, min_count=9)


def test_lower_case_counts_and_finds_in_lower_case() -> None:
    words = Vocabulary.build(TEXTS, lowercase=True, further=["bird", "cat", "fish"])
    assert words.tokens == ["<unk>", "the", "cat", "dog", "bird", "fish"]
    assert words.encode(["CAT", "Bird", "worm"]) == [2, 4, 0]


def test_rare_tokens_are_forgotten_more_often_and_added_ones_never() -> None:
    words = Vocabulary.build(TEXTS, lowercase=True, further=["bird"])
    assert words.forgetting(0.5).tolist() == pytest.approx([0, 0.5 / 3.5, 0.5 / 2.5, 0.5 / 1.5, 0])
    with pytest.raises(DataError, match="must have been counted"):
        Vocabulary(["<unk>", "a"]).forgetting(0.5)


def test_labels_tell_what_training_met() -> None:
    labels = Labels.build(["neg", "pos", "neg", "neg"])
    assert [labels.encode(name, "x") for name in ("neg", "pos")] == [0, 1]
    with pytest.raises(DataError, match=r"^a.csv:3: label must be one .*, neg, pos; got 'poss'; did you mean 'pos'"):
        labels.encode("poss", "a.csv:3")
    assert labels.balance(["neg", "pos", "neg", "neg"], 1).tolist() == pytest.approx([4 / 6, 4 / 2])
    assert labels.balance(["neg", "pos", "neg", "neg"], 0).tolist() == [1, 1]


def test_codecs_come_back_from_json() -> None:
    codecs = {"words": Vocabulary.build(TEXTS, lowercase=True), "labels": Labels.build("ba")}
    back = codecs_from_json(json.loads(json.dumps(codecs_to_json(codecs))))
    assert back["words"].encode(["DOG"]) == codecs["words"].encode(["DOG"]) != [0]
    assert back["labels"].names == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must be a table of codecs"),
        ({"a": 1}, "must be a table of codecs"),
        ({"a": {"kind": "os.system"}}, "kind of 'a' must be one of vocabulary, labels"),
        ({"a": {"kind": "vocabulary", "tokens": ["a"], "lowercase": False}}, "must begin with <unk>; got 'a'"),
        ({"a": {"kind": "vocabulary", "tokens": ["<unk>"], "lowercase": "no"}}, "lowercase true or false"),
        ({"a": {"kind": "labels", "names": ["x", "x"]}}, "must be different strings"),
        ({"a": {"kind": "labels", "names": "xy"}}, "must have a list of names"),
    ],
)
def test_what_is_no_codec_is_refused(value: object, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        codecs_from_json(value)
