"""Packed weights between calls: packing costs more than a call of few rows."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from elman.plans.native import engine


@dataclass(frozen=True)
class _Entry:
    parameters: tuple[weakref.ref[Tensor], ...]
    stamp: tuple[int, ...]
    values: int | None
    """Checksum of the parameters when they were packed; None where none was taken."""
    packed: Tensor


class PackedWeights:
    """What was packed, for as long as the parameters live and stay as they are.

    A change in place shows in a parameter's version, as most optimisers make it. One that torch does not count, through
    `.data`, NumPy or its own fused optimisers, shows in a checksum of all values. Training changes versions at every
    step and has no use for checksums: the second call with the same versions takes the first, and packs once more.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[object, ...], _Entry] = {}

    def get(self, parameters: Sequence[Tensor], back: bool, pack: Callable[[], Tensor]) -> Tensor:
        """Return the packed weights of a programme.

        Args:
            parameters: Whose they are.
            back: Which programme.
            pack: Makes them where the ones at hand are not those of the parameters as they are now.
        """
        key = (back, *map(id, parameters))
        entry, stamp = self._entries.get(key), _stamp(parameters)
        values = None
        # A parameter that died may have left its number and place to another one.
        if entry is not None and entry.stamp == stamp and all(map(_is, entry.parameters, parameters)):
            values = engine.checksum(parameters)
            if values == entry.values:
                return entry.packed
        packed = pack()
        references = tuple(weakref.ref(p, lambda _: self._entries.pop(key, None)) for p in parameters)
        self._entries[key] = _Entry(references, stamp, values, packed)
        return packed


def _is(reference: weakref.ref[Tensor], parameter: Tensor) -> bool:
    return reference() is parameter


def _stamp(parameters: Sequence[Tensor]) -> tuple[int, ...]:
    """Where the values of parameters lie, and how often torch saw them change."""
    versions = (-1 if p.is_inference() else p._version for p in parameters)
    return *versions, *(p.data_ptr() for p in parameters)
