"""Subwords: byte-level byte-pair encoding by the `tokenizers` library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from elman.codecs.text import Ids
from elman.codecs.vocabulary import LARGEST_VOCABULARY
from elman.errors import ModelFileError, UsageError
from elman.readers import text_chunks

Result = TypeVar("Result")
_LEADS = [*range(0x800, 0xD800, 0x800), 0xE000, 0xF000, 0x10000, 0x40000, 0x80000, 0xC0000, 0x100000]
_ALL_BYTES = "".join(map(chr, [*range(0x800), *_LEADS]))
"""A text that has every byte of UTF-8."""


def _guarded(work: Callable[[], Result], what: str) -> Result:
    """Run a call into the library; its panics are no Exceptions, so they are caught by name."""
    try:
        return work()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise ModelFileError(
            f"{what}: must be a tokenizer that the tokenizers library can read; it says: {error}"
        ) from None


class SubwordCodec:
    """Byte-pair encoding over bytes, so that every text has an encoding and no token is unknown.

    Args:
        tokenizer: A trained byte-level BPE tokenizer.

    Source: Sennrich et al. 2016; byte level as in Radford et al. 2019.
    """

    level = "subword"
    unknown: int | None = None
    end: int | None = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        size = tokenizer.get_vocab_size()
        if not 0 < size <= LARGEST_VOCABULARY:
            raise ModelFileError(f"tokenizer: must have 1 to {LARGEST_VOCABULARY:,} tokens; got {size:,}")
        names = [tokenizer.id_to_token(n) for n in range(size)]
        self.tokens = [name for name in names if name is not None]
        if len(self.tokens) != size:
            raise ModelFileError("tokenizer: token numbers must run from 0 without a gap")

    @classmethod
    def build(cls, paths: Sequence[Path], vocabulary_size: int, min_count: int = 1) -> SubwordCodec:
        """Train on files; at least the 256 bytes are tokens."""
        return cls.of_texts((line for path in paths for line in _lines(path)), vocabulary_size, min_count)

    @classmethod
    def of_texts(cls, texts: Iterable[str], vocabulary_size: int, min_count: int = 1) -> SubwordCodec:
        """Train on texts; at least the 256 bytes are tokens."""
        if vocabulary_size < 257:
            raise UsageError(
                f"vocabulary_size: must be at least 257 for subwords, whose first 256 tokens are the bytes; "
                f"got {vocabulary_size}"
            )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size, min_frequency=max(min_count, 2), initial_alphabet=alphabet, show_progress=False
        )
        _guarded(lambda: tokenizer.train_from_iterator(texts, trainer), "subwords")
        return cls(tokenizer)

    @property
    def size(self) -> int:
        """Number of tokens, V."""
        return len(self.tokens)

    def encode(self, text: str) -> Ids:
        """Return the numbers of a text."""
        ids = _guarded(lambda: self._tokenizer.encode(text).ids, "subwords")
        return np.array(ids, dtype=np.int64)

    def encode_file(self, path: Path) -> Iterator[Ids]:
        """Yield the numbers of a file, line by line."""
        for line in _lines(path):
            yield self.encode(line)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text; bytes that are not whole characters show as the replacement character."""
        numbers = [int(i) for i in ids]
        return str(_guarded(lambda: self._tokenizer.decode(numbers, skip_special_tokens=False), "subwords"))

    def to_json(self) -> dict[str, Any]:
        """Return the level and the tokenizer."""
        return {"level": self.level, "tokenizer": json.loads(self._tokenizer.to_str())}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SubwordCodec:
        """Rebuild from `to_json`, after checks of what the library takes on trust."""
        tokenizer = value.get("tokenizer")
        model = tokenizer.get("model") if isinstance(tokenizer, dict) else None
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        merges = model.get("merges") if isinstance(model, dict) else None
        if (
            not isinstance(vocabulary, dict)
            or not isinstance(merges, list)
            or model is None
            or model.get("type") != "BPE"
        ):
            raise ModelFileError("tokenizer: must be a byte-pair encoding with a vocabulary and merges")
        for merge in merges:
            pair = merge.split(" ") if isinstance(merge, str) else merge
            if not isinstance(pair, list) or len(pair) != 2 or "".join(map(str, pair)) not in vocabulary:
                raise ModelFileError(
                    f"tokenizer: every merge must join two tokens to one of the vocabulary; got {merge!r}"
                )
        codec = cls(_guarded(lambda: Tokenizer.from_str(json.dumps(tokenizer)), "tokenizer"))
        if codec.decode(codec.encode(_ALL_BYTES)) != _ALL_BYTES:
            raise ModelFileError(
                "tokenizer: must read bytes, so that every text has an encoding; one is lost or changed"
            )
        return codec


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends; a line longer than a mebibyte comes in pieces."""
    held = ""
    for text in text_chunks(path):
        *whole, held = (held + text).splitlines(keepends=True)
        yield from whole
        if held.endswith("\n") or len(held) > 1 << 20:
            yield held
            held = ""
    if held:
        yield held
