"""Examples into those to train on, to validate and to test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from elman.errors import DataError
from elman.randomness import generator
from elman.readers import Example


@dataclass(frozen=True)
class Parts:
    """Examples by what they are for."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]

    def repeated(self, identity: Callable[[Example], Any]) -> int:
        """Return how many examples of validation and test stand in training too: of those the answer is known.

        Args:
            identity: What makes two examples the same; what cannot be hashed is no other's.
        """
        known = {_hashable(identity(example)) for example in self.train}
        return sum(_hashable(identity(example)) in known for example in (*self.validation, *self.test))


def divided(examples: Sequence[Example], fraction: float, seed: int, where: str) -> Parts:
    """Divide the examples of one file or folder.

    What says its part goes there. Where nobody says "validation", a share of the others is drawn for it: whole groups
    where examples name groups; else as large a share of every label, where labels are few, as of all.

    Args:
        examples: In the order of the data.
        fraction: Share for validation, in (0, 1).
        seed: Seed of the draw.
        where: Name of the data, for errors.

    Raises:
        DataError: no example is left for training, or none for validation.
    """
    said = Parts(*([e for e in examples if e.part == part] for part in ("train", "validation", "test")))
    rest = [example for example in examples if example.part is None]
    if said.validation:
        parts = Parts(said.train + rest, said.validation, said.test)
    else:
        drawn = _drawn(said.train + rest, fraction, seed)
        kept = [example for n, example in enumerate(said.train + rest) if n not in drawn]
        parts = Parts(kept, [(said.train + rest)[n] for n in sorted(drawn)], said.test)
    for name, found in (("to train on", parts.train), ("to validate", parts.validation)):
        if not found:
            raise DataError(
                f"{where}: must leave at least one example {name}; it has {len(examples):,}, and "
                f"{fraction:.0%} of what names no part is kept for validation",
                "give more examples, or validation data of its own with --validation",
            )
    return parts


def of_part(examples: Sequence[Example], part: str, where: str) -> list[Example]:
    """Return the examples of a part of the data, those that name none among them.

    Args:
        examples: Of one file or folder.
        part: "train", "validation" or "test".
        where: Name of the data, for errors.

    Raises:
        DataError: there is none.
    """
    return _some([example for example in examples if example.part in (part, None)], examples, part, where)


def _some(found: list[Example], examples: Sequence[Example], part: str, where: str) -> list[Example]:
    if not found:
        said = sorted({example.part for example in examples if example.part is not None})
        raise DataError(f"{where}: must hold examples of the part {part}; got {' and '.join(said)} only")
    return found


def measured(examples: Sequence[Example], part: str | None, where: str) -> tuple[list[Example], str]:
    """Return the examples to measure a trained model on, and "train", "validation", "test", or "all" of them.

    Args:
        examples: Of one file or folder.
        part: One of these; None for the part "test" where examples say that they are of it, else all.
        where: Name of the data, for errors.

    Raises:
        DataError: no example is of the part.
    """
    said = {example.part for example in examples} - {None}
    chosen = part or ("test" if "test" in said else "all")
    if chosen == "all":
        return list(examples), chosen
    if not said:
        raise DataError(
            f"{where}: must say which examples are of the part {chosen}; got no parts",
            "name the column that says them with --column part=NAME",
        )
    return _some([example for example in examples if example.part == chosen], examples, chosen, where), chosen


def _drawn(examples: Sequence[Example], fraction: float, seed: int) -> set[int]:
    """Numbers of the examples that validate."""
    draws = generator(seed, "validation")
    if any(example.group is not None for example in examples):
        return _whole_groups(examples, fraction, draws)
    rows: dict[Hashable, list[int]] = {}
    for n, example in enumerate(examples):
        rows.setdefault(example.y if isinstance(example.y, str) else None, []).append(n)
    if len(rows) * 2 * max(1.0, 1 / fraction) > len(examples):  # too few of each label to give a share of it
        rows = {None: list(range(len(examples)))}
    found: set[int] = set()
    for numbers in rows.values():
        order = torch.randperm(len(numbers), generator=draws).tolist()
        found.update(numbers[n] for n in order[: round(fraction * len(numbers))])
    return found


def _whole_groups(examples: Sequence[Example], fraction: float, draws: torch.Generator) -> set[int]:
    """Groups in a drawn order, as long as they fit; an example without a group is one by itself."""
    names = [f"group {e.group}" if e.group is not None else f"example {n}" for n, e in enumerate(examples)]
    sizes = Counter(names)
    order = list(sizes)
    taken: set[str] = set()
    room = max(fraction * len(examples), min(sizes.values()) if len(sizes) > 1 else 0)
    for n in torch.randperm(len(order), generator=draws).tolist():
        if sizes[order[n]] <= room:
            taken.add(order[n])
            room -= sizes[order[n]]
    return {n for n, name in enumerate(names) if name in taken}


def _hashable(x: Any) -> Hashable:
    return x if isinstance(x, Hashable) else id(x)


def labels_of(examples: Iterable[Example]) -> list[str]:
    """Return the labels of examples that have one."""
    return [example.y for example in examples if isinstance(example.y, str)]
