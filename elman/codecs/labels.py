"""Labels: the names of classes to numbers and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from elman.codecs.vocabulary import checked_tokens
from elman.errors import DataError, ModelFileError, nearest

_MOST_SHOWN = 12


class Labels:
    """K names of classes.

    Args:
        names: Different strings.

    Raises:
        ModelFileError: they are not.

    Example:
        >>> labels = Labels.build(["no", "yes", "no"])
        >>> labels.encode("yes", "line 3"), labels.names
        (1, ['no', 'yes'])
    """

    kind = "labels"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = checked_tokens(names, self.kind)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def build(cls, found: Iterable[str]) -> Labels:
        """Take every name that is met, in order of their text."""
        return cls(sorted(set(found)))

    @property
    def size(self) -> int:
        """Number of classes, K."""
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        """Return whether training met it."""
        return name in self._numbers

    def encode(self, name: str, where: str) -> int:
        """Return the number of a class.

        Raises:
            DataError: training met no such label; the text says where this one stands.
        """
        if name not in self._numbers:
            known = ", ".join(self.names[:_MOST_SHOWN]) + (", ..." if self.size > _MOST_SHOWN else "")
            raise DataError(
                f"{where}: label must be one that training met, {known}; got {name[:80]!r}{nearest(name, self.names)}"
            )
        return self._numbers[name]

    def balance(self, found: Iterable[str], power: float) -> Tensor:
        """Return weights (K,) against imbalance: (N / (K n_k)) ** power, n_k of N labels being of class k.

        Args:
            found: The labels of the training examples; a class that is never met counts as met once.
            power: 1 makes all classes weigh the same, 0 changes nothing.
        """
        counts = Counter(found)
        total = sum(counts.values())
        shares = [total / (self.size * max(counts[name], 1)) for name in self.names]
        return torch.tensor(shares, dtype=torch.float32) ** power

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` rebuilds."""
        return {"names": self.names}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Labels:
        """Rebuild what `to_json` gave.

        Raises:
            ModelFileError: it is not the description of labels.
        """
        names = value.get("names")
        if not isinstance(names, list):
            raise ModelFileError("labels: must have a list of names")
        return cls(names)
