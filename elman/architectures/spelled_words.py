"""Words by number and by their letters, so that a word never met still has a vector that says something."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.architectures.encoder import Encoder
from elman.architectures.inputs import Ragged, TokenVectors
from elman.architectures.pooling import Pooling
from elman.engines.rows import chosen_rows
from elman.equations import Cell
from elman.layers.regularisers import check_probability, drop
from elman.randomness import generator


@dataclass(frozen=True)
class SpelledWords:
    """Words by number and by their letters; a word that stands at several places is spelled once.

    Args:
        words: Word numbers (B, T) and lengths.
        letters: Letter numbers (N, S) of N different words and lengths.
        spelling: (B, T), which of the N words stands at each place.
    """

    words: Ragged
    letters: Ragged
    spelling: Tensor

    def to(self, device: torch.device) -> SpelledWords:
        """Return the same on another device."""
        return SpelledWords(self.words.to(device), self.letters.to(device), self.spelling.to(device))


class WordsAndLetters(nn.Module):
    """A vector for each word, beside what both directions of a layer say when they have read its letters.

    Args:
        words: Vectors of words.
        letters: Vectors of letters.
        hidden_size: Units of each direction over the letters.
        cell: Their cell.
        dropout: As of TokenVectors, on both parts together.
        seed: First values as a function of this number.

    Source: Lample et al. 2016, "Neural architectures for named entity recognition", section 4.1.
    """

    def __init__(
        self,
        words: TokenVectors,
        letters: TokenVectors,
        hidden_size: int,
        *,
        cell: Cell | str = "lstm",
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.words = words
        self.dropout = check_probability("input_dropout", dropout)
        self.speller = Encoder(letters, cell, hidden_size, bidirectional=True, seed=seed + 1)
        self.ends = Pooling("last", self.speller.directions, generator(seed, "initialise", "letters"))
        self.output_size = words.output_size + self.speller.output_size

    def forward(self, x: SpelledWords) -> Ragged:
        """Return vectors (B, T, words' size + 2 hidden_size)."""
        read = self.speller(x.letters)
        spelled = self.ends(read.values, read.lengths)  # (N, 2 H)
        vectors = torch.cat([self.words(x.words).values, chosen_rows(spelled, x.spelling)], dim=2)
        if self.training:
            vectors = drop(vectors, self.dropout, "input dropout", locked=True)
        return Ragged(vectors, x.words.lengths)
