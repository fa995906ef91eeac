"""What terms side by side mean: a matrix times a vector, a function of its argument, or a mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from elman.equations.carets import caret_error
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
from elman.equations.neighbours import check_neighbours, known_names, word_at
from elman.equations.spelt_out import named
from elman.equations.symbols import is_matrix_name, is_vector_name, is_written_together
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
        implicit: True when vectors side by side multiply elementwise, as papers write them (LaTeX).
        timed: Names that are written with their time where they are defined, and the input if it is.
        predicts: True in the line of a prediction, where a> and a< are the two directions of a.
        rows: Filled with the matrices that stand behind a vector, x W.
    """

    text: str
    defined: Mapping[str, Position]
    constants: frozenset[str]
    input: str | None
    masks: tuple[str, ...]
    functions: Mapping[str, str]
    shift: int
    implicit: bool
    timed: frozenset[str] = frozenset()
    predicts: bool = False
    rows: set[str] = field(default_factory=set)

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
            case Apply(function="mul" | "hadamard", arguments=(left, _)) if self._is_row(last_factor(left)):
                raise self._inner_product(last_factor(left))
            case Apply(function="mul", arguments=(left, right)) if self.is_matrix(last_factor(left)):
                return self._dotted_product(left, right)
            case Apply(function="hadamard", arguments=(left, right)):
                self._check_hadamard(last_factor(left))
                return self.resolve(Apply("mul", (left, right), node.position))
            case Apply(function="div", arguments=(left, Sequence(items=items) as right)):
                self._check_divisor(list(items), right)
                return Apply("div", (self.resolve(left), self.resolve(right)), node.position)
            case Apply(function=function, arguments=arguments):
                return named(Apply(function, tuple(self.resolve(a) for a in arguments), node.position))
            case _:
                return node

    def is_matrix(self, node: Expression | None) -> bool:
        """Say whether this is the name of a matrix that no line defines (R may be a gate) and that is not the input."""
        return (
            isinstance(node, Symbol)
            and node.time is None
            and is_matrix_name(node.name)
            and node.name not in self.defined
            and node.name != self.input
        )

    def _check_hadamard(self, left: Expression) -> None:
        if isinstance(left, Symbol) and self.is_matrix(left):
            below = left.name[1:]
            raise self.error(
                left.position,
                f"the matrix {left.name} stands before a sign of the elementwise product",
                f"write {left.name} h for its product with a vector, w{below} for an elementwise weight (a peephole)",
            )

    def _check_divisor(self, items: list[Expression], divisor: Sequence) -> None:
        """1/2 h is half of h to most and 1 / (2 h) to a parser."""
        _, rest = self._take(items)
        if rest:
            raise self.error(
                divisor.position,
                "what stands side by side behind '/' can be divided by as a whole, or multiplied afterwards",
                "write (a / b) * c or a / (b * c)",
            )

    def _dotted_product(self, left: Expression, right: Expression) -> Expression:
        """Some papers write a dot between a matrix and its vector: W \\cdot [h, x], or a * W \\cdot x."""
        if isinstance(left, Symbol):
            return self._product(left, [right])[0]
        if isinstance(left, Apply):
            product = self.resolve(Sequence((left.arguments[1], right), left.position))
            return Apply("mul", (self.resolve(left.arguments[0]), product), left.position)
        return self.resolve(right)

    def _resolve_symbol(self, symbol: Symbol) -> Expression:
        name, time = symbol.name, None if symbol.time is None else symbol.time - self.shift
        place = symbol.position
        if name == self.input or name in self.masks:
            return Symbol(name, 0, position=place)
        if name in self.defined:
            return Symbol(name, -1 if time == -1 else 0, position=place)
        if re.match(r".+[<>]$", name) and self.predicts:
            return Symbol(name, 0, position=place)
        if is_written_together(name) and time is not None:
            raise self.error(
                place,
                f"the matrix {name[0]} and the vector {name[1:]} are written as one name, {name}",
                rf"write \mathbf{{{name[0]}}} \mathbf{{{name[1:]}}}_t in LaTeX, {name[0]} {name[1:]} in plain text",
            )
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
        word = word_at(self.text, place)
        if self.implicit and re.match(rf"[A-Za-z]*{re.escape(name)}[A-Za-z]|[A-Za-z]+{re.escape(name)}", word):
            close = nearest(word, known_names(self))
            several = r"LaTeX reads letter by letter; names of several letters need \mathrm{...}; "
            return self.error(place, f"unknown name {name!r} in {word!r}{close}", several + hint)
        return self.error(place, f"unknown name {name!r}{nearest(name, known)}", hint)

    def _resolve_sequence(self, items: list[Expression], place: Position) -> Expression:
        """Terms side by side: products and calls bind to what follows; vectors that are left multiply elementwise."""
        operands: list[Expression] = []
        before: Expression | None = None
        if self.implicit:
            check_neighbours(self, items)
        while items:
            first = items[0]
            operand, items = self._take(items)
            if operands and self.implicit:
                self._check_order(operands[-1], operand, first)
            if before is not None and not self.implicit and not self.is_number(before):
                raise self.error(
                    place if isinstance(first, Number) else position_of(first),
                    "two vectors stand side by side with no operator between them",
                    "write * for the elementwise product",
                )
            before = first
            operands.append(operand)
        return reduce(lambda a, b: Apply("mul", (a, b), place), operands)

    def _check_order(self, before: Expression, operand: Expression, first: Expression) -> None:
        """W h z is (W h) z or W (h z), which differ; a text must say which one it means."""
        after_product = isinstance(before, Product) and not isinstance(operand, Product)
        row = isinstance(operand, Product) and not (isinstance(first, Symbol) and self.is_matrix(first))
        if (after_product or row) and not is_constant(before) and not self.is_number(first):
            matrix = before.matrix if isinstance(before, Product) else operand.matrix  # type: ignore[union-attr]
            raise self.error(
                position_of(first),
                f"two vectors side by side with the matrix {matrix} can be multiplied in two orders, which differ",
                rf"write ({matrix} h) \odot z or {matrix} (h \odot z)",
            )

    def is_number(self, node: Expression) -> bool:
        """Say whether an expression is a number or a name of one."""
        return is_constant(node) or (isinstance(node, Symbol) and node.name in self.constants)

    def _take(self, items: list[Expression]) -> tuple[Expression, list[Expression]]:
        """The first operand of a sequence, and what is left."""
        first, rest = items[0], items[1:]
        if isinstance(first, Symbol) and rest and self.calls(first):
            return self._call(first, rest)
        if isinstance(first, Symbol) and self.is_matrix(first):
            return self._product(first, rest)
        if len(rest) == 1 and isinstance(rest[0], Symbol) and self.is_matrix(rest[0]):
            # Row convention: x W is the column W^T x.
            self.rows.add(rest[0].name)
            return self._product(replace(rest[0], transposed=not rest[0].transposed), [first])
        if rest and self._is_row(first):
            raise self._inner_product(first)
        self._check_callable(first, rest)
        return self.resolve(first), rest

    def _is_row(self, node: Expression) -> bool:
        return isinstance(node, Symbol) and node.transposed and not self.is_matrix(node)

    def _inner_product(self, row: Expression) -> EquationError:
        name = row.name if isinstance(row, Symbol) else "w"
        return self.error(
            position_of(row),
            f"{name}^T before another vector is an inner product, a single number, which cells do not have",
            rf"write {name} * h for the elementwise product; a matrix in front of h gives a vector",
        )

    def _check_callable(self, first: Expression, rest: list[Expression]) -> None:
        calls = bool(rest) and isinstance(rest[0], Bracket) and rest[0].round
        if not (calls and isinstance(first, Symbol)) or first.name in (*self.defined, self.input, *self.masks):
            return
        if not is_vector_name(first.name):
            known = sorted({*CELL_FUNCTIONS, *OUTPUT_FUNCTIONS})
            raise self.error(
                first.position,
                f"unknown function {first.name!r}{nearest(first.name, known)}",
                f"functions: {', '.join(known)}; another name has to be told, functions={{{first.name!r}: 'tanh'}}",
            )

    def calls(self, first: Symbol) -> bool:
        """Say whether a name is a function here, which takes what follows."""
        return first.name not in self.defined and is_function(first.name, self.functions)

    def _call(self, first: Symbol, rest: list[Expression]) -> tuple[Expression, list[Expression]]:
        name = self.functions.get(first.name) or ALIASES.get(first.name) or UNBOUND.get(first.name) or first.name
        bracket = rest[0]
        if isinstance(bracket, Bracket):
            arguments, rest = tuple(self.resolve(item) for item in bracket.items), rest[1:]
        else:
            argument, rest = self._take(rest)
            arguments = (argument,)
            self._check_open_argument(first, rest)
        self._check_call(first, name, arguments)
        return Apply(name, arguments, first.position), rest

    def _check_open_argument(self, first: Symbol, rest: list[Expression]) -> None:
        """Without brackets, tanh 2 h is tanh(2) h or tanh(2 h); tanh a sigma(b) is a product by all habits."""
        if rest and not (isinstance(rest[0], Symbol) and self.calls(rest[0])):
            raise self.error(
                first.position,
                f"the argument of {first.name} has no brackets, and may end at two places",
                f"write {first.name}(a) * b or {first.name}(a * b)",
            )

    def _check_call(self, first: Symbol, name: str, arguments: tuple[Expression, ...]) -> None:
        wanted = FUNCTIONS[name].arguments if name in FUNCTIONS else 1
        if name in FUNCTIONS and name not in CELL_FUNCTIONS:
            raise self.error(
                first.position,
                f"the function {name!r} appears in derived equations only{nearest(name, CELL_FUNCTIONS)}",
                f"functions of a cell: {', '.join(CELL_FUNCTIONS)}",
            )
        if len(arguments) != wanted:
            raise self.error(
                first.position, f"{name} takes {wanted} argument{'s' * (wanted > 1)}; got {len(arguments)}"
            )

    def _product(self, matrix: Symbol, rest: list[Expression]) -> tuple[Expression, list[Expression]]:
        if not rest:
            return self.resolve(matrix), []
        if isinstance(rest[0], Bracket) and not rest[0].round:
            parts, rest = tuple(self.resolve(item) for item in rest[0].items), rest[1:]
        else:
            part, rest = self._take(rest)
            parts = (part,)
        return Product(matrix.name, parts, matrix.transposed, matrix.position), rest


def last_factor(node: Expression) -> Expression:
    """Return what stands last in a product of elements."""
    return node.arguments[1] if isinstance(node, Apply) and node.function in ("mul", "hadamard") else node
