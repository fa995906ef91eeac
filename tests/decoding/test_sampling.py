"""The next token: its distribution, its limits, and that the token chosen is the one fed back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elman.decoding import Choice, choose, generate
from elman.errors import DivergedError, UsageError


def slow_choice(logits: list[float], uniform: float, choice: Choice) -> int:
    """The definition, number by number."""
    top = max(logits)
    weights = [math.exp((x - top) / choice.temperature) for x in logits]
    probabilities = [w / sum(weights) for w in weights]
    ranked = sorted(range(len(logits)), key=lambda n: (-probabilities[n], n))
    kept, mass = [], 0.0
    for rank, n in enumerate(ranked):
        if (choice.top_k is not None and rank >= choice.top_k) or (choice.top_p is not None and mass >= choice.top_p):
            break
        kept.append(n)
        mass += probabilities[n]
    reached = 0.0
    for n in kept:
        reached += probabilities[n]
        if uniform * mass < reached:
            return n
    return kept[-1]


@settings(max_examples=300)
@given(
    logits=st.lists(st.floats(-5, 5), min_size=1, max_size=9, unique=True),
    uniform=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.one_of(st.none(), st.integers(1, 10)),
    top_p=st.one_of(st.none(), st.floats(0.05, 1.0)),
)
def test_a_choice_is_the_one_of_the_definition(
    logits: list[float], uniform: float, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    choice = Choice(temperature, top_k, top_p)
    found = int(
        choose(torch.tensor([logits], dtype=torch.float64), torch.tensor([uniform], dtype=torch.float64), choice)
    )
    near = {
        slow_choice(logits, min(max(uniform + d, 0.0), math.nextafter(1.0, 0.0)), choice) for d in (-1e-9, 0.0, 1e-9)
    }
    assert found in near


@pytest.mark.parametrize("choice", [Choice(), Choice(temperature=0.7), Choice(top_k=3), Choice(top_p=0.8)])
def test_draws_have_the_distribution_of_the_model(choice: Choice) -> None:
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0, -0.4])
    draws = 20_000
    uniforms = torch.rand(draws, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    counts = torch.bincount(choose(logits.expand(draws, 5), uniforms, choice), minlength=5).double()
    wanted = torch.softmax(logits.double() / choice.temperature, 0)
    order = wanted.argsort(descending=True)
    if choice.top_k:
        wanted[order[choice.top_k :]] = 0
    if choice.top_p:
        before = wanted[order].cumsum(0) - wanted[order]
        wanted[order[before >= choice.top_p]] = 0
    wanted = wanted / wanted.sum() * draws
    assert not counts[wanted == 0].any()
    kept = wanted > 0
    chi_square = float(((counts[kept] - wanted[kept]) ** 2 / wanted[kept]).sum())
    # The 99.9 % point of chi-square with 4 degrees of freedom; fewer kept tokens only lower it.
    assert chi_square < 18.5


def test_greedy_takes_the_most_probable() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    assert choose(logits, torch.tensor([0.99, 0.99]), Choice(greedy=True)).tolist() == [1, 0]


def test_a_draw_on_the_border_of_two_shares_is_the_later_token_s() -> None:
    logits = torch.zeros(3, 4)  # shares end at 0.25, 0.5, 0.75 and 1, to the bit
    assert choose(logits, torch.tensor([0.0, 0.25, 0.75]), Choice()).tolist() == [0, 1, 3]
    assert choose(logits, torch.tensor([0.0, 0.25, 0.75]), Choice(top_p=0.5)).tolist() == [0, 0, 1], "two reach 0.5"


@pytest.mark.parametrize("coarse", [torch.bfloat16, torch.float32])
def test_coarse_logits_are_drawn_from_in_full_precision(coarse: torch.dtype) -> None:
    logits = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0)).to(coarse)
    cumulated = torch.softmax(logits.double(), 1).sort(descending=True, stable=True)
    for place in (10, 1500, 2500):
        border = cumulated.values[0, : place + 1].sum()
        for shift, rank in ((-1e-12, place), (1e-12, place + 1)):
            assert int(choose(logits, (border + shift).unsqueeze(0), Choice())) == int(cumulated.indices[0, rank])


class Recorder:
    """A step that remembers its inputs and gives equal logits; its state counts the steps."""

    def __init__(self) -> None:
        self.fed: list[list[int]] = []

    def __call__(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.fed.append(tokens.tolist())
        return torch.zeros(len(tokens), 6), (state or 0) + 1


def test_the_chosen_token_is_the_next_input() -> None:
    step = Recorder()
    written = generate(step, None, [4, 5], 7, samples=3, seed=1)
    assert step.fed[:2] == [[4] * 3, [5] * 3]
    assert [list(row) for row in zip(*step.fed[2:], strict=True)] == [row[: len(step.fed) - 2] for row in written]
    assert all(len(row) == 7 for row in written)
    assert [len(row) for row in generate(Recorder(), None, [4], 1, samples=2)] == [1, 1]


def test_a_sample_depends_on_the_seed_and_its_number_only() -> None:
    one, many = (
        generate(Recorder(), None, [0], 9, samples=1, seed=3),
        generate(Recorder(), None, [0], 9, samples=5, seed=3),
    )
    assert one[0] == many[0]
    assert len({tuple(row) for row in many}) == 5
    assert generate(Recorder(), None, [0], 9, samples=1, seed=4) != one


def test_a_finished_sample_stops_while_others_go_on() -> None:
    written = generate(Recorder(), None, [0], 50, samples=4, seed=0, finished=lambda tokens: tokens[-1] == 2)
    assert all(2 not in row[:-1] for row in written)
    assert len({len(row) for row in written}) > 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(temperature=0.0), "temperature: must be more than 0 and finite; got 0.0"),
        (lambda: Choice(temperature=math.nan), "temperature: must be more than 0 and finite; got nan"),
        (lambda: Choice(temperature=math.inf), "temperature: must be more than 0 and finite; got inf"),
        (lambda: Choice(top_k=0), "top_k: must be a whole number, at least 1; got 0"),
        (lambda: Choice(top_k=1.5), "top_k: must be a whole number, at least 1; got 1.5"),  # type: ignore[arg-type]
        (lambda: Choice(top_p=0.0), "top_p: must be more than 0 and at most 1; got 0.0"),
        (
            lambda: Choice(greedy=True, top_k=3),
            "greedy: draws nothing, so temperature, top_k and top_p would have no effect",
        ),
        (lambda: generate(Recorder(), None, [], 3), "generate: the prompt must have at least one token; got none"),
        (lambda: generate(Recorder(), None, [1], 0), "generate: length and samples must be at least 1; got 0 and 1"),
        (
            lambda: generate(Recorder(), None, [1], 1, samples=0),
            "generate: length and samples must be at least 1; got 1 and 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.message == message


@pytest.mark.parametrize("row", [[math.nan, 1.0], [math.inf, 1.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("choice", [Choice(), Choice(greedy=True)])
def test_a_diverged_model_is_told_apart(row: list[float], choice: Choice) -> None:
    with pytest.raises(DivergedError, match="logits must be numbers; got NaN or infinity in row 1"):
        choose(torch.tensor([[0.0, 1.0], row]), torch.zeros(2), choice)
