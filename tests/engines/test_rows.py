"""Rows by number: torch's indexing says which, and two runs have the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from elman.engines.rows import chosen_rows
from elman.heads.linear_chain import Chain, path_scores
from elman.layers.attention import Memory
from elman.layers.state import State


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 3, 2)])
@pytest.mark.parametrize("numbers", [[4], [0, 0, 3], [[1, 2], [2, 2], [0, 4]]])
def test_rows_are_those_of_indexing_and_their_derivative_is_exact(shape: tuple[int, ...], numbers: list[int]) -> None:
    x, chosen = torch.randn(shape, dtype=torch.float64, requires_grad=True), torch.tensor(numbers)
    assert torch.equal(chosen_rows(x, chosen), x[chosen])
    assert torch.autograd.gradcheck(lambda x: chosen_rows(x, chosen), (x,))


def test_a_number_of_no_row_is_refused() -> None:
    for number in (-1, 5):
        with pytest.raises(IndexError):
            chosen_rows(torch.randn(5, 3), torch.tensor([number]))


def _of_many(found: Tensor) -> Tensor:
    """A number whose derivative differs from place to place, so that the order of a sum matters."""
    return (found * torch.randn(found.shape, generator=torch.Generator().manual_seed(1))).sum()


def _memory(x: Tensor, numbers: Tensor) -> Tensor:
    three = x.view(len(x), -1, 1)  # (B, S, 1)
    chosen = Memory(three, 2 * three, torch.ones(three.shape[:2], dtype=torch.bool)).select(numbers)
    return _of_many(chosen.values) + _of_many(chosen.keys)


def _state(x: Tensor, numbers: Tensor) -> Tensor:
    return _of_many(State({"h": x}).select(numbers)["h"])


def _chain(x: Tensor, numbers: Tensor) -> Tensor:
    k = len(x)
    paths = numbers.view(-1, 100) % k  # (B, 100)
    emissions = torch.zeros(len(paths), 100, k)
    scores = path_scores(Chain(emissions, x[:, :k], x[:, 0], x[:, 1], torch.full((len(paths),), 100)), paths)
    return _of_many(scores)


@pytest.mark.parametrize("read", [_memory, _state, _chain])
def test_what_chooses_rows_has_the_same_gradient_every_time(read: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Rows are chosen often, and in more places than one thread is given."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(16, 128, generator=draws, requires_grad=True)
    numbers = torch.randint(16, (70_000,), generator=draws)
    found = {torch.autograd.grad(read(x, numbers), x)[0].numpy().tobytes() for _ in range(8)}
    assert len(found) == 1


def test_rows_of_a_state_are_told_by_number_from_either_end_or_by_truth() -> None:
    x = torch.randn(3, 2)
    state = State({"h": x})
    for rows in ([2, 0], [-1], torch.tensor([True, False, True])):
        assert torch.equal(state.select(rows)["h"], x[torch.as_tensor(rows)])
