"""Reading equations by their structure: variables put in place of their names, sums as terms, products as factors."""

from __future__ import annotations

from collections.abc import Mapping

from elman.equations import Cell
from elman.equations.expressions import Apply, Expression, Symbol, children, with_children


def updates(cell: Cell) -> dict[str, Expression]:
    """Return what each state becomes in a step, with every other variable of the step replaced by its definition."""
    table = {e.name: e.expression for e in cell.forward_equations}
    return {s: _inlined(table[s], table, cell.states) for s in cell.states}


def _inlined(node: Expression, table: Mapping[str, Expression], states: tuple[str, ...]) -> Expression:
    if isinstance(node, Symbol) and node.time != -1 and node.name in table and node.name not in states:
        return _inlined(table[node.name], table, states)
    inner = tuple(_inlined(child, table, states) for child in children(node))
    return with_children(node, inner) if inner else node


def terms(node: Expression) -> list[Expression]:
    """Return the terms of a sum, in any nesting; a lone term for everything else."""
    return _parts(node, "add")


def factors(node: Expression) -> list[Expression]:
    """Return the factors of an elementwise product, in any nesting; a lone factor for everything else."""
    return _parts(node, "mul")


def _parts(node: Expression, function: str) -> list[Expression]:
    if isinstance(node, Apply) and node.function == function:
        return [part for argument in node.arguments for part in _parts(argument, function)]
    return [node]


def argument(node: Expression, function: str) -> Expression | None:
    """Return what a function is applied to, or None when `node` is something else."""
    return node.arguments[0] if isinstance(node, Apply) and node.function == function else None
