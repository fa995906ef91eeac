"""Forget gates, found by what they do: a sigmoid that multiplies the state of the step before."""

from __future__ import annotations

from elman.engines.patterns import argument, factors, terms, updates
from elman.equations import Cell
from elman.equations.expressions import Apply, Expression, Number, Symbol
from elman.errors import UsageError
from elman.layers.initialisers import held


def forget_biases(cell: Cell) -> dict[str, float]:
    """Return the biases of the gates that keep the state, each with the sign that makes it keep more.

    A gate is f in `s = f * s<t-1> + ...`, f = sigmoid(... + b), with sign 1; and u in `s = (1 - u) * s<t-1> + ...`
    with sign -1, since 1 - sigmoid(v) = sigmoid(-v). Of several biases in one gate the first counts.

    Args:
        cell: The cell.

    Example:
        >>> forget_biases(Cell("u = sigmoid(W [h<t-1>, x] + b_u)\\nh = u * tanh(V x) + (1 - u) * h<t-1>"))
        {'b_u': -1.0}
    """
    found: dict[str, float] = {}
    for state, update in updates(cell).items():
        for term in terms(update):
            gate = _kept(term, state)
            if gate is None:
                continue
            inside, sign = gate
            biases = [t.name for t in terms(inside) if isinstance(t, Symbol) and cell.is_vector(t.name)]
            if biases:
                found.setdefault(biases[0], sign)
    return found


def _kept(term: Expression, state: str) -> tuple[Expression, float] | None:
    """The inside of the gate in `gate * state<t-1>`, and its sign."""
    pair = factors(term)
    old = Symbol(state, -1)
    if len(pair) != 2 or old not in pair:
        return None
    gate = pair[0] if pair[1] == old else pair[1]
    sign = 1.0
    if isinstance(gate, Apply) and gate.function == "sub" and gate.arguments[0] == Number(1.0):
        gate, sign = gate.arguments[1], -1.0
    inside = argument(gate, "sigmoid") or argument(gate, "hard_sigmoid")
    return None if inside is None else (inside, sign)


def forget_values(cell: Cell, bias: float) -> dict[str, float]:
    """Return the first values of the biases of a cell's forget gates.

    Args:
        cell: The cell.
        bias: What is added inside each gate; greater values keep the state for longer.

    Raises:
        UsageError: the cell has no gate with a bias that multiplies a state, or the bias is no number of float32.
    """
    if held(bias) is None:
        raise UsageError(f"forget_bias: must be a finite number, as float32 holds it; got {bias!r}")
    signs = forget_biases(cell)
    if not signs:
        names = ", ".join(cell.parameters(2, 2, dict.fromkeys(cell.free_sizes, 2))) or "no parameters"
        raise UsageError(
            f"forget_bias: must have a gate with a bias that multiplies a state; the cell {cell.name!r} has none, "
            f"only {names}",
            "set the parameter you mean by init={'b_...': 1.0}",
        )
    return {name: sign * float(bias) for name, sign in signs.items()}
