"""Masks of the C++ engine are those of torch's generator, to the bit."""

from __future__ import annotations

import pytest
import torch

from elman.engines.masks import mask_of_ones, scaled_mask
from elman.plans.native import available, engine
from elman.randomness import bernoulli_mask, drawing

needs_engine = pytest.mark.skipif(not available(), reason="the engine was not built")
TARGETS = engine.targets() if available() else []
KEEPS = (1.0, 0.9, 1 - 0.35, 0.5, 1 / 3, 2**-24, 1e-9)


@needs_engine
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("count", [1, 15, 16, 623, 624, 625, 5000])
def test_every_target_draws_the_numbers_of_torch(target: str, count: int) -> None:
    for seed in (0, 1, 2**32 - 1, 2**62 + 12345):
        uniform = torch.rand(count, generator=torch.Generator().manual_seed(seed))
        for keep in (*KEEPS, 0.0, float(uniform[0]), float(uniform[-1])):
            mask = torch.empty(count)
            engine.mask(target, seed, keep, 3.0, mask)
            assert torch.equal(mask, (uniform < keep) * 3.0), (seed, keep)


@needs_engine
@pytest.mark.parametrize("keep", KEEPS)
def test_it_makes_no_difference_who_draws(keep: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> list[torch.Tensor]:
        like = torch.zeros(1)
        with drawing(7, 1):
            inside = [scaled_mask((3, 700), keep, "a", like), mask_of_ones((9,), keep, "a", like)]
        torch.manual_seed(4)
        return [*inside, scaled_mask((40,), keep, "b", like), torch.rand(2)]

    monkeypatch.setattr("elman.engines.masks.bernoulli_mask", None)
    fast = drawn()
    monkeypatch.undo()
    monkeypatch.setattr("elman.engines.masks.available", lambda: False)
    monkeypatch.setattr("elman.engines.masks.engine", None)
    for mine, theirs in zip(fast, drawn(), strict=True):
        assert torch.equal(mine, theirs)


@needs_engine
def test_the_default_type_is_that_of_other_tensors() -> None:
    like = torch.zeros(1, dtype=torch.float32)
    with drawing(7):
        wanted = scaled_mask((50,), 0.9, "a", like)
    torch.set_default_dtype(torch.float64)
    try:
        with drawing(7):
            found = scaled_mask((50,), 0.9, "a", like)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, wanted)


def test_other_types_and_devices_get_their_own() -> None:
    with drawing(7):
        mask = scaled_mask((100,), 0.75, "a", torch.zeros(1, dtype=torch.float64))
    with drawing(7):
        assert torch.equal(mask, bernoulli_mask((100,), 0.75, "a", dtype=torch.float64) / 0.75)
    assert scaled_mask((3,), 0.5, "a", torch.empty(1, device="meta")).is_meta


@needs_engine
def test_a_share_that_is_no_probability_is_refused() -> None:
    for keep in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="keep: must be from 0 to 1"):
            engine.mask(TARGETS[0], 0, keep, 1.0, torch.empty(3))
