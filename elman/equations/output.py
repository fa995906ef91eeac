"""Output equations: y^ = g(W_y a + b_y), of one direction or of two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elman.equations.expressions import Apply, Equation, Expression, Product, Symbol, walk
from elman.equations.functions import OUTPUT_FUNCTIONS
from elman.equations.printing import plain
from elman.equations.resolve import Resolved, resolve
from elman.equations.symbols import is_vector_name
from elman.errors import EquationError


@dataclass(frozen=True)
class OutputEquation:
    """What turns the values of a cell into a prediction.

    Args:
        name: The name that it defines, "y^".
        function: "softmax", "sigmoid" or "identity", or a function of the table.
        expression: What stands inside the function.
        reads: Names of the cell that it reads; "a>" and "a<" are the two directions of a.

    Example:
        >>> head = OutputEquation.parse(r"\\hat{y}^{<t>} = g(W_y[\\vec{a}^{<t>}, \\overleftarrow{a}^{<t>}] + b_y)")
        >>> head.bidirectional, head.function, head.parameters(5, {"a": 4})
        (True, 'softmax', {'W_y': (5, 8), 'b_y': (5,)})
    """

    name: str
    function: str
    expression: Expression
    reads: tuple[str, ...]

    @staticmethod
    def parse(text: str, functions: Mapping[str, str] | None = None) -> OutputEquation:
        """Read an output equation that stands by itself.

        Raises:
            EquationError: the text is not one output equation.
        """
        return output_equation(resolve(text, {"g": "softmax", **(functions or {})}))

    @staticmethod
    def alone(text: str, functions: Mapping[str, str] | None = None) -> OutputEquation | None:
        """Return the output equation that a text consists of; None when the text describes a cell.

        Raises:
            EquationError: the text cannot be read.
        """
        resolved = resolve(text, {"g": "softmax", **(functions or {})})
        return output_equation(resolved) if resolved.output_equations and not resolved.equations else None

    def __str__(self) -> str:
        inside = plain(self.expression)
        return f"{self.name} = {inside if self.function == 'identity' else f'{self.function}({inside})'}"

    @property
    def bidirectional(self) -> bool:
        """True when it reads both directions of a state."""
        return any(name.endswith("<") for name in self.reads)

    @property
    def matrices(self) -> tuple[Product, ...]:
        """The products of the equation, in order."""
        return tuple(node for node in walk(self.expression) if isinstance(node, Product))

    def parameters(self, output_size: int, value_sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters.

        Args:
            output_size: Number of outputs, K.
            value_sizes: Length of each name that is read, without marks of direction.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for node in walk(self.expression):
            if isinstance(node, Product):
                names = [part.name.rstrip("<>") for part in node.parts if isinstance(part, Symbol)]
                shapes[node.matrix] = (output_size, sum(value_sizes[name] for name in names))
            elif isinstance(node, Symbol) and is_vector_name(node.name):
                shapes[node.name] = (output_size,)
        return shapes


def output_equation(resolved: Resolved) -> OutputEquation:
    """Build the output equation of a text, of one line or of several that lead to one."""
    equations = resolved.output_equations
    if not equations:
        raise EquationError("output equation: a line y^ = g(W_y a + b_y) must be given; got none")
    last = equations[-1]
    expression = _inlined(last.expression, {e.name: e for e in equations[:-1]})
    function = "identity"
    if isinstance(expression, Apply) and expression.function in (*OUTPUT_FUNCTIONS, "tanh", "relu", "exp"):
        function, expression = expression.function, expression.arguments[0]
    for node in walk(expression):
        if isinstance(node, Product) and not all(isinstance(part, Symbol) for part in node.parts):
            raise EquationError(
                f"output equation: {node.matrix} must multiply values of the cell; got an expression",
                "compute it in a line of its own",
            )
    reads = [n.name for n in walk(expression) if isinstance(n, Symbol) and not is_vector_name(n.name)]
    return OutputEquation(last.name, function, expression, tuple(dict.fromkeys(reads)))


def _inlined(node: Expression, table: dict[str, Equation]) -> Expression:
    from elman.equations.expressions import children, with_children

    if isinstance(node, Symbol) and node.name in table:
        return _inlined(table[node.name].expression, table)
    inner = tuple(_inlined(child, table) for child in children(node))
    return with_children(node, inner) if inner else node
