"""Vocabularies: tokens of any kind to numbers; number 0 stands for what was never met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from elman.errors import DataError, ModelFileError

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = "<unk>"
LARGEST_VOCABULARY = 10_000_000


class Vocabulary:
    """Tokens and their numbers.

    Args:
        tokens: The vocabulary; "<unk>" first.
        lowercase: Look tokens up in lower case.
        counts: How often training met each token; None where nobody counted.

    Raises:
        ModelFileError: the tokens are not different strings, or "<unk>" is not the first.

    Example:
        >>> words = Vocabulary.build([["A", "rose", "is", "a", "rose"]], lowercase=True)
        >>> words.encode(["a", "Rose", "was"]), words.tokens
        ([1, 2, 0], ['<unk>', 'a', 'rose', 'is'])
    """

    kind = "vocabulary"

    def __init__(self, tokens: Sequence[str], *, lowercase: bool = False, counts: Sequence[int] | None = None) -> None:
        self.tokens = checked_tokens(tokens, self.kind)
        if self.tokens[0] != UNKNOWN:
            raise ModelFileError(f"vocabulary: must begin with {UNKNOWN}; got {self.tokens[0]!r}")
        self.lowercase, self.counts = lowercase, counts
        self._numbers = {token: number for number, token in enumerate(self.tokens)}

    @classmethod
    def build(
        cls,
        texts: Iterable[Iterable[str]],
        *,
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        further: Iterable[str] = (),
    ) -> Vocabulary:
        """Count tokens and keep the most frequent, in order of frequency.

        Args:
            texts: Tokens of each text.
            size: Most tokens to keep, "<unk>" counted; None for all.
            min_count: Tokens met less often become "<unk>".
            lowercase: Count them in lower case.
            further: Tokens added behind the counted ones, met or not.

        Raises:
            DataError: no token is left.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(token.lower() for token in text) if lowercase else counts.update(text)
        counts.pop(UNKNOWN, None)
        kept = most_frequent(counts, size, min_count)
        known = {UNKNOWN, *kept}
        added = [token for token in dict.fromkeys(further) if token not in known]
        return cls(
            [UNKNOWN, *kept, *added], lowercase=lowercase, counts=[0, *(counts[t] for t in kept), *([0] * len(added))]
        )

    @property
    def size(self) -> int:
        """Number of tokens, V."""
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the number of each token, 0 for what is not in the vocabulary."""
        if self.lowercase:
            return [self._numbers.get(token.lower(), 0) for token in tokens]
        return [self._numbers.get(token, 0) for token in tokens]

    def forgetting(self, weight: float) -> Tensor:
        """Return (V,) the probability weight / (weight + count) that training forgets a token; 0 for those never met.

        A token met once is forgotten often, so that the unknown one learns to stand for rare words.

        Raises:
            DataError: nobody counted.

        Source: Kiperwasser and Goldberg 2016, "Simple and accurate dependency parsing", section 4.
        """
        if self.counts is None:
            raise DataError("vocabulary: must have been counted on training texts; got one from a model")
        import torch  # for training only: a model in use reads its vocabulary without torch

        counts = torch.tensor(self.counts, dtype=torch.float32)
        return torch.where(counts > 0, weight / (weight + counts), 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` rebuilds."""
        return {"tokens": self.tokens, "lowercase": self.lowercase}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Vocabulary:
        """Rebuild what `to_json` gave.

        Raises:
            ModelFileError: it is not the description of a vocabulary.
        """
        tokens, lowercase = value.get("tokens"), value.get("lowercase")
        if not isinstance(tokens, list) or not isinstance(lowercase, bool):
            raise ModelFileError("vocabulary: must have a list of tokens, and lowercase true or false")
        return cls(tokens, lowercase=lowercase)


def checked_tokens(tokens: Sequence[str], what: str) -> list[str]:
    """Return tokens as a list.

    Raises:
        ModelFileError: they are not different strings, none, or too many.
    """
    known = list(tokens)
    if not all(isinstance(t, str) for t in known) or len(set(known)) != len(known):
        raise ModelFileError(
            f"vocabulary ({what}): tokens must be different strings; {len(known) - len(set(map(str, known)))} repeat"
        )
    if not 0 < len(known) <= LARGEST_VOCABULARY:
        raise ModelFileError(f"vocabulary ({what}): must have 1 to {LARGEST_VOCABULARY:,} tokens; got {len(known):,}")
    return known


def most_frequent(counts: Counter[str], limit: int | None, min_count: int) -> list[str]:
    """Return the tokens that pass both limits, most frequent first, equal counts in order of their text.

    Args:
        counts: How often each was met.
        limit: Most tokens, one of which is left to "<unk>"; None for all.
        min_count: Least count.

    Raises:
        DataError: none is left.
    """
    ranked = sorted(((n, t) for t, n in counts.items() if n >= min_count), key=lambda pair: (-pair[0], pair[1]))
    if limit is not None:
        ranked = ranked[: max(limit - 1, 0)]
    if not ranked:
        raise DataError(
            f"vocabulary: must keep at least one token; min_count {min_count} and the size limit leave "
            f"none of {len(counts):,}"
        )
    return [token for _, token in ranked]
