"""What terms side by side mean: a matrix times a vector, a function of its argument, or a mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from elman.equations.expressions import (
    Apply,
    Bracket,
    Expression,
    Number,
    Position,
    Product,
    Sequence,
    Symbol,
    position_of,
    walk,
)
from elman.equations.functions import ALIASES, CELL_FUNCTIONS, FUNCTIONS, OUTPUT_FUNCTIONS, UNBOUND
from elman.equations.notation import caret_error
from elman.equations.symbols import is_matrix_name, is_vector_name
from elman.errors import EquationError, nearest


def is_function(name: str, bound: Mapping[str, str]) -> bool:
    """Say whether a name is that of a function, known or bound by the caller."""
    return name in FUNCTIONS or name in ALIASES or name in OUTPUT_FUNCTIONS or name in bound or name in UNBOUND


def is_constant(node: Expression) -> bool:
    """Say whether an expression reads no name."""
    return all(not isinstance(part, Symbol) for part in walk(node))


@dataclass(frozen=True)
class Meaning:
    """Gives expressions their meaning, knowing the role of every name.

    Args:
        text: The source, for carets.
        defined: Names that lines define.
        constants: Those of them that are numbers.
        input: Name of the input.
        masks: Further inputs.
        functions: Functions bound by the caller.
        shift: Offset of time of the left sides.
    """

    text: str
    defined: Mapping[str, Position]
    constants: frozenset[str]
    input: str | None
    masks: tuple[str, ...]
    functions: Mapping[str, str]
    shift: int

    def error(self, place: Position, message: str, hint: str | None = None) -> EquationError:
        """Build an error that shows the line with a caret."""
        return caret_error(self.text, place, message, hint)

    def resolve(self, node: Expression) -> Expression:
        """Return `node` with products, calls and elementwise operations told apart."""
        match node:
            case Number():
                return node
            case Symbol():
                return self._resolve_symbol(node)
            case Sequence(items=items):
                return self._resolve_sequence(list(items), node.position)
            case Bracket(items=items):
                if len(items) != 1:
                    raise self.error(
                        node.position, f"a list of {len(items)} vectors must follow a matrix", "write W [a, b]"
                    )
                return self.resolve(items[0])
            case Apply(function=function, arguments=arguments):
                return Apply(function, tuple(self.resolve(a) for a in arguments), node.position)
            case _:
                return node

    def _resolve_symbol(self, symbol: Symbol) -> Expression:
        name, time = symbol.name, None if symbol.time is None else symbol.time - self.shift
        place = symbol.position
        if name == self.input or name in self.masks:
            return Symbol(name, 0, position=place)
        if name in self.defined:
            return Symbol(name, -1 if time == -1 else 0, position=place)
        if re.match(r".+[<>]$", name):
            return Symbol(name, 0, position=place)
        if is_matrix_name(name) and time is None:
            raise self.error(
                place,
                f"the matrix {name} must be followed by the vector it multiplies",
                f"write {name} x; an elementwise weight begins with w or p",
            )
        if is_vector_name(name) and time is None:
            return Symbol(name, 0, position=place)
        if is_function(name, self.functions):
            raise self.error(place, f"the function {name} must be followed by its argument in brackets")
        if time == -1:
            hint = f"add a line {name}<t> = …, or correct the name"
            raise self.error(
                place,
                f"{name}<t-1> is read, but no line defines {name}: the state is never updated"
                f"{nearest(name, self.defined)}",
                hint,
            )
        raise self._unknown(name, place)

    def _unknown(self, name: str, place: Position) -> EquationError:
        known = [*self.defined, *([self.input] if self.input else [])]
        hint = (
            f"known names: {', '.join(known)}; parameters begin with W, U, V, R (matrices), b (biases), "
            "w or p (elementwise weights)"
        )
        return self.error(place, f"unknown name {name!r}{nearest(name, known)}", hint)

    def _resolve_sequence(self, items: list[Expression], place: Position) -> Expression:
        first, rest = items[0], items[1:]
        if isinstance(first, Symbol) and not rest:
            return self.resolve(first)
        if isinstance(first, Symbol) and self._calls(first, rest):
            return self._call(first, rest)
        if (
            isinstance(first, Symbol)
            and first.name not in self.defined
            and first.name != self.input
            and is_matrix_name(first.name)
        ):
            return self._product(first, rest)
        if is_constant(first) or (isinstance(first, Symbol) and first.name in self.constants):
            return Apply("mul", (self.resolve(first), self._resolve_sequence(rest, place)), place)
        if (
            len(rest) == 1
            and isinstance(rest[0], Symbol)
            and is_matrix_name(rest[0].name)
            and rest[0].name not in self.defined
        ):
            # Row convention, x W: the same product with the matrix written on the right.
            return self._product(rest[0], [first])
        if not rest:
            return self.resolve(first)
        if (
            isinstance(first, Symbol)
            and isinstance(rest[0], Bracket)
            and rest[0].round
            and first.name not in self.defined
            and first.name != self.input
        ):
            known = sorted({*CELL_FUNCTIONS, *OUTPUT_FUNCTIONS})
            raise self.error(
                first.position,
                f"unknown function {first.name!r}{nearest(first.name, known)}",
                f"functions: {', '.join(known)}",
            )
        self.resolve(first)
        self._resolve_sequence(rest, place)
        raise self.error(
            position_of(rest[0]) if not isinstance(rest[0], Number) else place,
            "two vectors stand side by side with no operator between them",
            "write * for the elementwise product (\\odot in LaTeX)",
        )

    def _calls(self, first: Symbol, rest: list[Expression]) -> bool:
        return first.name not in self.defined and is_function(first.name, self.functions) and bool(rest)

    def _call(self, first: Symbol, rest: list[Expression]) -> Expression:
        name = self.functions.get(first.name) or ALIASES.get(first.name) or UNBOUND.get(first.name) or first.name
        bracket = rest[0]
        if isinstance(bracket, Bracket):
            arguments = tuple(self.resolve(item) for item in bracket.items)
            if len(rest) > 1:
                raise self.error(
                    position_of(rest[1]),
                    f"an operator must stand after {first.name}(...)",
                    "write * for the elementwise product",
                )
        else:
            arguments = (self._resolve_sequence(rest, first.position),)
        wanted = FUNCTIONS[name].arguments if name in FUNCTIONS else 1
        if name in FUNCTIONS and name not in CELL_FUNCTIONS:
            raise self.error(
                first.position,
                f"the function {name!r} appears in derived equations only{nearest(name, CELL_FUNCTIONS)}",
            )
        if len(arguments) != wanted:
            raise self.error(
                first.position, f"{name} takes {wanted} argument{'s' * (wanted > 1)}; got {len(arguments)}"
            )
        return Apply(name, arguments, first.position)

    def _product(self, matrix: Symbol, rest: list[Expression]) -> Expression:
        if not rest:
            return self.resolve(matrix)
        if len(rest) == 1 and isinstance(rest[0], Bracket) and not rest[0].round:
            parts = tuple(self.resolve(item) for item in rest[0].items)
        else:
            parts = (self._resolve_sequence(rest, position_of(rest[0])),)
        return Product(matrix.name, parts, matrix.transposed, matrix.position)
