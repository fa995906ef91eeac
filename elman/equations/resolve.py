"""Raw equations to equations: which letter is time, which name is the input, a state, a parameter or a typing error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from elman.equations.expressions import (
    Apply,
    Bracket,
    Equation,
    Expression,
    Number,
    Position,
    Product,
    Sequence,
    Symbol,
    children,
    position_of,
    walk,
    with_children,
)
from elman.equations.functions import ALIASES, CELL_FUNCTIONS, FUNCTIONS, OUTPUT_FUNCTIONS, UNBOUND
from elman.equations.notation import RawEquation, SizeLine, caret_error, parse
from elman.equations.symbols import Written, time_of
from elman.errors import EquationError, nearest

_MATRIX = re.compile(r"[WUVR](?:_?\w*)?$")
_VECTOR = re.compile(r"(?:b|w|p)(?:_\w+|\d*)$")
_OUTPUT_NAME = re.compile(r"y(\^|_hat)?(_\w+)?$")
_RESERVED = ("t", "size")


@dataclass(frozen=True)
class Resolved:
    """What a text says once every name has its role.

    Args:
        equations: Lines of one step, sorted so that each name is defined before it is read.
        order: Names in order of the text.
        output_equations: Lines that define the prediction (y^).
        input: Name of the input.
        states: Names read at the step before, in order of definition in the text.
        starts: Initial values stated by the text, state to number.
        blocks: Names given to the column blocks of matrices, {"W_a": ("W_aa", "W_ax")}.
        size_lines: Declared sizes.
    """

    equations: tuple[Equation, ...]
    order: tuple[str, ...]
    output_equations: tuple[Equation, ...]
    input: str
    states: tuple[str, ...]
    starts: dict[str, float] = field(default_factory=dict)
    blocks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    size_lines: tuple[SizeLine, ...] = ()


def is_matrix_name(name: str) -> bool:
    """Say whether a name is that of a matrix: it begins with W, U, V or R."""
    return _MATRIX.match(name) is not None


def is_vector_name(name: str) -> bool:
    """Say whether a name is that of a vector parameter: a bias b…, or an elementwise weight w… or p…."""
    return _VECTOR.match(name) is not None


def resolve(text: str, functions: Mapping[str, str] | None = None, masks: tuple[str, ...] = ()) -> Resolved:
    """Parse `text` and give every name its role.

    Args:
        text: Equations in plain or LaTeX notation.
        functions: Meaning of function names the text leaves open, {"g_1": "relu"}.
        masks: Names that are further inputs of a step.

    Raises:
        EquationError: with line, caret and remedy, for anything that does not describe a cell.
    """
    raw, sizes = parse(text)
    return _Resolver(text, raw, sizes, dict(functions or {}), masks).run()


class _Resolver:
    """The passes of `resolve`, which share the text (for carets) and the tables they fill."""

    def __init__(
        self,
        text: str,
        raw: list[RawEquation],
        sizes: list[SizeLine],
        functions: dict[str, str],
        masks: tuple[str, ...],
    ) -> None:
        self.masks = masks
        self.text, self.raw, self.sizes, self.functions = text, raw, sizes, functions
        self.index = self._find_index()
        self.starts: dict[str, float] = {}
        self.blocks: dict[str, tuple[str, ...]] = {}
        self.shift = 0
        for name, meaning in functions.items():
            if meaning not in FUNCTIONS and meaning not in OUTPUT_FUNCTIONS:
                raise EquationError(
                    f"functions: {name!r} must be bound to a known function; got {meaning!r}{nearest(meaning, FUNCTIONS)}"
                )

    def error(self, place: Position, message: str, hint: str | None = None) -> EquationError:
        return caret_error(self.text, place, message, hint)

    # ---- names and times

    def _find_index(self) -> str | None:
        """The letter of time: the one in angle brackets, else the one that appears with an offset, else t."""
        certain: Counter[str] = Counter()
        offsets: Counter[str] = Counter()
        plain: Counter[str] = Counter()
        for equation in self.raw:
            for place, written in equation.names.items():
                for script in written.scripts:
                    time = time_of(script)
                    if time is None:
                        continue
                    (certain if script.certain_time else offsets if time[1] else plain)[time[0]] += 1
                    if abs(time[1]) > 1:
                        raise self.error(
                            place,
                            f"a step may read the step before only; got an offset of {time[1]:+d}",
                            "keep the older value in a state of its own: d = h<t-1>, then read d<t-1>",
                        )
        for table in (certain, offsets):
            if len(table) > 1:
                found = ", ".join(sorted(table))
                raise EquationError(
                    f"equations: one letter must stand for time; got {found}", "write every time as t: h<t-1>"
                )
            if table:
                return next(iter(table))
        return "t" if "t" in plain else None

    def _read(self, written: Written, place: Position) -> tuple[str, int | None, bool, bool]:
        """A written name as (name, time, transposed, start)."""
        name, time, transposed, start = written.base, None, False, False
        for script in written.scripts:
            at = time_of(script)
            is_time = at is not None and at[0] == self.index and (script.certain_time or self._may_be_time(written, at))
            if is_time and at is not None:
                time = at[1]
            elif script.text == "T" and script.superscript:
                transposed = True
            elif script.certain_time and script.text == "0":
                start = True
            elif script.superscript and script.text.isdigit() and not is_matrix_name(name):
                raise self.error(
                    place,
                    f"powers are not an operator of cells; got {name}^{script.text}",
                    f"write {name} * {name} for a square",
                )
            elif script.text:
                name += f"_{script.text}"
        return name, time, transposed, start

    def _may_be_time(self, written: Written, at: tuple[str, int]) -> bool:
        # `b_n` beside `h_{n-1}` is the bias of a gate n, not a bias at time n: parameters do not change with time.
        return at[1] != 0 or not (re.match(r"[WUVRb]$", written.base))

    def _name_symbols(self, node: Expression, names: dict[Position, Written]) -> Expression:
        if isinstance(node, Symbol):
            written = names[node.position]
            if written.forced_zero or written.base == "0":
                return Number(0.0)
            name, time, transposed, start = self._read(written, node.position)
            return Symbol(name + ("<0>" if start else ""), time, transposed, node.position)
        inner = tuple(self._name_symbols(child, names) for child in children(node))
        return with_children(node, inner) if inner else node

    # ---- the passes

    def run(self) -> Resolved:
        named = [(self._name_symbols(e.left, e.names), self._name_symbols(e.right, e.names), e.line) for e in self.raw]
        lines = [line for line in named if not self._is_declaration(*line)]
        self._find_shift(lines)
        self.defined = self._definitions(lines)
        self.constants = {left.name for left, right, _ in lines if isinstance(left, Symbol) and _is_constant(right)}
        self.input = self._find_input(lines)
        equations = [
            Equation(left.name, self._resolve(right), line) for left, right, line in lines if isinstance(left, Symbol)
        ]
        inner, outer = self._split_output(equations)
        states = tuple(e.name for e in inner if self._is_state(e.name, equations))
        self._check_states(lines, inner, states)
        if inner and self.input is None:
            raise EquationError(
                "equations: a cell must read an input; none of the names is one",
                "call it x, or mark it with the time: u<t>",
            )
        ordered = self._sorted(inner)
        return Resolved(
            tuple(ordered),
            tuple(e.name for e in inner),
            tuple(outer),
            self.input or "x",
            states,
            self.starts,
            self.blocks,
            tuple(self.sizes),
        )

    def _is_declaration(self, left: Expression, right: Expression, line: int) -> bool:
        """Take `a<0> = 0` and `[W_aa W_ax] = W_a` aside; they define no value of a step."""
        if isinstance(left, Symbol) and left.name.endswith("<0>"):
            value = right.value if isinstance(right, Number) else None
            if value is None:
                raise self.error(
                    left.position,
                    f"the start of {left.name[:-3]} must be a number; got an expression",
                    "write a<0> = 0, and give other initial states to the layer",
                )
            self.starts[left.name[:-3]] = value
            return True
        for side, other in ((left, right), (right, left)):
            if (
                isinstance(side, Bracket)
                and not side.round
                and isinstance(other, Symbol)
                and is_matrix_name(other.name)
            ):
                items = (
                    side.items[0].items if len(side.items) == 1 and isinstance(side.items[0], Sequence) else side.items
                )
                self.blocks[other.name] = tuple(item.name for item in items if isinstance(item, Symbol))
                return True
        return False

    def _find_shift(self, lines: list[tuple[Expression, Expression, int]]) -> None:
        """Papers that define h_{t+1} from h_t mean the same cell one step later."""
        times = {left.time for left, _, _ in lines if isinstance(left, Symbol) and left.time is not None}
        if times == {1}:
            self.shift = 1
        elif -1 in times or 1 in times:
            bad = next(left for left, _, _ in lines if isinstance(left, Symbol) and left.time in (-1, 1))
            raise self.error(
                bad.position,
                f"every line must define its name at the same step; {bad.name} is defined at t{bad.time:+d}",
                "define h<t> from h<t-1>",
            )

    def _definitions(self, lines: list[tuple[Expression, Expression, int]]) -> dict[str, Position]:
        defined: dict[str, Position] = {}
        for left, _, line in lines:
            if not isinstance(left, Symbol):
                raise self.error(
                    Position(line, position_of(left).column),
                    "the left side of an equation must be one name",
                    "write name = expression",
                )
            name = left.name
            reserved = (
                name in _RESERVED
                or name in FUNCTIONS
                or name in ALIASES
                or (left.time is None and (is_matrix_name(name) or name in ("b",) or re.match(r"b_", name)))
            )
            if reserved:
                raise self.error(
                    left.position,
                    f"{name!r} is reserved and cannot be defined by a line",
                    "names beginning with W, U, V, R are matrices and with b biases; both are learned, not defined"
                    if name not in FUNCTIONS
                    else "it is a function",
                )
            if name in defined:
                raise self.error(
                    left.position,
                    f"{name!r} must be defined once; line {defined[name].line + 1} defines it already",
                    "give the second one another name",
                )
            defined[name] = left.position
        return defined

    def _time(self, symbol: Symbol) -> int | None:
        return None if symbol.time is None else symbol.time - self.shift

    def _find_input(self, lines: list[tuple[Expression, Expression, int]]) -> str | None:
        """The one undefined name that is marked with a time, or is called x or u."""
        times: dict[str, set[int | None]] = {}
        for _, right, _ in lines:
            for node in walk(right):
                if (
                    isinstance(node, Symbol)
                    and node.name not in self.defined
                    and node.name not in self.masks
                    and not self._is_function(node.name)
                ):
                    times.setdefault(node.name, set()).add(self._time(node))
        candidates = []
        for name, at in times.items():
            marked = at != {None} and len(at - {None}) == 1 and (at <= {0, None} or self.shift == 1)
            if marked and not (is_matrix_name(name) and at == {None}) or name in ("x", "u", "X", "X_t", "x_t"):
                if not re.match(r".*[<>]$", name):
                    candidates.append(name)
        for preferred in ("x", "u", "X"):
            if preferred in candidates:
                return preferred
        return candidates[0] if len(candidates) == 1 else None

    def _is_function(self, name: str) -> bool:
        return (
            name in FUNCTIONS
            or name in ALIASES
            or name in OUTPUT_FUNCTIONS
            or name in self.functions
            or name in UNBOUND
        )

    # ---- meaning of expressions

    def _resolve(self, node: Expression) -> Expression:
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
                return self._resolve(items[0])
            case Apply(function=function, arguments=arguments):
                return Apply(function, tuple(self._resolve(a) for a in arguments), node.position)
            case _:
                return node

    def _resolve_symbol(self, symbol: Symbol) -> Expression:
        name, time = symbol.name, self._time(symbol)
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
        if self._is_function(name):
            raise self.error(place, f"the function {name} must be followed by its argument in brackets")
        if time == -1:
            hint = f"add a line {name}<t> = …, or correct the name"
            raise self.error(
                place,
                f"{name}<t-1> is read, but no line defines {name}: the state is never updated{nearest(name, self.defined)}",
                hint,
            )
        raise self._unknown(name, place)

    def _unknown(self, name: str, place: Position) -> EquationError:
        known = [*self.defined, *([self.input] if self.input else [])]
        hint = f"known names: {', '.join(known)}; parameters begin with W, U, V, R (matrices), b (biases), w or p (elementwise weights)"
        return self.error(place, f"unknown name {name!r}{nearest(name, known)}", hint)

    def _resolve_sequence(self, items: list[Expression], place: Position) -> Expression:
        first, rest = items[0], items[1:]
        if isinstance(first, Symbol) and not rest:
            return self._resolve(first)
        if isinstance(first, Symbol) and self._calls(first, rest):
            return self._call(first, rest)
        if (
            isinstance(first, Symbol)
            and first.name not in self.defined
            and first.name != self.input
            and is_matrix_name(first.name)
        ):
            return self._product(first, rest)
        if _is_constant(first) or (isinstance(first, Symbol) and first.name in self.constants):
            return Apply("mul", (self._resolve(first), self._resolve_sequence(rest, place)), place)
        if (
            len(rest) == 1
            and isinstance(rest[0], Symbol)
            and is_matrix_name(rest[0].name)
            and rest[0].name not in self.defined
        ):
            # Row convention, x W: the same product with the matrix written on the right.
            return self._product(rest[0], [first])
        if not rest:
            return self._resolve(first)
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
        self._resolve(first)
        self._resolve_sequence(rest, place)
        raise self.error(
            position_of(rest[0]) if not isinstance(rest[0], Number) else place,
            "two vectors stand side by side with no operator between them",
            "write * for the elementwise product (\\odot in LaTeX)",
        )

    def _calls(self, first: Symbol, rest: list[Expression]) -> bool:
        return first.name not in self.defined and self._is_function(first.name) and bool(rest)

    def _call(self, first: Symbol, rest: list[Expression]) -> Expression:
        name = self.functions.get(first.name) or ALIASES.get(first.name) or UNBOUND.get(first.name) or first.name
        bracket = rest[0]
        if isinstance(bracket, Bracket):
            arguments = tuple(self._resolve(item) for item in bracket.items)
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
            return self._resolve(matrix)
        if len(rest) == 1 and isinstance(rest[0], Bracket) and not rest[0].round:
            parts = tuple(self._resolve(item) for item in rest[0].items)
        else:
            parts = (self._resolve_sequence(rest, position_of(rest[0])),)
        return Product(matrix.name, parts, matrix.transposed, matrix.position)

    # ---- structure

    def _is_state(self, name: str, equations: list[Equation]) -> bool:
        return any(
            isinstance(node, Symbol) and node.name == name and node.time == -1
            for e in equations
            for node in walk(e.expression)
        )

    def _split_output(self, equations: list[Equation]) -> tuple[list[Equation], list[Equation]]:
        """Set the lines of the prediction apart: names y or y^ that no other line reads, and softmaxes."""
        read = {n.name for e in equations for n in walk(e.expression) if isinstance(n, Symbol) and n.name != e.name}
        outer = [
            e
            for e in equations
            if e.name not in read
            and not self._is_state(e.name, equations)
            and (_OUTPUT_NAME.match(e.name) or _is_softmax(e.expression))
        ]
        if len(outer) == len(equations) and not any("^" in e.name or _is_softmax(e.expression) for e in outer):
            outer = []
        inner = [e for e in equations if e not in outer]
        for equation in inner:
            if any(
                isinstance(node, Apply) and node.function in OUTPUT_FUNCTIONS and node.function not in FUNCTIONS
                for node in walk(equation.expression)
            ):
                raise self.error(
                    self.defined[equation.name],
                    "softmax may end an output equation (y^ = softmax(...)), not a line of the cell",
                    "use sigmoid or tanh inside a cell",
                )
        return inner, outer

    def _check_states(
        self, lines: list[tuple[Expression, Expression, int]], inner: list[Equation], states: tuple[str, ...]
    ) -> None:
        for name in self.starts:
            if inner and name not in states:
                raise EquationError(
                    f"equations: {name}<0> is given, but {name} is not a state{nearest(name, states)}",
                    "a state is a name read at <t-1>",
                )
        if inner and not states:
            names = ", ".join(e.name for e in inner)
            raise EquationError(
                f"equations: a recurrent cell must read a value of the step before; none of {names} is read at <t-1>",
                "write h<t-1> (or h_{t-1}) for the value of h one step before",
            )

    def _sorted(self, inner: list[Equation]) -> list[Equation]:
        waiting, done, ordered = list(inner), set[str](), list[Equation]()
        names = {e.name for e in inner}
        while waiting:
            ready = next((e for e in waiting if _reads_now(e) & names <= done), None)
            if ready is None:
                raise self._cycle(waiting)
            waiting.remove(ready)
            ordered.append(ready)
            done.add(ready.name)
        return ordered

    def _cycle(self, waiting: list[Equation]) -> EquationError:
        by_name = {e.name: e for e in waiting}
        path = [waiting[0].name]
        while path[-1] not in path[:-1]:
            path.append(min(_reads_now(by_name[path[-1]]) & set(by_name)))
        loop = path[path.index(path[-1]) :]
        return self.error(
            self.defined[loop[0]],
            f"a cycle within one step: {' <- '.join(loop)}",
            f"one of them must read the step before, as {loop[0]}<t-1>",
        )


def _is_constant(node: Expression) -> bool:
    return all(not isinstance(part, Symbol) for part in walk(node))


def _is_softmax(node: Expression) -> bool:
    return isinstance(node, Apply) and node.function == "softmax"


def _reads_now(equation: Equation) -> set[str]:
    return {n.name for n in walk(equation.expression) if isinstance(n, Symbol) and n.time != -1}
