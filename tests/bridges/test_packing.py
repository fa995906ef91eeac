"""elman.torch.pack_padded_sequence and pad_packed_sequence against torch's: values, fields, gradients, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import rnn

import elman.torch as ours
from elman.errors import ShapeError

RAGGED, FALLING = [2, 5, 1, 5], [5, 5, 2, 1]
STEPS = 6  # one more than the longest sequence has


def rows(batch_first: bool, shape: tuple[int, ...] = (3,)) -> Tensor:
    first = (4, STEPS) if batch_first else (STEPS, 4)
    return torch.randn(*first, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def same(a: Tensor | None, b: Tensor | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and a.dtype == b.dtype and torch.equal(a, b))


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's functions cannot be reached from Elman's, and are not compared with themselves."""
    monkeypatch.setattr("elman.bridges.packing.rnn", None)


by_gathers = pytest.mark.usefixtures("gathered")


@by_gathers
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("lengths", "enforce_sorted"), [(RAGGED, False), (FALLING, False), (FALLING, True)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_both_are_torchs(
    batch_first: bool, lengths: list[int], enforce_sorted: bool, shape: tuple[int, ...], kind: Callable[..., Any]
) -> None:
    x = rows(batch_first, shape)
    found = ours.pack_padded_sequence(x, kind(lengths), batch_first, enforce_sorted)
    wanted = rnn.pack_padded_sequence(x, kind(lengths), batch_first, enforce_sorted)
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))
    for options in ({}, {"total_length": 9}, {"padding_value": -1.5}):
        padded, counts = ours.pad_packed_sequence(wanted, not batch_first, **options)  # type: ignore[arg-type]
        wanted_padded, wanted_counts = rnn.pad_packed_sequence(wanted, not batch_first, **options)
        assert same(padded, wanted_padded) and same(counts, wanted_counts)


@by_gathers
@pytest.mark.parametrize("batch_first", [False, True])
def test_gradients_of_both_orders_are_right(batch_first: bool) -> None:
    def there_and_back(x: Tensor) -> Tensor:
        packed = ours.pack_padded_sequence(x, RAGGED, batch_first, enforce_sorted=False)
        squared = packed._replace(data=packed.data**2)
        return ours.pad_packed_sequence(squared, batch_first, total_length=STEPS)[0]

    x = rows(batch_first).requires_grad_()
    assert torch.autograd.gradcheck(there_and_back, (x,))
    assert torch.autograd.gradgradcheck(there_and_back, (x,))
    (found,) = torch.autograd.grad(there_and_back(x).sum(), x)
    real = (torch.arange(STEPS) < torch.tensor(RAGGED)[:, None])[..., None]  # (B, T, 1)
    assert torch.equal(found, 2 * x.detach() * (real if batch_first else real.transpose(0, 1)))


@by_gathers
def test_views_that_do_not_lie_row_by_row_are_read_as_they_are() -> None:
    x = rows(True).transpose(0, 1)
    found = ours.pack_padded_sequence(x, RAGGED, enforce_sorted=False)
    assert torch.equal(found.data, rnn.pack_padded_sequence(x, RAGGED, enforce_sorted=False).data)


@by_gathers
def test_numbers_of_tokens_are_packed_too() -> None:
    tokens = torch.arange(24).view(4, 6)
    found = ours.pack_padded_sequence(tokens, FALLING, batch_first=True)
    assert found.data.dtype == torch.int64 and found.data.tolist()[:4] == [0, 6, 12, 18]


@pytest.mark.parametrize(("lengths", "enforce_sorted"), [([2, 0, 1, 5], False), (RAGGED, True), ([5, 5, 2], True)])
def test_what_torch_refuses_is_refused_in_its_words(lengths: list[int], enforce_sorted: bool) -> None:
    with pytest.raises(RuntimeError) as wanted:
        rnn.pack_padded_sequence(rows(False), lengths, enforce_sorted=enforce_sorted)
    with pytest.raises(RuntimeError) as found:
        ours.pack_padded_sequence(rows(False), lengths, enforce_sorted=enforce_sorted)
    assert str(found.value) == str(wanted.value)


def test_a_length_beyond_the_input_is_refused() -> None:
    with pytest.raises(ShapeError, match="lengths must be at most 6, the steps of input; got 7"):
        ours.pack_padded_sequence(rows(False), [7, 5, 2, 1])


def test_a_total_length_that_is_too_short_is_refused_in_torchs_words() -> None:
    packed = ours.pack_padded_sequence(rows(False), FALLING)
    for steps in (0, 4):
        with pytest.raises(ValueError, match="total_length"):
            ours.pad_packed_sequence(packed, total_length=steps)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
def test_traced_programs_hold_torchs_own() -> None:
    def there_and_back(x: Tensor, lengths: Tensor) -> Tensor:
        return ours.pad_packed_sequence(ours.pack_padded_sequence(x, lengths), batch_first=True)[0]

    traced = torch.jit.trace(there_and_back, (rows(False), torch.tensor(FALLING)))
    other = torch.tensor([6, 4, 3, 2])
    assert torch.equal(traced(rows(False), other), there_and_back(rows(False), other))
