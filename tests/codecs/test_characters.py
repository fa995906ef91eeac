"""Characters that tokens stand for, against the length of the text itself."""

from __future__ import annotations

import numpy as np
import pytest

from elman.codecs import characters
from elman.codecs.characters import characters_after_first
from elman.codecs.text import build_codec

TEXT = "Ein Café für 3 € – naïve Ωμέγα 漢字 🙂!\nzweite Zeile\n\nvierte Zeile\n" * 3


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("level", ["character", "word", "subword"])
def test_count_is_that_of_the_text_without_its_first_token(tmp_path, level, piece, monkeypatch):
    monkeypatch.setattr(characters, "_PIECE", piece)
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    codec = build_codec([path], level, 300 if level == "subword" else None)
    ids = codec.encode(TEXT)
    assert codec.decode(ids.tolist()) == TEXT
    first = {"character": 1, "word": len("Ein"), "subword": len(codec.decode(ids[:1].tolist()))}[level]
    assert characters_after_first(codec, ids.astype(np.uint16)) == len(TEXT) - first


@pytest.mark.parametrize("level", ["character", "word"])
def test_unknown_tokens_have_no_known_length(tmp_path, level):
    path = tmp_path / "text.txt"
    path.write_text("a b c d\n", encoding="utf-8")
    codec = build_codec([path], level)
    assert characters_after_first(codec, codec.encode("a b c d\n")) == 7
    assert characters_after_first(codec, codec.encode("a b x d\n")) is None
    assert characters_after_first(codec, codec.encode("x b c d\n")) == 7
