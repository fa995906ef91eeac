"""Sentences at every level: there and back, saved and rebuilt."""

from __future__ import annotations

import json

import pytest

from elman.codecs.saved import codecs_from_json, codecs_to_json
from elman.codecs.sentences import Sentences
from elman.errors import ModelFileError, UsageError

TEXTS = ["a dog and a cat .", "the dog saw a cat .", "Straße € 3,50"] * 4


@pytest.mark.parametrize("level", ["character", "word", "subword"])
def test_texts_go_there_and_back_and_through_json(level):
    sentences = Sentences.build(TEXTS, level)
    saved = json.loads(json.dumps(codecs_to_json({"source": sentences})))
    again = codecs_from_json(saved)["source"]
    assert again.size == sentences.size and again.longest == sentences.longest
    for text in TEXTS:
        assert sentences.decode(sentences.encode(text)) == text
        assert again.encode(text) == sentences.encode(text)
    assert sentences.longest == max(len(sentences.encode(text)) for text in TEXTS)


def test_a_subword_is_the_same_at_the_beginning_and_inside():
    sentences = Sentences.build(TEXTS, "subword")
    (dog,) = sentences.encode("dog")
    assert dog in sentences.encode("the dog saw") and sentences.tokens[dog] == " dog"


def test_what_is_no_description_is_refused():
    with pytest.raises(UsageError, match="did you mean 'subword'"):
        Sentences.build(TEXTS, "subwords")
    for wrong in ({"longest": "9"}, {"longest": True, "codec": {}}, {"longest": 0, "codec": {"level": "word"}}):
        with pytest.raises(ModelFileError):
            Sentences.from_json(wrong)
