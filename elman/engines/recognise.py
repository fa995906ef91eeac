"""Is a cell, up to names, exactly one of torch's? Then torch's fused kernels may run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from elman.engines.patterns import argument, factors, terms, updates
from elman.equations import Cell
from elman.equations.expressions import Apply, Expression, Number, Product, Symbol


@dataclass(frozen=True)
class Term:
    """A product inside a gate: which matrix, and which of its column blocks."""

    matrix: str
    index: int


@dataclass(frozen=True)
class Gate:
    """What stands inside a gate: W x + R h + biases.

    Args:
        x: Product with the input; None where the gate has none.
        h: Product with the state.
        b_x: Bias beside the input product; None for none.
        b_h: Bias beside the state product; None for none.
    """

    x: Term | None
    h: Term | None
    b_x: str | None = None
    b_h: str | None = None


@dataclass(frozen=True)
class Fused:
    """A cell recognised as one of torch's.

    Args:
        kind: "lstm", "gru", "rnn_tanh" or "rnn_relu".
        gates: In torch's order: i f g o; r z n; one.
        hidden: Name of the state that is the output.
        memory: Name of the memory state of an LSTM; None otherwise.
        projection: Matrix of a projected LSTM; None otherwise.
    """

    kind: str
    gates: tuple[Gate, ...]
    hidden: str
    memory: str | None = None
    projection: str | None = None


@lru_cache(maxsize=512)
def recognise(cell: Cell) -> Fused | None:
    """Return how torch's kernels compute a cell, or None when its equations are not exactly theirs."""
    if cell.masks or cell.output not in cell.states or len(cell.states) > 2:
        return None
    reader = _Reader(cell, updates(cell))
    found = reader.lstm() if len(cell.states) == 2 else (reader.rnn() or reader.gru())
    return found if found is not None and reader.each_once(found) else None


def _pair(node: Expression, first: str, other: Expression | str) -> Expression | None:
    """The argument of `first` in a product of two factors: first(...) times `other`, a function's name or a value."""
    pair = factors(node)
    if len(pair) != 2:
        return None
    for a, b in (pair, pair[::-1]):
        inside = argument(a, first)
        matches = argument(b, other) is not None if isinstance(other, str) else b == other
        if inside is not None and matches:
            return inside
    return None


class _Reader:
    def __init__(self, cell: Cell, updates: dict[str, Expression]) -> None:
        self.cell, self.updates = cell, updates

    def gate(self, node: Expression | None, hidden: str, parts: tuple[bool, bool] = (True, True)) -> Gate | None:
        """Read W x + R h + at most two biases; `parts` says which of the two products must be there."""
        if node is None:
            return None
        x: list[Term] = []
        h: list[Term] = []
        biases: list[str] = []
        for term in terms(node):
            if isinstance(term, Product) and not term.transposed:
                for index, part in enumerate(term.parts):
                    if part == Symbol(self.cell.input, 0):
                        x.append(Term(term.matrix, index))
                    elif part == Symbol(hidden, -1):
                        h.append(Term(term.matrix, index))
                    else:
                        return None
            elif isinstance(term, Symbol) and self.cell.is_vector(term.name):
                biases.append(term.name)
            else:
                return None
        if (len(x), len(h)) != tuple(map(int, parts)) or len(biases) > (2 if all(parts) else 1):
            return None
        if parts == (False, True):
            return Gate(None, h[0], None, biases[0] if biases else None)
        return Gate(x[0], h[0] if h else None, *[*biases, None, None][:2])

    def rnn(self) -> Fused | None:
        (hidden,) = self.cell.states
        for function in ("tanh", "relu"):
            gate = self.gate(argument(self.updates[hidden], function), hidden)
            if gate is not None:
                return Fused(f"rnn_{function}", (gate,), hidden)
        return None

    def lstm(self) -> Fused | None:
        hidden = self.cell.output
        memory = next(s for s in self.cell.states if s != hidden)
        update, projection = self.updates[hidden], None
        if isinstance(update, Product) and len(update.parts) == 1 and not update.transposed:
            projection, update = update.matrix, update.parts[0]
        out = self._gate_times_memory(update, memory, hidden)
        pair = terms(self.updates[memory])
        if out is None or len(pair) != 2:
            return None
        for keep, write in (pair, pair[::-1]):
            forget = self.gate(_pair(keep, "sigmoid", Symbol(memory, -1)), hidden)
            enter = self.gate(_pair(write, "sigmoid", "tanh"), hidden)
            candidate = self.gate(_pair(write, "tanh", "sigmoid"), hidden)
            if forget and enter and candidate:
                return Fused("lstm", (enter, forget, candidate, out), hidden, memory, projection)
        return None

    def _gate_times_memory(self, update: Expression, memory: str, hidden: str) -> Gate | None:
        return self.gate(_pair(update, "sigmoid", Apply("tanh", (Symbol(memory, 0),))), hidden)

    def gru(self) -> Fused | None:
        """h = (1 - z) * n + z * h<t-1>, with n = tanh(W x + b + r * (R h<t-1> + b))."""
        (hidden,) = self.cell.states
        pair = terms(self.updates[hidden])
        if len(pair) != 2:
            return None
        for new, old in (pair, pair[::-1]):
            z = _pair(old, "sigmoid", Symbol(hidden, -1))
            if z is None:
                continue
            keep = Apply("sub", (Number(1.0), Apply("sigmoid", (z,))))
            inside = _pair(new, "tanh", keep)
            gates = self._candidate(inside, hidden)
            update = self.gate(z, hidden)
            if gates is not None and update is not None:
                return Fused("gru", (gates[0], update, gates[1]), hidden)
        return None

    def _candidate(self, inside: Expression | None, hidden: str) -> tuple[Gate, Gate] | None:
        if inside is None:
            return None
        products = [t for t in terms(inside) if isinstance(t, Apply) and t.function == "mul"]
        if len(products) != 1:
            return None
        rest = [t for t in terms(inside) if t is not products[0]]
        pair = factors(products[0])
        for r, recurrent in (pair, pair[::-1]) if len(pair) == 2 else ():
            reset = self.gate(argument(r, "sigmoid"), hidden)
            state = self.gate(recurrent, hidden, (False, True))
            given = self.gate(_sum(rest), hidden, (True, False))
            if reset and state and given:
                return reset, Gate(given.x, state.h, given.b_x, state.b_h)
        return None

    def each_once(self, fused: Fused) -> bool:
        """Torch's parameters are independent: a cell that uses one of its own twice is not theirs."""
        products = [t for g in fused.gates for t in (g.x, g.h)]
        biases = [b for g in fused.gates for b in (g.b_x, g.b_h) if b is not None]
        return len(set(products)) == len(products) and len(set(biases)) == len(biases)


def _sum(parts: list[Expression]) -> Expression | None:
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = Apply("add", (total, part))
    return total


def packed_weights(
    fused: Fused, cell: Cell, weights: Mapping[str, Tensor], input_size: int, hidden_width: int
) -> list[Tensor]:
    """Join a cell's parameters in torch's order: weight_ih (G H, I), weight_hh (G H, O), both biases, projection."""
    widths = {True: input_size, False: hidden_width}

    def block(term: Term | None, of_input: bool) -> Tensor:
        if term is None:
            raise AssertionError("a gate of torch has both products")
        whole, blocks = weights[term.matrix], cell.parameter_blocks(term.matrix)
        if len(blocks) == 1:
            return whole
        start = sum(widths[b.kind == "input"] for b in blocks[: term.index])
        return whole[:, start : start + widths[of_input]]

    like = block(fused.gates[0].x, True)
    zeros = like.new_zeros(like.shape[0])
    flat = [
        torch.cat([block(g.x, True) for g in fused.gates]),  # (G H, I)
        torch.cat([block(g.h, False) for g in fused.gates]),  # (G H, O)
        torch.cat([weights[g.b_x] if g.b_x else zeros for g in fused.gates]),  # (G H,)
        torch.cat([weights[g.b_h] if g.b_h else zeros for g in fused.gates]),  # (G H,)
    ]
    return [*flat, weights[fused.projection]] if fused.projection else flat
