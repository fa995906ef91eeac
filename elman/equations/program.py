"""Equations to a programme: one operation a line, every value with a name, products split by what they multiply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from elman.equations.expressions import Apply, Equation, Expression, Number, Product, Symbol
from elman.equations.sizes import Sizes
from elman.errors import EquationError

FOLD: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
}


@dataclass(frozen=True)
class Block:
    """The columns of a matrix that multiply one part of a concatenation; W [a, b] has two.

    Args:
        matrix: Name of the matrix.
        index: Which part, from 0.
        size: Size symbol of the columns (of the operand).
        kind: What the part is: "state", "input" or "variable".
    """

    matrix: str
    index: int
    size: str
    kind: str = "variable"


@dataclass(frozen=True)
class Operation:
    """One line of a programme: target = function(arguments).

    Args:
        target: Name of the value; a line of the cell keeps its own name, intermediate values are "name.1", "name.2".
        function: "number", "product", "product_transposed", "add" "sub" "mul" "div" "neg", "copy", or a name of the
            function table.
        arguments: Names of values: earlier targets or leaves (the input, masks, states "c<t-1>", vector parameters).
        size: Size symbol of the value; None for a number.
        value: The number, for "number".
        block: The columns used, for products. "product" is block @ argument, "product_transposed" block.T @ argument.
    """

    target: str
    function: str
    arguments: tuple[str, ...] = ()
    size: str | None = None
    value: float | None = None
    block: Block | None = None

    @property
    def is_product(self) -> bool:
        """True for a product with a matrix."""
        return self.block is not None


class Builder:
    """Collects operations, reusing the value of an operation that was met before.

    Args:
        sizes: Sizes of the cell.
        steady: Names that do not depend on the step before: the input, masks and parameters. Sums put them first, so
            that they can be computed for all steps at once.
        states: Names of states.
        input_name: Name of the input.
    """

    def __init__(self, sizes: Sizes, input_name: str, states: Iterable[str]) -> None:
        self.sizes, self.input_name, self.states = sizes, input_name, frozenset(states)
        self.operations: list[Operation] = []
        self.steady: dict[str, bool] = {}
        self._known: dict[tuple[object, ...], str] = {}
        self._numbers: dict[str, float] = {}
        self._prefix, self._count = "", 0

    def add_equation(self, equation: Equation) -> None:
        """Append the operations of one line; its value gets the line's name."""
        self._prefix, self._count = equation.name, 0
        before = len(self.operations)
        result = self.lower(equation.expression)
        last = self.operations[-1] if len(self.operations) > before else None
        if last is not None and last.target == result and "." in result:
            self.operations[-1] = Operation(
                equation.name, last.function, last.arguments, last.size, last.value, last.block
            )
            self._rename(result, equation.name)
        else:
            self._append(equation.name, "copy", (result,), self.sizes.of(equation.name), None, None)

    def _rename(self, old: str, new: str) -> None:
        self.steady[new] = self.steady.pop(old)
        if old in self._numbers:
            self._numbers[new] = self._numbers[old]
        self._known = {key: (new if value == old else value) for key, value in self._known.items()}

    def lower(self, node: Expression) -> str:
        """Return the name of the value of an expression, appending what computes it."""
        match node:
            case Number(value=value):
                return self.emit("number", (), None, value)
            case Symbol():
                return node.key
            case Product():
                return self._lower_product(node)
            case Apply(function="add" | "sub"):
                return self._lower_sum(node)
            case Apply(function=function, arguments=arguments):
                return self._lower_apply(function, tuple(self.lower(a) for a in arguments), self.sizes.expression(node))
            case _:
                raise AssertionError(f"unresolved expression {node!r}")

    def _lower_apply(self, function: str, arguments: tuple[str, ...], size: str | None) -> str:
        numbers = [self._numbers.get(a) for a in arguments]
        if function == "div" and numbers[1] == 0:
            raise EquationError(
                f"{self._prefix}: what stands behind / must not be the number 0",
                "write another number, or leave it out",
            )
        if function in FOLD and all(n is not None for n in numbers):
            return self.emit("number", (), None, FOLD[function](*numbers))
        return self.emit(function, arguments, size)

    def _lower_product(self, node: Product) -> str:
        _, columns = self.sizes.matrix(node.matrix)
        terms = []
        for index, part in enumerate(node.parts):
            operand = self.lower(part)
            block = Block(node.matrix, index, columns[index], self.kind(part))
            function = "product_transposed" if node.transposed else "product"
            terms.append((1, self.emit(function, (operand,), self.sizes.expression(node), None, block)))
        return self._sum(terms, self.sizes.expression(node))

    def kind(self, part: Expression) -> str:
        """Say what a part of a product is: the input, a state of the step before, or a value of this step."""
        if isinstance(part, Symbol) and part.time == -1:
            return "state"
        return "input" if isinstance(part, Symbol) and part.name == self.input_name else "variable"

    def _lower_sum(self, node: Apply) -> str:
        terms: list[tuple[int, str]] = []
        self._collect(node, 1, terms)
        return self._sum(terms, self.sizes.expression(node))

    def _collect(self, node: Expression, sign: int, terms: list[tuple[int, str]]) -> None:
        if isinstance(node, Apply) and node.function in ("add", "sub"):
            self._collect(node.arguments[0], sign, terms)
            self._collect(node.arguments[1], sign if node.function == "add" else -sign, terms)
        elif isinstance(node, Product) and len(node.parts) > 1 and sign == 1:
            _, columns = self.sizes.matrix(node.matrix)
            for index, part in enumerate(node.parts):
                block = Block(node.matrix, index, columns[index], self.kind(part))
                terms.append((1, self.emit("product", (self.lower(part),), self.sizes.expression(node), None, block)))
        else:
            terms.append((sign, self.lower(node)))

    def _sum(self, terms: list[tuple[int, str]], size: str | None) -> str:
        # Steady terms first: their sum is then steady too, and leaves the loop over time.
        terms = sorted(terms, key=lambda term: (not self.is_steady(term[1]), -term[0]))
        sign, total = terms[0]
        if sign < 0:
            total = self._lower_apply("neg", (total,), size)
        for sign, name in terms[1:]:
            total = self._lower_apply("add" if sign > 0 else "sub", (total, name), size)
        return total

    def is_steady(self, name: str) -> bool:
        """Say whether a value can be computed before the loop over time."""
        return self.steady.get(name, not name.endswith("<t-1>"))

    def emit(
        self,
        function: str,
        arguments: tuple[str, ...],
        size: str | None,
        value: float | None = None,
        block: Block | None = None,
    ) -> str:
        """Append an operation, or return the name of an equal one that is there."""
        key = (function, arguments, value, block and (block.matrix, block.index))
        if key not in self._known:
            self._count += 1
            target = f"{self._prefix}.{self._count}"
            self._append(target, function, arguments, size, value, block)
            self._known[key] = target
        return self._known[key]

    def _append(
        self,
        target: str,
        function: str,
        arguments: tuple[str, ...],
        size: str | None,
        value: float | None,
        block: Block | None,
    ) -> None:
        self.operations.append(Operation(target, function, arguments, size, value, block))
        self.steady[target] = all(self.is_steady(a) for a in arguments)
        number = value if function == "number" else self._numbers.get(arguments[0]) if function == "copy" else None
        if number is not None:
            self._numbers[target] = number


def lower(equations: Iterable[Equation], sizes: Sizes, input_name: str, states: Iterable[str]) -> tuple[Operation, ...]:
    """Turn the lines of a cell, sorted by dependency, into a programme."""
    builder = Builder(sizes, input_name, states)
    for equation in equations:
        builder.add_equation(equation)
    return tuple(builder.operations)
