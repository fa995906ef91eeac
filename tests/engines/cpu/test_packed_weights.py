"""Packed weights between calls are those of the parameters as they are, however these were changed."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

import elman
from elman.engines.cpu.packed_weights import PackedWeights
from elman.plans.native import available, engine

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")


class Counting:
    """Packs by copying, and counts."""

    def __init__(self) -> None:
        self.kept, self.packed = PackedWeights(), 0

    def __call__(self, *parameters: Tensor, back: bool = False) -> Tensor:
        def pack() -> Tensor:
            self.packed += 1
            return torch.cat([p.detach().flatten() for p in parameters])

        found = self.kept.get(parameters, back, pack)
        assert torch.equal(found, torch.cat([p.detach().flatten() for p in parameters]))
        return found


def test_weights_that_stay_are_packed_once_without_and_once_with_a_checksum_for_each_way() -> None:
    packed, w, v = Counting(), torch.randn(5, 4), torch.randn(3)
    for _ in range(4):
        packed(w, v), packed(w, v, back=True), packed(v, w)
    assert packed.packed == 6


def test_training_packs_once_a_step() -> None:
    packed, w = Counting(), torch.randn(5, 4)
    for n in range(4):
        packed(w), packed(w, back=True)
        w.mul_(2)
        assert packed.packed == 2 * (n + 1)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_change_is_noticed(before: int) -> None:
    packed, w = Counting(), torch.nn.Parameter(torch.randn(50, 40))
    optimizers = torch.optim.SGD([w], lr=0.1), torch.optim.AdamW([w], lr=1e-6, fused=True)
    w.sum().backward()
    changes = (
        *(optimizer.step for optimizer in optimizers),  # the fused one is not counted by torch
        lambda: w.data.mul_(2),
        lambda: w.data[3, 7].add_(1),
        lambda: w.detach().numpy().__setitem__((2, 2), 5.0),
        lambda: setattr(w, "data", torch.randn(50, 40)),
    )
    for change in changes:
        for _ in range(before):
            packed(w)
        change()
        packed(w)


def test_one_number_of_a_large_parameter_is_noticed_through_data() -> None:
    """As where derivatives are checked by differences: w.data[i, j] += step."""
    packed, w = Counting(), torch.randn(300, 301)
    for n in range(0, w.numel(), 997):
        for _ in range(3):
            packed(w)
        w.data.view(-1)[n] += 1e-4


def test_what_a_dead_parameter_left_is_gone() -> None:
    packed = Counting()
    for _ in range(50):
        # Each takes the number and the place in memory of the one before.
        packed(torch.randn(8))
    gc.collect()
    assert not packed.kept._entries


def test_layers_of_one_size_do_not_share_weights() -> None:
    x = torch.randn(2, 1, 3)
    for seed in range(20):
        layer = elman.Recurrent("lstm", input_size=3, hidden_size=4, engine="cpu", seed=seed)
        oracle = elman.Recurrent("lstm", input_size=3, hidden_size=4, engine="torch", seed=seed)
        for _ in range(2):
            with torch.no_grad():
                assert torch.allclose(layer(x)[0], oracle(x)[0], atol=1e-6)


@pytest.mark.parametrize("size", [1, 15, 63, 64, 65, 127, 128, 1000, 4096])
def test_checksums_differ_by_one_bit_by_place_and_by_size(size: int) -> None:
    w = torch.zeros(size)
    assert engine.checksum([w]) == engine.checksum([w.clone()])
    seen = {engine.checksum([torch.zeros(n)]) for n in (size, size + 1)}
    for n in range(0, size, 1 + size // 97):
        changed = w.clone()
        changed[n] = 1e-45  # the last bit
        seen.add(engine.checksum([changed]))
    assert len(seen) == 2 + len(range(0, size, 1 + size // 97))
    v = torch.arange(1.0, 1 + size)
    assert engine.checksum([w, v]) != engine.checksum([v, w])
