"""Examples into parts: what says its part goes there, groups stay whole, labels keep their shares."""

from __future__ import annotations

from collections import Counter

import pytest

from elman.errors import DataError
from elman.readers import Example
from elman.tasks.parts import divided


def examples(count: int, **fields) -> list[Example]:
    return [Example(f"data:{n}", f"text {n}", **{name: of(n) for name, of in fields.items()}) for n in range(count)]


def test_every_example_is_in_one_part_and_the_draw_is_a_function_of_the_seed() -> None:
    found = examples(200, y=lambda n: "ab"[n % 2])
    first, again, other = (divided(found, 0.1, seed, "data") for seed in (0, 0, 1))
    assert first == again and first.validation != other.validation
    assert sorted(e.where for e in first.train + first.validation) == sorted(e.where for e in found)
    assert len(first.validation) == 20 and first.test == []


def test_rare_labels_are_validated_in_their_share() -> None:
    found = examples(1000, y=lambda n: "rare" if n % 20 == 0 else "usual")
    counts = Counter(e.y for e in divided(found, 0.2, 3, "data").validation)
    assert counts == {"rare": 10, "usual": 190}


def test_groups_stay_whole() -> None:
    found = examples(300, y=lambda n: "ab"[n % 2], group=lambda n: f"speaker {n // 10}")
    parts = divided(found, 0.2, 0, "data")
    assert {e.group for e in parts.train}.isdisjoint(e.group for e in parts.validation)
    assert 30 <= len(parts.validation) <= 60


def test_two_groups_give_one_to_validation() -> None:
    parts = divided(examples(20, group=lambda n: str(n // 10)), 0.1, 0, "data")
    assert len(parts.validation) == len(parts.train) == 10


def test_parts_that_the_data_names_are_kept() -> None:
    found = examples(30, part=lambda n: ("train", "validation", "test")[n % 3])
    parts = divided(found, 0.1, 0, "data")
    for name in ("train", "validation", "test"):
        assert [e.part for e in getattr(parts, name)] == [name] * 10


def test_what_names_no_part_trains_where_validation_is_named() -> None:
    found = examples(30, part=lambda n: "validation" if n % 3 == 0 else None)
    assert len(divided(found, 0.1, 0, "data").train) == 20


def test_copies_across_parts_are_counted() -> None:
    found = [Example("1", "same"), Example("2", "same", part="test"), Example("3", "other", part="validation")]
    assert divided(found, 0.1, 0, "data").repeated(lambda example: example.x) == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_examples_are_told(count: int) -> None:
    with pytest.raises(DataError, match=r"reviews\.csv: must leave at least one example"):
        divided(examples(count), 0.1, 0, "reviews.csv")
