"""Sizes of everything in a cell, by unification: I for the input, H for the rest, unless the text says otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterable

from elman.equations.expressions import Apply, Equation, Expression, Number, Product, Symbol
from elman.equations.notation import SizeLine
from elman.errors import EquationError


class Sizes:
    """The size symbol of every name, matrix side and expression of a cell.

    Args:
        equations: The lines of the cell.
        input_name: The input, of size I.
        states: Names whose size is that of the state, H unless declared.
        declared: Lines "size: h = P".

    Raises:
        EquationError: a matrix is used with two shapes, or two sizes that must be equal are declared differently.
    """

    def __init__(
        self, equations: Iterable[Equation], input_name: str, states: Iterable[str], declared: Iterable[SizeLine] = ()
    ) -> None:
        lines = tuple(equations)
        self._numbers: set[str] = set()
        for equation in lines:  # sorted: what a line reads stands before it
            if _is_number(equation.expression, self._numbers):
                self._numbers.add(f"name:{equation.name}")
        self._parent: dict[str, str] = {}
        self._name: dict[str, str] = {}
        self._columns: dict[str, int] = {}
        for equation in lines:
            self._line = equation.line
            size = self._visit(equation.expression)
            if size is not None:
                self._join(f"name:{equation.name}", size)
        self._assign(input_name, tuple(states), tuple(declared))

    def of(self, name: str) -> str | None:
        """The size symbol of a vector by name; None for a number."""
        key = f"name:{name.removesuffix('<t-1>')}"
        return self._symbol(key) if key in self._parent and key not in self._numbers else None

    def matrix(self, name: str) -> tuple[str, tuple[str, ...]]:
        """The size symbols of a matrix: its rows, and each of its column blocks."""
        columns = tuple(self._symbol(f"columns:{name}:{n}") for n in range(self._columns[name]))
        return self._symbol(f"rows:{name}"), columns

    @property
    def declared(self) -> tuple[str, ...]:
        """Size symbols other than I, H and K, in order."""
        return tuple(dict.fromkeys(s for s in self._name.values() if s not in "IHK"))

    def expression(self, node: Expression) -> str | None:
        """The size symbol of an expression; None for a number."""
        match node:
            case Number():
                return None
            case Symbol(name=name):
                return self.of(name)
            case Product(matrix=name, transposed=transposed):
                rows, columns = self.matrix(name)
                return columns[0] if transposed else rows
            case Apply(arguments=arguments):
                found = [self.expression(a) for a in arguments]
                return next((s for s in found if s is not None), None)
            case _:
                return None

    # ---- unification

    def _find(self, key: str) -> str:
        self._parent.setdefault(key, key)
        while self._parent[key] != key:
            key = self._parent[key]
        return key

    def _join(self, a: str, b: str) -> str:
        self._parent[self._find(a)] = self._find(b)
        return b

    def _visit(self, node: Expression) -> str | None:
        match node:
            case Symbol(name=name):
                key = f"name:{name}"
                self._find(key)
                return None if key in self._numbers else key
            case Product():
                return self._visit_product(node)
            case Apply(function=function, arguments=arguments):
                keys = [key for key in map(self._visit, arguments) if key is not None]
                if function == "layer_norm" and not keys:
                    raise EquationError(
                        f"line {self._line + 1}: layer_norm must take a vector; got a number",
                        "a number has no components to normalise; leave layer_norm out",
                    )
                for key in keys[1:]:
                    self._join(keys[0], key)
                return keys[0] if keys else None
            case _:
                return None

    def _visit_product(self, node: Product) -> str:
        known = self._columns.setdefault(node.matrix, len(node.parts))
        if known != len(node.parts):
            raise EquationError(
                f"line {self._line + 1}: size mismatch: {node.matrix} multiplies {len(node.parts)} vector(s) here "
                f"and {known} elsewhere",
                "a matrix has one shape; give the second product a matrix of its own",
            )
        for n, part in enumerate(node.parts):
            key = self._visit(part)
            if key is None:
                raise EquationError(
                    f"line {self._line + 1}: size mismatch: {node.matrix} must multiply a vector; got a number",
                    "leave the matrix out, or write a bias in its place",
                )
            self._join(key, f"rows:{node.matrix}" if node.transposed else f"columns:{node.matrix}:{n}")
        self._find(f"rows:{node.matrix}")
        self._find(f"columns:{node.matrix}:0")
        return f"columns:{node.matrix}:0" if node.transposed else f"rows:{node.matrix}"

    # ---- symbols

    def _assign(self, input_name: str, states: tuple[str, ...], declared: tuple[SizeLine, ...]) -> None:
        for line in declared:
            root = (
                self._find(f"name:{line.name}")
                if f"name:{line.name}" in self._parent
                else self._find(f"rows:{line.name}")
            )
            if self._name.get(root, line.size) != line.size:
                raise EquationError(
                    f"line {line.line + 1}: size mismatch: {line.name} is declared {line.size}, but the equations "
                    f"make it as long as a name declared {self._name[root]}",
                    "declare one of the two, or put a matrix between them",
                )
            self._name[root] = line.size
        root = self._find(f"name:{input_name}")
        state_roots = {self._find(f"name:{s}") for s in states}
        self._name.setdefault(root, "H" if root in state_roots else "I")

    def _symbol(self, key: str) -> str:
        return self._name.get(self._find(key), "H")


def _is_number(node: Expression, numbers: Container[str]) -> bool:
    match node:
        case Number():
            return True
        case Symbol(name=name):
            return f"name:{name}" in numbers
        case Apply(arguments=arguments):
            return all(_is_number(a, numbers) for a in arguments)
        case _:
            return False
