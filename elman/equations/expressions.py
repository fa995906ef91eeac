"""The expression graph: what one side of an equation is made of. Nodes are frozen and compare by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias


@dataclass(frozen=True)
class Position:
    """Where a piece of text stands in the source: line and column count from 0."""

    line: int
    column: int


NOWHERE = Position(0, 0)


@dataclass(frozen=True)
class Number:
    """A constant; it has no size and applies to every component."""

    value: float


@dataclass(frozen=True)
class Symbol:
    """A name read in an equation: a variable of this step, a state, the input, a mask or a vector parameter.

    Args:
        name: Normalised name ("c~", "Gamma_u").
        time: 0 or None for this step, -1 for the step before.
        transposed: True for a matrix written with a superscript T.
        position: Where it stands; ignored in comparisons.
    """

    name: str
    time: int | None = None
    transposed: bool = False
    position: Position = field(default=NOWHERE, compare=False)

    @property
    def key(self) -> str:
        """The name as a programme reads it: "c<t-1>" for a state, "c" otherwise."""
        return f"{self.name}<t-1>" if self.time == -1 else self.name


@dataclass(frozen=True)
class Apply:
    """A function or operator applied to arguments: "add" "sub" "mul" "div" "neg" or a name of the function table."""

    function: str
    arguments: tuple[Expression, ...]
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Product:
    """A matrix times a vector, or times the concatenation of several: W [a, b]."""

    matrix: str
    parts: tuple[Expression, ...]
    transposed: bool = False
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Sequence:
    """Terms that stand side by side, "W_x x", before their meaning is known; only the parser's output holds it."""

    items: tuple[Expression, ...]
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Bracket:
    """A list in brackets, "[a, b]", or the arguments of a call, before its meaning is known."""

    items: tuple[Expression, ...]
    round: bool = False
    position: Position = field(default=NOWHERE, compare=False)


Expression: TypeAlias = Number | Symbol | Apply | Product | Sequence | Bracket


def children(node: Expression) -> tuple[Expression, ...]:
    """Return the expressions directly inside `node`."""
    match node:
        case Apply(arguments=inner) | Product(parts=inner) | Sequence(items=inner) | Bracket(items=inner):
            return inner
        case _:
            return ()


def with_children(node: Expression, inner: tuple[Expression, ...]) -> Expression:
    """Return `node` with the expressions directly inside it replaced."""
    match node:
        case Apply():
            return replace(node, arguments=inner)
        case Product():
            return replace(node, parts=inner)
        case Sequence() | Bracket():
            return replace(node, items=inner)
        case _:
            return node


def walk(node: Expression) -> Iterator[Expression]:
    """Yield `node` and everything inside it, outermost first."""
    yield node
    for child in children(node):
        yield from walk(child)


def renamed(node: Expression, names: Mapping[str, str]) -> Expression:
    """Return `node` with names replaced, but for values of the step before."""
    if isinstance(node, Symbol) and node.time != -1 and node.name in names:
        return replace(node, name=names[node.name])
    inner = tuple(renamed(child, names) for child in children(node))
    return with_children(node, inner) if inner else node


def position_of(node: Expression) -> Position:
    """Return where `node` begins in the source text."""
    if isinstance(node, Number):
        return NOWHERE
    return node.position


@dataclass(frozen=True)
class Equation:
    """One line of a cell: a name, and the expression that defines it.

    Args:
        name: The name that the line defines, at this step.
        expression: Its right-hand side.
        line: Line of the source, from 0.
        accumulates: True for a derived gradient that each step adds to ("+=").
    """

    name: str
    expression: Expression
    line: int = field(default=0, compare=False)
    accumulates: bool = False

    def __str__(self) -> str:
        from elman.equations.printing import plain_equation

        return plain_equation(self)
