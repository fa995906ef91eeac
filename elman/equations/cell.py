"""Cell: a recurrent unit as its equations, and everything that follows from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from elman.equations import cost, printing
from elman.equations.derivative import reverse
from elman.equations.expressions import Equation, Number, Product, Symbol, walk
from elman.equations.notation import declared_name
from elman.equations.output import OutputEquation, output_equation
from elman.equations.program import Block, Builder
from elman.equations.resolve import Resolved, resolve
from elman.equations.schedule import Schedule, make_schedule
from elman.equations.sizes import Sizes
from elman.equations.symbols import is_vector_name
from elman.errors import EquationError, ShapeError, nearest


class Cell:
    r"""A recurrent unit, given by its equations in plain or LaTeX notation.

    States, the input, parameters and sizes are inferred: a name read at `<t-1>` is a state; names beginning with W, U,
    V or R are matrices, with b biases, with w or p elementwise weights. Docs: concepts/equations.

    Args:
        text: The equations, one a line, in any order.
        name: How errors and reports call the cell; None for what a line "name: mine" says, or "cell".
        output: The name whose value is the output of a step; None takes the value that no other line reads, or the last
            state of the text if there are several.
        functions: Meaning of functions the text leaves open, {"g_1": "relu"}; g_1 is tanh and g_2 softmax otherwise.
        init: Initialiser by parameter name: "orthogonal", "identity", "glorot", "zeros", "ones", "uniform" or a number.
        source: Where the equations come from.
        masks: Names of further inputs of a step; rewrites such as zoneout use them.

    Raises:
        EquationError: the text does not describe a cell; the message shows line, caret and remedy.

    Example:
        >>> cell = Cell("h = tanh(W_h h<t-1> + W_x x + b)")
        >>> cell.states, cell.input
        (('h',), 'x')
        >>> cell.parameters(input_size=3, hidden_size=4)
        {'W_h': (4, 4), 'W_x': (4, 3), 'b': (4,)}
    """

    def __init__(
        self,
        text: str,
        *,
        name: str | None = None,
        output: str | None = None,
        functions: Mapping[str, str] | None = None,
        init: Mapping[str, str | float] | None = None,
        source: str = "",
        masks: tuple[str, ...] = (),
    ) -> None:
        if not isinstance(text, str):
            raise TypeError(f"Cell: text must be a string of equations; got {type(text).__name__}")
        self.text, self.source, self.masks = text, source, tuple(masks)
        self.name = name or declared_name(text) or "cell"
        self.functions = MappingProxyType(dict(functions or {}))
        self._resolved: Resolved = resolve(text, functions, self.masks)
        if not self._resolved.equations:
            raise EquationError(
                "equations: a cell must define a state; got an output equation only",
                "use elman.equations.OutputEquation.parse(text) for an output equation by itself",
            )
        self._sizes = Sizes(self._resolved.equations, self.input, self.states, self._resolved.size_lines)
        self.output = self._choose_output(output)
        self._check_all_read()
        self._check_vectors()
        self.init: Mapping[str, str | float] = MappingProxyType(dict(init or {}))
        for parameter in self.init:
            if parameter not in self._parameter_sizes:
                known = ", ".join(self._parameter_sizes)
                raise EquationError(
                    f"{self.name}: init names the parameter {parameter!r}, which the equations do not have"
                    f"{nearest(parameter, self._parameter_sizes)}",
                    f"parameters: {known}",
                )
        self.head: OutputEquation | None = output_equation(self._resolved) if self._resolved.output_equations else None

    # ---- what the equations say

    @property
    def input(self) -> str:
        """Name of the input, size I."""
        return self._resolved.input

    @property
    def states(self) -> tuple[str, ...]:
        """Names read at the step before, in order of the text."""
        return self._resolved.states

    @property
    def starts(self) -> Mapping[str, float]:
        """Initial values that the text states (a<0> = 0)."""
        return MappingProxyType(self._resolved.starts)

    @property
    def forward_equations(self) -> list[Equation]:
        """The lines of one step, in order of evaluation."""
        return list(self._resolved.equations)

    @cached_property
    def backward_equations(self) -> list[Equation]:
        """The derived back-propagation through one step; "d_v" is the derivative of the loss with respect to v.

        It is "dd_v" where the equations have names of their own that begin with d_.
        """
        from elman.equations.derived_text import backward_equations

        return backward_equations(self._builder.operations, self.schedule)

    @property
    def free_sizes(self) -> tuple[str, ...]:
        """Size symbols that the text declares besides I and H."""
        return self._sizes.declared

    def _choose_output(self, output: str | None) -> str:
        order = self._resolved.order
        if output is not None:
            if output not in order:
                raise EquationError(
                    f"{self.name}: output must be a name that a line defines; got {output!r}{nearest(output, order)}",
                    f"names: {', '.join(order)}",
                )
            return output
        read = {
            n.name
            for e in self._resolved.equations
            for n in walk(e.expression)
            if isinstance(n, Symbol) and n.time != -1
        }
        last = [name for name in order if name not in read]
        plain_values = [name for name in last if name not in self.states and self._depends_on_state(name)]
        if len(plain_values) == 1:
            return plain_values[0]
        states = [name for name in (last or order) if name in self.states]
        return states[-1] if states else self.states[-1]

    def _depends_on_state(self, name: str) -> bool:
        """A value like the h of SRU, computed from a state of this step, is the output though no step reads it back."""
        table = {e.name: e.expression for e in self._resolved.equations}
        symbols = [n for n in walk(table[name]) if isinstance(n, Symbol)]
        return any(n.name in self.states or (n.name in table and self._depends_on_state(n.name)) for n in symbols)

    def _check_all_read(self) -> None:
        head_reads = {
            n.name for e in self._resolved.output_equations for n in walk(e.expression) if isinstance(n, Symbol)
        }
        wanted = {self.output, *self.states, *head_reads}
        for equation in reversed(self._resolved.equations):
            if equation.name not in wanted:
                state = equation.name.removesuffix("_0")
                raise EquationError(
                    f"line {equation.line + 1}: {equation.name} is defined, but nothing reads it",
                    f"write {state}<0> for the state before the first step"
                    if state != equation.name and state in self.states
                    else f"remove the line, or make it the output: Cell(text, output={equation.name!r})",
                )
            wanted |= {n.name for n in walk(equation.expression) if isinstance(n, Symbol)}

    def _check_vectors(self) -> None:
        numbers: set[str] = set()
        for equation in self._resolved.equations:
            parts = list(walk(equation.expression))
            symbols = {n.name for n in parts if isinstance(n, Symbol)}
            if symbols <= numbers and not any(isinstance(n, Product) for n in parts):
                numbers.add(equation.name)
                if equation.name in (*self.states, self.output):
                    raise EquationError(
                        f"line {equation.line + 1}: {equation.name} must be a vector, for it is "
                        f"{'a state' if equation.name in self.states else 'the output'}; got a number",
                        "write the number where it is read",
                    )

    # ---- sizes and parameters

    def _size(self, symbol: str | None, input_size: int, hidden_size: int, sizes: Mapping[str, int]) -> int:
        table = {"I": input_size, "H": hidden_size, **sizes}
        if symbol not in table:
            raise ShapeError(
                f"{self.name}: the equations declare the size {symbol}; got sizes for {', '.join(sizes) or 'none'}",
                f"give it as sizes={{{symbol!r}: 64}}",
            )
        return table[symbol]

    def check_sizes(self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
        """Check sizes against what the equations need and return all of them by symbol.

        Raises:
            ShapeError: a size is missing, unknown, not positive, or the equations need input_size == hidden_size.
        """
        given = dict(sizes or {})
        for symbol in given:
            if symbol not in self.free_sizes:
                raise ShapeError(
                    f"{self.name}: sizes names {symbol!r}, which the equations do not declare"
                    f"{nearest(symbol, self.free_sizes)}",
                    f"declared: {', '.join(self.free_sizes) or 'none'}; input and state have arguments of their own",
                )
        table = {"I": input_size, "H": hidden_size, **given}
        for symbol in self.free_sizes:
            self._size(symbol, input_size, hidden_size, given)
        words = {"I": "input_size", "H": "hidden_size"}
        for symbol, value in table.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ShapeError(
                    f"{self.name}: {words.get(symbol, symbol)} must be a whole number of at least 1; got {value!r}"
                )
        symbol = self._sizes.of(self.input) or "I"
        needed = self._size(symbol, input_size, hidden_size, given)
        if input_size != needed:
            other = "a state" if symbol == "H" else f"a vector of size {symbol}"
            raise ShapeError(
                f"{self.name}: the equations combine {self.input} with {other} elementwise, so input_size must equal "
                f"{words.get(symbol, symbol)}; got {input_size} and {needed}",
                "multiply the input by a matrix first",
            )
        return table

    def state_sizes(self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
        """Length of every state."""
        return {s: self._size(self._sizes.of(s), input_size, hidden_size, sizes or {}) for s in self.states}

    def mask_sizes(self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
        """Length of every mask."""
        return {m: self._size(self._sizes.of(m), input_size, hidden_size, sizes or {}) for m in self.masks}

    def output_size(self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None) -> int:
        """Length of the output of a step."""
        return self._size(self._sizes.of(self.output), input_size, hidden_size, sizes or {})

    @cached_property
    def _parameter_sizes(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Rows and column blocks of every parameter, in order of the text."""
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for equation in sorted(self._resolved.equations, key=lambda e: self._resolved.order.index(e.name)):
            for node in walk(equation.expression):
                if isinstance(node, Product):
                    found.setdefault(node.matrix, self._sizes.matrix(node.matrix))
                elif isinstance(node, Symbol) and self.is_vector(node.name):
                    found.setdefault(node.name, (self._sizes.of(node.name) or "H", ()))
        return found

    def is_vector(self, name: str) -> bool:
        """Say whether a name is a vector parameter of this cell."""
        return is_vector_name(name) and name not in self._resolved.order and name not in (self.input, *self.masks)

    def parameters(
        self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, in order of the text.

        Args:
            input_size: I, at least 1.
            hidden_size: H, at least 1.
            sizes: Declared sizes, {"P": 64}.

        Returns:
            Name to (rows, columns) for matrices and (length,) for vectors.

        Raises:
            ShapeError: see check_sizes.
        """
        table = self.check_sizes(input_size, hidden_size, sizes)
        return {
            name: (table[rows], sum(table[c] for c in columns)) if columns else (table[rows],)
            for name, (rows, columns) in self._parameter_sizes.items()
        }

    def parameter_blocks(self, matrix: str) -> tuple[Block, ...]:
        """The column blocks of a matrix, in order: one for each vector it multiplies."""
        found = {op.block.index: op.block for op in self._builder.operations if op.block and op.block.matrix == matrix}
        return tuple(found[n] for n in sorted(found))

    @property
    def block_names(self) -> Mapping[str, tuple[str, ...]]:
        """Names that the text gives to column blocks ([W_aa W_ax] = W_a)."""
        return MappingProxyType(self._resolved.blocks)

    def size_symbol(self, name: str) -> str | None:
        """The size symbol of a value, "I", "H" or a declared one; None for a number."""
        return self._sizes.of(name)

    # ---- what an engine runs

    @cached_property
    def _builder(self) -> Builder:
        builder = Builder(self._sizes, self.input, self.states)
        for equation in self._resolved.equations:
            builder.add_equation(equation)
        return builder

    @cached_property
    def schedule(self) -> Schedule:
        """What every engine executes: hoisted operations, the step, and the derived way back."""
        builder = self._builder
        incoming = self.states if self.output in self.states else (*self.states, self.output)
        vectors = [name for name in self._parameter_sizes if self.is_vector(name)]
        derived = reverse(builder.operations, incoming, vectors)
        return make_schedule(tuple(builder.operations), builder.steady, derived, self.states, self.output, self.input)

    def flops(self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
        """Floating-point operations of one step of one sequence; see elman.equations.cost."""
        return cost.flops(self._builder.operations, self.schedule, self.check_sizes(input_size, hidden_size, sizes))

    def bytes(
        self, input_size: int, hidden_size: int, sizes: Mapping[str, int] | None = None, width: int = 4
    ) -> dict[str, int]:
        """Bytes of parameters, state and what a training step keeps for the way back; see elman.equations.cost."""
        shapes = self.parameters(input_size, hidden_size, sizes)
        return cost.bytes_of(
            shapes, self.schedule, self.check_sizes(input_size, hidden_size, sizes), self.states, self._sizes, width
        )

    # ---- as text

    def plain(self) -> str:
        """The equations in the plain notation, in order of the text; parses to the same cell."""
        order = {name: n for n, name in enumerate(self._resolved.order)}
        equations = [
            *sorted(self._resolved.equations, key=lambda e: order[e.name]),
            *self._resolved.output_equations,
        ]
        lines = [printing.plain_equation(e, self.states, self.input) for e in equations]
        lines += [f"{state}<0> = {printing.number_text(value)}" for state, value in self.starts.items()]
        return "\n".join([*self._declarations, printing.aligned(lines)])

    @property
    def _declarations(self) -> list[str]:
        return [f"size: {line.name} = {line.size}" for line in self._resolved.size_lines]

    def latex(self) -> str:
        """The equations as a LaTeX align block, after the sizes that the text declares; parses to the same cell."""
        timed = (*self._resolved.order, self.input, *(e.name for e in self._resolved.output_equations))
        order = {name: n for n, name in enumerate(self._resolved.order)}
        equations = [*sorted(self._resolved.equations, key=lambda e: order[e.name]), *self._resolved.output_equations]
        constants = {e.name for e in equations if isinstance(e.expression, Number)}
        starts = [Equation(f"{state}<0>", Number(value)) for state, value in self.starts.items()]
        block = printing_block([*starts, *equations], [name for name in timed if name not in constants])
        return "\n".join([*self._declarations, block])

    def backward_plain(self) -> str:
        """The derived back-propagation in the plain notation."""
        return printing.aligned([printing.plain_equation(e) for e in self.backward_equations])

    def backward_latex(self) -> str:
        """The derived back-propagation as a LaTeX align block."""
        timed = (*self._resolved.order, self.input)
        derivatives = map(self.schedule.derivative, timed)
        return printing_block(self.backward_equations, [*timed, *derivatives], self.schedule.derived.prefix)

    def __repr__(self) -> str:
        return f"Cell({self.name!r}: states {', '.join(self.states)}; input {self.input}; output {self.output})"

    def __str__(self) -> str:
        return self.plain()

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        return (self.plain(), self.output, self.masks, tuple(sorted(self.init.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (
            self.text,
            self.name,
            self.output,
            dict(self.functions),
            dict(self.init),
            self.source,
            self.masks,
        )


def _restore(
    text: str,
    name: str,
    output: str,
    functions: dict[str, str],
    init: dict[str, str | float],
    source: str,
    masks: tuple[str, ...],
) -> Cell:
    return Cell(text, name=name, output=output, functions=functions, init=init, source=source, masks=masks)


def printing_block(equations: list[Equation], timed: list[str], derivative: str = "") -> str:
    """Write equations as an align block of LaTeX. For `derivative` see `printing.latex_name`."""
    written = (printing.latex_equation(e, timed, derivative) for e in equations)
    lines = [re.sub(r" (\\mathrel\{\+\})?= ", _align, line, count=1) for line in written]
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"


def _align(sign: re.Match[str]) -> str:
    return f" &{sign[0].lstrip()}"
