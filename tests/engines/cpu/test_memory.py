"""Memory that is refused: whichever allocation fails, the caller sees a MemoryError, nothing stays taken, and the next
call gives the right bits.

In an ordinary build the blocks of the arena can be made to fail; in that of `make check-native` every allocation of the
engine, in any thread.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from elman.cells import cells
from elman.engines.cpu.runners import Choice, Program
from elman.plans.native import available, engine
from elman.runtime.stepper import PRECISIONS
from tests.runtime.models import model_of, stepper_of, tokens_of

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

B, T, INPUT, H = 3, 4, 5, 18
LENGTHS = torch.tensor([2, 4, 1])
Bits = list[bytes]


def bits(values: Sequence[Any]) -> Bits:
    return [np.asarray(value).tobytes() for value in values]


def walk(call: Callable[[], Bits], least: int) -> None:
    """Let each allocation of a call fail in turn.

    Args:
        call: Makes its own arguments and returns its results.
        least: Allocations that it must have.
    """
    wanted, failed, n = call(), 0, 0
    gc.collect()
    while True:
        taken, n = engine.taken_bytes(), n + 1
        engine.fail_allocation(n)
        try:
            found = call()
        except MemoryError:
            failed += 1
        else:  # the nth was not reached, or one that the engine can do without
            assert found == wanted
            del found
        reached = engine.fail_allocation(0) == 0
        if engine.taken_bytes() != taken:
            gc.collect()
        assert engine.taken_bytes() == taken, f"allocation {n} leaves something behind"
        if not reached:
            break
        assert call() == wanted, f"the call after allocation {n} failed"
    assert failed >= least


class Layer:
    """A layer's run, each piece of it by itself."""

    def __init__(self, name: str, threads: int, precision: str) -> None:
        shapes = cells[name].parameters(INPUT, H, {})
        widths = {cells[name].input: INPUT, **cells[name].state_sizes(INPUT, H, {})}
        program = Program(cells[name], shapes, {"I": INPUT, "H": H}, widths, Choice(None, threads, precision))
        self.native, self.threads = program.runner(keep=True).native, threads
        draw = torch.Generator().manual_seed(5)
        self.weights = [torch.randn(*shape, generator=draw) for shape in shapes.values()]
        self.x, self.dy = torch.randn(B, T, INPUT, generator=draw), torch.randn(B, T, H, generator=draw)
        self.start = [torch.randn(B, H, generator=draw) for _ in cells[name].states]
        self.packed = [self.pack(back) for back in (False, True)]
        self.workspace = torch.zeros(self.floats())

    def floats(self) -> int:
        return int(self.native.workspace_floats(B, T, LENGTHS, True))

    def pack(self, back: bool) -> torch.Tensor:
        packed = torch.zeros(self.native.packed_floats(back) + 16)
        self.native.pack(self.weights, packed, back, self.threads)
        return packed

    def forward(self) -> Bits:
        y, final = torch.zeros(B, T, H), [torch.zeros(B, H) for _ in self.start]
        self.native.forward(
            self.weights, self.packed[0], self.workspace, self.x, LENGTHS, self.start, [], y, final, False, True,
            self.threads,
        )  # fmt: skip
        return bits([y, *final])

    def backward(self) -> Bits:
        dx, d_start = torch.zeros(B, T, INPUT), [torch.zeros(B, H) for _ in self.start]
        d_weights = [torch.zeros_like(w) for w in self.weights]
        if self.workspace[0]:
            self.forward()
        self.native.backward(
            self.weights, self.packed[1], self.workspace, self.x, LENGTHS, self.start, [], self.dy,
            [None for _ in self.start], dx, d_weights, d_start, False, self.threads,
        )  # fmt: skip
        return bits([dx, *d_weights, *d_start])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_layer_survives_refused_memory(name: str, precision: str, threads: int) -> None:
    layer = Layer(name, threads, precision)
    walk(lambda: bits([layer.pack(False), layer.pack(True)]), 0)
    walk(lambda: bits([layer.floats()]), 0)
    walk(layer.forward, 0)
    walk(layer.backward, 1)  # room for packed factors


def test_a_failed_call_leaves_no_values_for_the_way_back() -> None:
    layer = Layer("gru", 1, "float32")
    layer.forward()
    assert not layer.workspace[0]
    engine.fail_allocation(1)
    with pytest.raises(MemoryError):
        layer.backward()
    assert engine.fail_allocation(0) == 0
    layer.backward()
    assert layer.workspace[0]


def test_training_step_survives_refused_memory() -> None:
    """Through torch, with everything that the engine gives it: workspaces, packed weights, results."""
    from elman.layers import Recurrent

    layer, x = Recurrent("lstm", INPUT, H, engine="cpu", seed=3), torch.linspace(-1, 1, B * T * INPUT).view(B, T, INPUT)

    def step() -> Bits:
        try:
            y, _ = layer(x, lengths=LENGTHS)
            y.square().sum().backward()
            return bits([y.detach(), *(p.grad for p in layer.parameters())])
        finally:
            layer.zero_grad(set_to_none=True)

    walk(step, 8)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_stepper_survives_refused_memory(precision: str, threads: int) -> None:
    model = model_of("gru", 40, 7, 20, 2)
    stepper = stepper_of(model, precision=precision, threads=threads)
    tokens = tokens_of(40, 3, 4)

    def read() -> Bits:
        return bits([stepper.read(tokens, None, [2, 4, 1])[0], stepper.log_probabilities(tokens, tokens)[0]])

    def made_and_read() -> Bits:
        logits, _ = stepper_of(model, precision=precision, threads=threads).read(tokens)
        return bits([logits])

    walk(read, 2)  # a block a call
    walk(made_and_read, 8)  # and one a matrix


def test_memory_refused_while_writing_uses_up_no_draws() -> None:
    stepper = stepper_of(model_of("gru", 40, 7, 20, 1), threads=2)
    logits, state = stepper.read(tokens_of(40, 3, 4))
    wanted, n, reached = stepper.write(logits, state, 5, engine.Draws([1, 2, 3]))[0], 0, True
    while reached:
        draws, n = engine.Draws([1, 2, 3]), n + 1
        engine.fail_allocation(n)
        try:
            found = stepper.write(logits, state, 5, draws)[0]
        except MemoryError:
            found = stepper.write(logits, state, 5, draws)[0]
        reached = engine.fail_allocation(0) == 0
        np.testing.assert_array_equal(found, wanted)
    assert n > 1
