"""The table of cases: every cell of the catalogue, at sizes chosen to break things.

A new cell is in the table as soon as it is in the catalogue; a new way to break things is one more line of SIZES.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from elman.cells import cells
from elman.equations import Cell
from elman.errors import ShapeError

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run.

    Args:
        steps: T.
        input_size: I; H where the equations combine input and state elementwise.
        hidden_size: H.
        declared: Every size that a cell declares.
        lengths: One length a row.
    """

    steps: int
    input_size: int
    hidden_size: int
    declared: int
    lengths: tuple[int, ...]


SIZES = {
    "ones": Sizes(1, 1, 1, 1, (1,)),  # every dimension is 1: whatever is squeezed or broadcast by mistake
    "one step": Sizes(1, 2, 3, 2, (1, 1, 1)),  # no recurrence; first and last step are the same
    "one row": Sizes(5, 2, 3, 2, (5,)),
    "one unit": Sizes(3, 3, 1, 2, (3, 2)),  # matrices that are rows; a norm over one number
    "ragged": Sizes(4, 2, 3, 2, (2, 4, 1)),  # in no order, with a row of one step
    "square": Sizes(3, 4, 4, 4, (3, 3)),  # I = H = P: a transposed matrix or exchanged blocks keep their shape
    "odd": Sizes(4, 5, 17, 3, (4, 1, 3, 4)),  # one more than a vector register
    "all short": Sizes(6, 2, 3, 2, (2, 1)),  # padding beyond the longest row
}


STRANGE = {
    # A state that is a function of the input alone, which the step reads at once and a step later.
    "made_of_the_input": Cell("s = tanh(U x)\nh = tanh(W h<t-1> + V s + R s<t-1>)"),
    # A state that the step itself does not read.
    "read_by_the_head": Cell("h = tanh(W h<t-1> + U x)\ns = tanh(V h)\ny^ = softmax(R s + V_2 s<t-1> + b_y)"),
    # A state, which is the output, made of a parameter alone: no row of a batch is in it.
    "made_of_a_parameter": Cell("a = tanh(W x + a<t-1> * s<t-1>)\ns = 0.5 * b"),
    # Matrices that multiply a parameter, and what is made of one: an operand without rows of a batch.
    "multiplies_a_parameter": Cell("s = W_1 b_1\nv = tanh(b_1)\nh = tanh(W_2 [b_2, v, x] + V s<t-1> + R h<t-1>)"),
    # The same by a matrix transposed, where the parameter is the left factor of the gradient.
    "multiplies_a_parameter_transposed": Cell("h = tanh(W_1^T b_1 + U x + R h<t-1>)"),
    # A norm over a parameter, on both ways.
    "norm_of_a_parameter": Cell("h = tanh(layer_norm(b_1) * h<t-1> + W x)"),
    # Norms of two widths in one pass, of which the second is multiplied to the width of the first.
    "norms_of_two_widths": Cell("h = tanh(layer_norm(b_1) * h<t-1> + W layer_norm(x))"),
    # A pass with products of three operands, not side by side in the text, of which one starts from a hoisted sum.
    "products_in_turns": Cell(
        "h = b * R h<t-1> + tanh(W [x, c<t-1>])\nc = U h<t-1> + V x + tanh(R_2 (c<t-1> * h<t-1>))"
    ),
    # Values that a norm, or a product by its sum, reads in the pass in which something pointwise does: too late there.
    "read_by_a_norm_and_beside_it": Cell("v = tanh(h<t-1>)\nh = layer_norm(v) * v + U x"),
    "begins_a_sum_and_is_read_beside_it": Cell("v = sigmoid(h<t-1>)\nh = tanh(V tanh(W h<t-1>) + v) * v + U x"),
    # A state that is a norm: what arrives at it is read as a whole row.
    "norm_as_a_state": Cell("s = layer_norm(W x + V s<t-1>)\nh = tanh(R h<t-1> + U s<t-1>)"),
    # A derivative of a state that is overwritten before the last pass, which reads what was made of it.
    "derivative_of_the_first_pass": Cell("d = tanh(c<t-1>) * d<t-1>\nc = tanh(W (c<t-1> * c<t-1>) + U x)"),
    # Derivatives that only move from state to state on the way back, one after the other and in exchange.
    "delays": Cell("d = h<t-1>\ne = d<t-1>\nh = tanh(U x + w_1 * e<t-1>)"),
    "exchange": Cell("a = c<t-1>\nc = a<t-1> + U x"),
    # Values called as Elman calls derivatives: by h, and by a state before the step.
    "called_as_derivatives": Cell("d_h = tanh(W x + R d_h<t-1>)\nh = sigmoid(d_h) * h<t-1> + d_h * tanh(U x)"),
    # Derivatives of parameters whose sum is one more derivative: u d and (1 - u) d, and d.
    "shares_of_one": Cell("u = sigmoid(W x + b_u)\nc = tanh(U x + R h<t-1>)\nh = u * (c + b_1) + (1 - u) * (c + b_2)"),
    # More states than a cell of torch has.
    "three_states": Cell("a = tanh(W x + c<t-1>)\ns = sigmoid(U a + b * s<t-1>)\nc = s * a + a<t-1>"),
}
"""Cells that nobody would call by a name, and that break what holds for all others."""


@dataclass(frozen=True)
class Case:
    """A cell at sizes, with random values that are a function of both names.

    Args:
        name: Of the cell.
        sizes_name: Key of SIZES.
    """

    name: str
    sizes_name: str

    @property
    def cell(self) -> Cell:
        """The cell."""
        return STRANGE.get(self.name) or cells[self.name]

    @property
    def sizes(self) -> Sizes:
        """The sizes."""
        return SIZES[self.sizes_name]

    @cached_property
    def declared(self) -> dict[str, int]:
        """Sizes that the cell declares."""
        return dict.fromkeys(self.cell.free_sizes, self.sizes.declared)

    @cached_property
    def input_size(self) -> int:
        """I."""
        try:
            self.cell.check_sizes(self.sizes.input_size, self.sizes.hidden_size, self.declared)
        except ShapeError:
            return self.sizes.hidden_size
        return self.sizes.input_size

    def values(self, cell: Cell | None = None) -> dict[str, dict[str, Array]]:
        """Draw everything a run needs: "weights", "x", "state", "masks", and "loss", the weights of a scalar loss.

        Args:
            cell: A rewrite of the case's cell, which has masks.
        """
        cell = cell or self.cell
        random = np.random.default_rng(zlib.crc32(f"{self.name} {self.sizes_name}".encode()))
        arguments = self.input_size, self.sizes.hidden_size, self.declared
        rows, steps = len(self.sizes.lengths), self.sizes.steps
        widths, output = cell.state_sizes(*arguments), cell.output_size(*arguments)

        def normal(*shape: int) -> Array:
            # Numbers of float32, so that runs in either type start from the same ones.
            return random.standard_normal(shape).astype(np.float32).astype(np.float64)

        def weight(shape: tuple[int, ...]) -> Array:
            # Sums of deviation 1.5 at any width: gates leave their middle, tanh is not yet flat, and no error explodes.
            scale = 1.5 / np.sqrt(shape[1]) if len(shape) == 2 else 0.8
            return (scale * normal(*shape)).astype(np.float32).astype(np.float64)

        return {
            "weights": {n: weight(s) for n, s in cell.parameters(*arguments).items()},
            "x": {"x": normal(rows, steps, self.input_size)},
            "state": {n: normal(rows, w) for n, w in widths.items()},
            "masks": {
                n: random.random((rows, steps, w)).astype(np.float32).astype(np.float64)
                for n, w in cell.mask_sizes(*arguments).items()
            },
            "loss": {"output": normal(rows, steps, output), **{n: normal(rows, w) for n, w in widths.items()}},
        }

    def __str__(self) -> str:
        return f"{self.name}-{self.sizes_name.replace(' ', '_')}"


CASES = [Case(name, sizes) for name in (*cells, *STRANGE) for sizes in SIZES]
"""The table."""


def at(*sizes: str) -> list[Case]:
    """Return the cases of every cell at some sizes."""
    return [case for case in CASES if case.sizes_name in sizes]
