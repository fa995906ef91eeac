"""First values of token vectors from files of published word vectors."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from elman.codecs.vocabulary import Vocabulary
from elman.codecs.word_vectors import read_word_vectors
from elman.config import FullPath, Options
from elman.errors import UsageError
from elman.randomness import generator


class WordVectorOptions(Options):
    """Word vectors from a file."""

    beside: ClassVar[tuple[str, ...]] = ("vectors",)

    vectors: FullPath | None = Field(
        None, description="file of word vectors (word2vec, GloVe or fastText as text) to begin with"
    )
    more_vectors: int = Field(
        20_000, ge=0, le=10_000_000, description="first words of the file to take besides those of the training data"
    )

    @model_validator(mode="after")
    def _refuse_more_of_nothing(self) -> WordVectorOptions:
        if self.vectors is None and self.differs("more_vectors"):
            raise ValueError("more_vectors has an effect with vectors only; got it alone")
        return self


def further_words(options: WordVectorOptions, met: Collection[str]) -> list[str]:
    """Return the words of the file that training did not meet and that are taken all the same; none without a file."""
    if options.vectors is None:
        return []
    found = read_word_vectors(options.vectors, met.__contains__, options.more_vectors)
    return [word for word in found.vectors if word not in met]


def first_vectors(options: WordVectorOptions, vocabulary: Vocabulary, size: int, seed: int) -> Tensor | None:
    """Return first token vectors (V, size): of the file where it has the word, drawn to its scale elsewhere.

    Raises:
        UsageError: the file has vectors of another size.
    """
    if options.vectors is None:
        return None
    found = read_word_vectors(options.vectors, set(vocabulary.tokens).__contains__)
    if found.size != size:
        raise UsageError(
            f"embedding_size: must be {found.size}, that of {options.vectors}; got {size}",
            f"give --embedding-size {found.size}",
        )
    rows = [(n, found.vectors[token]) for n, token in enumerate(vocabulary.tokens) if token in found.vectors]
    given = torch.stack([torch.from_numpy(vector) for _, vector in rows])  # (N, size)
    first = torch.randn(vocabulary.size, size, generator=generator(seed, "initialise", "words without a vector"))
    first *= given.std(correction=0)
    first[torch.tensor([n for n, _ in rows])] = given
    return first
