"""Regularisers as rewrites: the cell gets masks as further inputs, and every engine runs it like any other cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from elman.equations.cell import Cell
from elman.equations.expressions import (
    Apply,
    Equation,
    Expression,
    Number,
    Product,
    Symbol,
    children,
    renamed,
    walk,
    with_children,
)
from elman.equations.printing import number_text, plain_equation


@lru_cache(maxsize=256)
def zoneout(cell: Cell, probability: float | None = None) -> Cell:
    """Let each component of a state keep its old value where a mask is 1.

        s<t> = zoneout_s * s<t-1> + (1 - zoneout_s) * s_new

    Other lines of the step read the new value, as in the paper.

    Args:
        cell: Any cell.
        probability: For evaluation, which blends by it: it stands in place of every mask. None for training.

    Returns:
        The cell with one more mask for each state, named "zoneout_<state>", of the size of the state, which holds
        draws of 0 and 1; without masks where a probability is given.

    Source: Krueger et al. 2017, "Zoneout: Regularizing RNNs by randomly preserving hidden activations",
    equations 5 and 6.
    """
    lines = []
    new = _free_names(cell, {s: s for s in cell.states}, "_new")
    masks = _free_names(cell, {s: f"zoneout_{s}" for s in cell.states}, "_")
    for equation in cell.forward_equations:
        body = renamed(equation.expression, new)
        if equation.name not in cell.states:
            lines.append(replace(equation, expression=body))
            continue
        state = equation.name
        mask = Symbol(masks[state], 0) if probability is None else Number(probability)
        kept = Apply("mul", (mask, Symbol(state, -1)))
        taken = Apply("mul", (Apply("sub", (Number(1.0), mask)), Symbol(new[state], 0)))
        lines += [Equation(new[state], body), Equation(state, Apply("add", (kept, taken)))]
    return _rebuilt(cell, lines, tuple(masks.values()) if probability is None else ())


@lru_cache(maxsize=256)
def variational(cell: Cell) -> Cell:
    """Drop components of the input and of the states wherever a matrix multiplies them, with one mask for all steps.

    Args:
        cell: Any cell.

    Returns:
        The cell with the masks "drop_input" (size I) and "drop_<state>"; a mask holds 0 or 1 / keep.

    Source: Gal and Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
    networks", equation 7.
    """
    used: dict[str, None] = {}
    masks = _free_names(cell, {cell.input: "drop_input", **{s: f"drop_{s}" for s in cell.states}}, "_")

    def masked(node: Expression, inside: bool) -> Expression:
        if inside and isinstance(node, Symbol) and (node.time == -1 or node.name == cell.input):
            used.setdefault(masks[node.name])
            return Apply("mul", (Symbol(masks[node.name], 0), node))
        inner = tuple(masked(child, inside or isinstance(node, Product)) for child in children(node))
        return with_children(node, inner) if inner else node

    lines = [replace(e, expression=masked(e.expression, False)) for e in cell.forward_equations]
    return _rebuilt(cell, lines, tuple(used))


def _free_names(cell: Cell, names: Mapping[str, str], word: str) -> dict[str, str]:
    """Return names for what a rewrite adds, with `word` behind the letters of each as long as the equations use it.

    Accents stay last: the new value of c~ is c_new~. Papers write h_new, too, so that it may be h_new_new.
    """
    symbols = (n.name for e in cell.forward_equations for n in walk(e.expression) if isinstance(n, Symbol))
    taken = {cell.input, *cell.masks, *(e.name for e in cell.forward_equations), *symbols}
    found = {}
    for key, name in names.items():
        letters = name.rstrip("~^><")
        marks = name[len(letters) :]
        while letters + marks in taken:
            letters += word
        found[key] = letters + marks
        taken.add(found[key])
    return found


def _rebuilt(cell: Cell, lines: list[Equation], masks: tuple[str, ...]) -> Cell:
    text = [line for line in cell.plain().splitlines() if line.startswith("size:")]
    text += [plain_equation(line, cell.states, cell.input) for line in lines]
    text += [f"{state}<0> = {number_text(value)}" for state, value in cell.starts.items()]
    return Cell(
        "\n".join(text),
        name=cell.name,
        output=cell.output,
        init=cell.init,
        source=cell.source,
        masks=(*cell.masks, *masks),
    )
