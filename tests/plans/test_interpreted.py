"""Plans do what the equations say, whatever executes them: every cell, and random ones, by a slow interpreter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from elman.cells import cells
from elman.engines import reference
from elman.equations import Cell
from elman.equations.rewrite import variational, zoneout
from elman.errors import EquationError, ShapeError
from elman.plans.numpy_functions import Array
from tests.cases import STRANGE
from tests.plans.interpreter import Interpreter, meetings

TRIED = 250
INPUT, HIDDEN, DECLARED = 3, 4, 2


@dataclass
class Writer:
    """Writes cells of many states in two sizes: copies, sums of products, norms, shared and transposed matrices."""

    choose: random.Random
    made: list[str] = field(default_factory=list)
    matrices: list[tuple[str, str, str]] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def text(self) -> str:
        """Return the equations; some are refused, since nothing reads a line."""
        states = [f"s{letter}" for letter in "abcd"[: self.choose.randint(1, 4)]]
        names = states + [f"v{letter}" for letter in "abcd"[: self.choose.randint(0, 4)]]
        self.size = {name: "P" if name != "sa" and self.choose.random() < 0.25 else "H" for name in names}
        self.before = [f"{state}<t-1>" for state in states]
        self.choose.shuffle(names)
        lines = [f"size: {name} = P" for name in names if self.size[name] == "P"]
        return "\n".join([*lines, *map(self.line, names)])

    def line(self, name: str) -> str:
        terms = " + ".join(self.term(self.size[name]) for _ in range(self.choose.choice((1, 1, 2, 3, 4))))
        self.made.append(name)
        return f"{name} = {self.choose.choice(('tanh', '0.5 *', '-', ''))} ({terms})"

    def term(self, size: str) -> str:
        one, other = self.value(size), self.value(size)
        products = [self.product(size)] * 4
        slopes = f"{one} * ({other} * (1 - {other}))", f"{one} * (1 - {other} * {other})"
        mixture = f"{one} * {other} + (1 - {one}) * {self.value(size)}"
        norms = f"layer_norm({one})", f"layer_norm({self.product(size)})"
        return self.choose.choice((*products, one, one, f"{one} * {other}", mixture, *slopes, *norms))

    def product(self, size: str) -> str:
        again = [m for m in self.matrices if m[1] == size or m[1:] == (m[1], size)]
        if again and self.choose.random() < 0.3:
            name, rows, columns = self.choose.choice(again)
            return f"{name} {self.value(columns)}" if rows == size else f"{name}^T {self.value(rows)}"
        columns = self.choose.choice(["I", "H", "H", *self.size.values()]) if self.matrices else "I"
        name = f"W_{len(self.matrices)}"
        self.matrices.append((name, size, columns))
        return f"{name} {self.choose.choice((self.value(columns), f'layer_norm({self.value(columns)})'))}"

    def value(self, size: str) -> str:
        if size == "I":
            return "x"
        found = [name for name in (*self.before, *self.made) if self.size[name.removesuffix("<t-1>")] == size]
        unread = [name for name in found if name not in self.read]
        chosen = self.choose.choice(unread if unread and self.choose.random() < 0.8 else [*found, *found, f"b_{size}"])
        self.read.add(chosen)
        return chosen


def drawn(seed: int) -> Cell | None:
    """Return a random cell, None where its equations are refused."""
    try:
        cell = Cell(Writer(random.Random(seed)).text())
        cell.parameters(INPUT, HIDDEN, dict.fromkeys(cell.free_sizes, DECLARED))
        return cell
    except (EquationError, ShapeError):
        return None


RANDOM = {seed: cell for seed in range(TRIED) if (cell := drawn(seed)) is not None}


def bent(values: Array) -> Array:
    """In place of a rounding: what is bent at the wrong place, or not at all, shows at any precision."""
    return 1.02 * values + 0.05 * np.sin(3 * values)


def hold(cell: Cell, rounding: Callable[[Array], Array] | None, seed: int = 0) -> None:
    """Assert that the plan of a cell gives what its equations do, forward and back, with any number of threads."""
    try:
        cell.parameters(INPUT, HIDDEN, dict.fromkeys(cell.free_sizes, DECLARED))
        sizes = INPUT, HIDDEN, dict.fromkeys(cell.free_sizes, DECLARED)
    except ShapeError:  # equations that combine input and state elementwise
        sizes = HIDDEN, HIDDEN, dict.fromkeys(cell.free_sizes, DECLARED)
    draws, batch, steps = np.random.default_rng(seed), 2, 3

    def normal(*shape: int) -> Array:
        return draws.standard_normal(shape) * (0.7 / np.sqrt(shape[-1]))

    weights = {name: normal(*shape) for name, shape in cell.parameters(*sizes).items()}
    start = {name: normal(batch, width) for name, width in cell.state_sizes(*sizes).items()}
    masks = {name: draws.random((batch, steps, width)) for name, width in cell.mask_sizes(*sizes).items()}
    x = normal(batch, steps, sizes[0])
    trace = reference.forward(cell, weights, x, None, start, masks, rounding=rounding)
    d_y, d_final = normal(*trace.y.shape), {name: normal(*value.shape) for name, value in trace.final.items()}
    wanted = reference.backward(trace, d_y, d_final, x.shape)
    alone, plan = (Interpreter(cell, sizes, weights, rounding, keep) for keep in (False, True))
    y_alone, _ = alone.forward(x, start, masks)
    y, final = plan.forward(x, start, masks)
    d_weights, d_x, d_start = plan.backward(d_y, d_final)
    named = {"y, forward alone": (y_alone, trace.y), "y": (y, trace.y), "d x": (d_x, wanted.x)}
    named |= {f"{name} at the end": (final[name], trace.final[name]) for name in final}
    named |= {f"d {name}": (d_weights[name], wanted.weights[name]) for name in weights}
    named |= {f"d {name} at the start": (d_start[name], wanted.state[name]) for name in start}
    for name, (found, right) in named.items():
        np.testing.assert_allclose(
            found, right, rtol=1e-7, atol=1e-8 * max(1.0, np.abs(right).max()), err_msg=f"{name}\n{cell}"
        )
    for passes in (alone.plan.forward.step, plan.plan.forward.step, plan.plan.backward.step):
        assert not meetings(passes), cell


@pytest.mark.parametrize("name", [*cells, *STRANGE])
def test_the_plan_of_a_cell_does_what_its_equations_say(name: str) -> None:
    cell = STRANGE.get(name) or cells[name]
    for rewritten in (cell, zoneout(cell), variational(cell)):
        for rounding in (None, bent):
            hold(rewritten, rounding)


@pytest.mark.parametrize("seed", RANDOM)
def test_the_plan_of_a_random_cell_does_what_its_equations_say(seed: int) -> None:
    for rounding in (None, bent):
        hold(RANDOM[seed], rounding, seed)


def test_most_random_cells_are_cells() -> None:
    assert len(RANDOM) > TRIED // 3
