"""Cells that nobody thought of: random equations, run by every engine and held to the reference, forward and back."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

import elman
from elman.engines.cpu import CpuEngine
from elman.errors import EquationError, ShapeError
from elman.plans.native import available
from elman.runtime.layer import Layer
from elman.runtime.stepper import Stepper
from tests.cases import STRANGE

TRIED = 400
TALL = 37  # rows of more than one tile, of which each is 32 columns then
LENGTHS = torch.tensor([6, 2, 5, 1])
ENGINES = {"torch": 1e-9, "torch-schedule": 1e-9} | ({"cpu": 1e-4} if available() else {})
"""With the error that each may make: the first two run in float64."""


@dataclass
class Writer:
    """Writes the equations of a cell: one to three states, up to four values between, in any order."""

    choose: random.Random
    made: list[str] = field(default_factory=list)
    matrices: int = 0

    def text(self) -> str:
        """Return the equations; some are refused, since nothing reads a line."""
        self.states = [f"s{letter}" for letter in "abc"[: self.choose.randint(1, 3)]]
        names = [f"v{letter}" for letter in "abcd"[: self.choose.randint(0, 4)]] + self.states
        self.choose.shuffle(names)
        return "\n".join(self.line(name) for name in names)

    def line(self, name: str) -> str:
        terms = " + ".join(self.term() for _ in range(self.choose.randint(1, 3)))
        self.made.append(name)
        function = self.choose.choice(("tanh", "tanh", "sigmoid", "relu", "sin", "0.5 *"))
        return f"{name} = {function} ({terms})"

    def term(self) -> str:
        self.matrices += 1
        one, other, matrix = self.value(), self.value(), f"W_{self.matrices}"
        kinds = (f"{matrix} x", f"{matrix} {one}", f"w_{self.matrices} * {one}", f"{one} * {other}")
        further = (f"(1 - {one}) * {other}", f"b_{self.matrices}", one)
        return self.choose.choice((*kinds, *kinds[:2], *further))

    def value(self) -> str:
        return self.choose.choice([f"{state}<t-1>" for state in self.states] + self.made)


def drawn(seed: int) -> elman.Recurrent | None:
    """Return the reference of a random cell in float64; None where its equations are refused, as most are."""
    choose = random.Random(seed)
    try:
        cell = elman.Cell(Writer(choose).text())
        sizes = choose.choice((3, 5, 17)), choose.choice((1, 4, 17, 40))
        return elman.Recurrent(cell, *sizes, engine="reference", seed=seed).double()
    except (EquationError, ShapeError):
        return None


SEEDS = [seed for seed in range(TRIED) if drawn(seed) is not None]


def run(layer: elman.Recurrent, x: Tensor, lengths: Tensor = LENGTHS) -> list[Tensor]:
    """Output, final states, and the derivatives of a weighted sum of them."""
    x = x.detach().clone().requires_grad_()
    draws = torch.Generator().manual_seed(9)
    y, state = layer(x, lengths=lengths)
    values = [y, *(state[name] for name in layer.cell.states)]
    weights = [torch.randn(v.shape, generator=draws, dtype=torch.float64).to(v.dtype) for v in values]
    leaves = [x, *layer.weights.values()]
    total = sum(((v * w).sum() for v, w in zip(values, weights, strict=True)), start=torch.zeros(()))
    slopes = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [v.detach() for v in (*values, *slopes)]


def differs(found: Tensor, wanted: Tensor) -> float:
    """The largest difference by the largest value; what is small has the error of what it was added to."""
    return float((found.double() - wanted).abs().max() / max(1.0, float(wanted.abs().max())))


@pytest.mark.parametrize("seed", SEEDS)
def test_engines_agree_on_a_random_cell(seed: int) -> None:
    reference = drawn(seed)
    assert reference is not None
    hold_engines_to(reference, seed)


@pytest.mark.parametrize("name", STRANGE)
def test_engines_agree_on_a_strange_cell(name: str) -> None:
    hold_engines_to(elman.Recurrent(STRANGE[name], 3, 17, engine="reference", init={"*": "uniform:0.5"}).double(), 7)


@pytest.mark.skipif(not available(), reason="the engine was not built")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [*STRANGE, *SEEDS[::3]])
def test_a_pass_in_several_tiles_gives_what_torch_gives(name: str | int, threads: int) -> None:
    """Columns are done one tile after the other, or by other threads: none may overwrite what the next one reads."""
    if isinstance(name, str):
        cell = STRANGE[name]
    else:
        reference = drawn(name)
        assert reference is not None
        cell = reference.cell
    layer = elman.Recurrent(cell, 5, 40, engine="torch-schedule", init={"*": "uniform:0.3"}, seed=3).double()
    x = torch.randn(TALL, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    single = Threaded(cell, 5, 40)
    single.load_state_dict(layer.state_dict())
    single.number = threads
    lengths = torch.arange(TALL) % 3 + 1
    wanted = run(layer, x, lengths)
    for n, (mine, theirs) in enumerate(zip(run(single, x.float(), lengths), wanted, strict=True)):
        assert differs(mine, theirs) < 1e-4, f"value {n}:\n{cell.text}"
    with torch.no_grad():  # fewer values are kept then, and more places used again
        assert differs(single(x.float(), lengths=lengths)[0], wanted[0]) < 1e-4, cell.text


class Threaded(elman.Recurrent):
    """A layer on the engine with a number of threads, whatever the work is worth."""

    number = 1

    def _engine(self, cell: elman.Cell, steps: int | None, x: Tensor) -> CpuEngine:
        return CpuEngine(threads=self.number)


def hold_engines_to(reference: elman.Recurrent, seed: int) -> None:
    """Assert that every engine computes what the reference does, forward and back."""
    cell, width, hidden = reference.cell, reference.input_size, reference.hidden_size
    x = torch.randn(4, 6, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    wanted = run(reference, x)
    for engine, bound in ENGINES.items():
        kind = torch.float32 if engine == "cpu" else torch.float64
        layer = elman.Recurrent(cell, width, hidden, engine=engine, seed=seed).to(kind)
        layer.load_state_dict(reference.state_dict())
        for n, (mine, theirs) in enumerate(zip(run(layer, x.to(kind)), wanted, strict=True)):
            assert differs(mine, theirs) < bound, f"{engine}, value {n}:\n{cell.text}"


@pytest.mark.skipif(not available(), reason="the engine was not built")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_stepper_reads_a_random_cell_as_the_reference(seed: int) -> None:
    reference = drawn(seed)
    assert reference is not None
    numbers = np.random.default_rng(seed)
    embedding = numbers.standard_normal((9, reference.input_size)).astype(np.float32)
    head = numbers.standard_normal((9, reference.output_size)).astype(np.float32)
    weights = {name: w.detach().float().numpy() for name, w in reference.weights.items()}
    layer = Layer(reference.cell, reference.input_size, reference.hidden_size, weights)
    tokens = numbers.integers(0, 9, (4, 6))
    logits, (state,) = Stepper([layer], head, None, embedding, threads=2).read(tokens, None, LENGTHS.tolist())
    with torch.no_grad():
        y, after = reference(torch.from_numpy(embedding[tokens]).double(), lengths=LENGTHS)
    wanted = y[torch.arange(4), LENGTHS - 1] @ torch.from_numpy(head).double().T
    assert differs(torch.from_numpy(logits), wanted) < 1e-4, reference.cell.text
    for name, value in state.items():
        assert differs(torch.from_numpy(value), after[name]) < 1e-4, f"{name}:\n{reference.cell.text}"


def test_most_random_cells_are_cells() -> None:
    assert len(SEEDS) > TRIED // 3
