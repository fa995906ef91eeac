"""Draws are functions of what they are for."""

from __future__ import annotations

import threading

import torch

from elman.randomness import bernoulli_mask, draw_generator, drawing, generator
from elman.seeds import seed_of


def test_seeds_are_the_same_for_ever() -> None:
    # Golden values: a changed seed would change every published run.
    assert seed_of(1, "x") == 6267161390884904871
    assert generator(1, "x").initial_seed() == 6267161390884904871


def test_parts_that_join_to_the_same_text_have_different_seeds() -> None:
    parts = [("a", "bc"), ("ab", "c"), ("abc",), (1, 23), (12, 3), ("1", 23), ("1", "23"), ("abc", 0)]
    assert len({seed_of(0, *part) for part in parts}) == len(parts)
    assert seed_of(0, "a") != seed_of(1, "a")


def test_a_block_repeats_its_draws_and_differs_from_every_other_block() -> None:
    def draws(*where: int) -> list[list[float]]:
        with drawing(5, *where):
            return [bernoulli_mask((40,), 0.5, purpose).tolist() for purpose in ("a", "a", "b")]

    assert draws(0, 1) == draws(0, 1)
    masks = [tuple(mask) for where in ((0, 1), (1, 0), (0, 2)) for mask in draws(*where)]
    assert len(set(masks)) == 9


def test_a_purpose_draws_the_same_whatever_others_draw_before_it() -> None:
    with drawing(5, 0):
        alone = torch.rand(4, generator=draw_generator("b"))
    with drawing(5, 0):
        draw_generator("a")
        assert torch.equal(torch.rand(4, generator=draw_generator("b")), alone)


def test_blocks_nest_and_threads_do_not_see_each_other() -> None:
    with drawing(1):
        first = draw_generator("a").initial_seed()
        with drawing(2):
            inner = draw_generator("a").initial_seed()
        second = draw_generator("a").initial_seed()
    assert len({first, inner, second}) == 3
    assert second == seed_of(1, "a", 1)
    seen = []
    with drawing(1):
        thread = threading.Thread(target=lambda: seen.append(draw_generator("a").initial_seed()))
        thread.start()
        thread.join()
    assert seen[0] != first


def test_outside_a_block_torch_seeds_the_draws_and_inside_torch_is_not_touched() -> None:
    torch.manual_seed(3)
    outside = bernoulli_mask((50,), 0.5, "a")
    torch.manual_seed(3)
    assert torch.equal(bernoulli_mask((50,), 0.5, "a"), outside)
    before = torch.get_rng_state()
    with drawing(0):
        bernoulli_mask((50,), 0.5, "a")
    assert torch.equal(torch.get_rng_state(), before)


def test_masks_keep_the_share_they_are_asked_for() -> None:
    with drawing(0):
        mask = bernoulli_mask((100, 200), 0.7, "a", dtype=torch.float64)
        assert mask.dtype == torch.float64
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        # Standard deviation of the mean is sqrt(0.21 / 20000) = 0.0032; five of them.
        assert abs(mask.mean().item() - 0.7) < 0.017
        assert bernoulli_mask((9,), 1.0, "a").tolist() == [1.0] * 9
        assert bernoulli_mask((9,), 0.0, "a").tolist() == [0.0] * 9
