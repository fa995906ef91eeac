"""Randomness as a function: every draw comes from a generator seeded by what it is for, so no state is ever saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elman.seeds import Part, Seeds, seed_of


@dataclass
class _Drawing:
    """Where draws happen: the parts of the seed, and for each purpose its seeds and how often it has drawn so far."""

    parts: tuple[int, *tuple[Part, ...]]
    drawn: Counter[str] = field(default_factory=Counter)
    seeds: dict[str, Seeds] = field(default_factory=dict)


_current: ContextVar[_Drawing | None] = ContextVar("elman_drawing", default=None)


def generator(seed: int, *purpose: Part) -> torch.Generator:
    """Return a fresh CPU generator that is a pure function of `seed` and `purpose` (see `seed_of`)."""
    return torch.Generator().manual_seed(seed_of(seed, *purpose))


@contextmanager
def drawing(seed: int, *where: Part) -> Iterator[None]:
    """Make every `draw_generator` inside the block a function of `seed`, `where`, its purpose and its number there.

    Example:
        >>> with drawing(1, "train", 0, 7):
        ...     mask = bernoulli_mask((4,), 0.5, "dropout")
    """
    token = _current.set(_Drawing((seed, *where)))
    try:
        yield
    finally:
        _current.reset(token)


def draw_generator(purpose: str) -> torch.Generator:
    """Return the generator of the next draw for `purpose`.

    Inside `drawing` it is seeded by (seed, where, purpose, how many draws of this purpose the block made before);
    outside it is seeded from torch's default generator, so that `torch.manual_seed` works as everybody expects.
    """
    current = _current.get()
    if current is None:
        return torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))
    count = current.drawn[purpose]
    current.drawn[purpose] += 1
    if purpose not in current.seeds:
        current.seeds[purpose] = Seeds(*current.parts, purpose)
    return torch.Generator().manual_seed(current.seeds[purpose].of(count))


def bernoulli_mask(
    shape: Sequence[int],
    keep: float,
    purpose: str,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw a mask of zeros and ones, each entry one with probability `keep`.

    Drawn on the CPU and moved, so that a run on another device sees the same mask.

    Args:
        shape: Shape of the mask.
        keep: Probability of a one, in [0, 1].
        purpose: What the mask is for; see `draw_generator`.
        device: Where the mask is wanted; None for the CPU.
        dtype: Type of the mask; None for torch's default.
    """
    if torch.compiler.is_compiling():
        # The ticket is a draw of torch's, so that a compiler takes no two masks for the same.
        uniform: Tensor = torch.ops.elman.uniform(torch.randint(2**62, ()), list(shape), purpose)
    else:
        uniform = torch.rand(tuple(shape), generator=draw_generator(purpose), dtype=torch.float32)
    return (uniform < keep).to(device=device, dtype=dtype or torch.get_default_dtype())


@torch.library.custom_op("elman::uniform", mutates_args=())
def _uniform(ticket: Tensor, shape: list[int], purpose: str) -> Tensor:
    """Draw as `bernoulli_mask` does, when a compiled programme runs; the ticket is the seed outside of `drawing`."""
    current = torch.Generator().manual_seed(int(ticket)) if _current.get() is None else draw_generator(purpose)
    return torch.rand(shape, generator=current, dtype=torch.float32)


@_uniform.register_fake
def _(ticket, shape, purpose):  # type: ignore[no-untyped-def]
    return torch.empty(shape, dtype=torch.float32)
