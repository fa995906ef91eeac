"""Raw equations to equations: which letter is time, which name is the input, a state, a parameter or a typing error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from elman.equations.carets import caret_error
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
    renamed,
    walk,
    with_children,
)
from elman.equations.functions import ALIASES, FUNCTIONS, OUTPUT_FUNCTIONS
from elman.equations.meaning import Meaning, is_constant, is_function, last_factor
from elman.equations.notation import RawEquation, SizeLine, is_latex, parse
from elman.equations.symbols import USUAL_INPUTS, is_learned_name, is_matrix_name, is_written_together
from elman.equations.times import Times
from elman.errors import EquationError, nearest

_OUTPUT_NAME = re.compile(r"y(_hat)?(_\w+)?\^?$")
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
        self.times = Times(text, raw)
        self.starts: dict[str, float] = {}
        self.blocks: dict[str, tuple[str, ...]] = {}
        self.shift = 0
        for name, meaning in functions.items():
            if meaning not in FUNCTIONS and meaning not in OUTPUT_FUNCTIONS:
                raise EquationError(
                    f"functions: {name!r} must be bound to a known function; got {meaning!r}"
                    f"{nearest(meaning, FUNCTIONS)}"
                )

    def error(self, place: Position, message: str, hint: str | None = None) -> EquationError:
        return caret_error(self.text, place, message, hint)

    def run(self) -> Resolved:
        named = [(self.times.named(e.left, e.names), self.times.named(e.right, e.names), e.line) for e in self.raw]
        lines = [line for line in named if not self._is_declaration(*line)]
        self._find_shift(lines)
        self.defined = self._definitions(lines)
        self.constants = {left.name for left, right, _ in lines if isinstance(left, Symbol) and is_constant(right)}
        self.input = self._find_input(lines)
        self._check_times(lines)
        lines = self._with_peepholes(lines)
        meaning = Meaning(
            text=self.text,
            defined=self.defined,
            constants=frozenset(self.constants),
            input=self.input,
            masks=self.masks,
            functions=self.functions,
            shift=self.shift,
            implicit=is_latex(self.text),
            timed=self._timed(lines),
        )
        equations = [
            Equation(left.name, self._meaning_in(left.name, meaning).resolve(right), line)
            for left, right, line in lines
            if isinstance(left, Symbol)
        ]
        equations = self._upright(equations, meaning.rows)
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

    def _with_peepholes(
        self, lines: list[tuple[Expression, Expression, int]]
    ) -> list[tuple[Expression, Expression, int]]:
        r"""Call W_{ci} w_ci where it only stands before signs of the elementwise product: W_{ci} \circ c_{t-1}."""
        nodes = [node for _, right, _ in lines for node in walk(right)]
        names = Counter(node.name for node in nodes if isinstance(node, Symbol))
        factors = [last_factor(n.arguments[0]) for n in nodes if isinstance(n, Apply) and n.function == "hadamard"]
        at_signs = Counter(a.name for a in factors if isinstance(a, Symbol) and a.time is None and not a.transposed)
        new = {
            name: f"w_{name[2:]}"
            for name, count in at_signs.items()
            if name.startswith("W_") and name not in self.defined and count == names[name]
        }
        taken = {*names, *self.defined}
        new = {name: weight for name, weight in new.items() if weight not in taken}
        return [(left, renamed(right, new), line) for left, right, line in lines]

    def _meaning_in(self, name: str, meaning: Meaning) -> Meaning:
        """An open g stands for tanh inside a cell, and for softmax where a line defines a prediction, y^."""
        functions = {"g": "softmax", **self.functions} if "^" in name else meaning.functions
        return replace(meaning, functions=functions, predicts=_OUTPUT_NAME.match(name) is not None or "^" in name)

    def _upright(self, equations: list[Equation], rows: set[str]) -> list[Equation]:
        """Keep a matrix the other way round that only stands behind vectors, x W, or only transposed, W^T [a, b]."""
        products = [node for e in equations for node in walk(e.expression) if isinstance(node, Product)]
        straight = {node.matrix for node in products if not node.transposed}
        lists = {node.matrix for node in products if len(node.parts) > 1}
        turned = {node.matrix for node in products} & (rows | lists) - straight
        for node in products:
            if node.transposed and len(node.parts) > 1 and node.matrix in straight:
                raise self.error(
                    node.position,
                    f"{node.matrix} multiplies a list transposed, and something else as it is",
                    f"write a matrix of its own for the list, or the sum that {node.matrix}^T [a, b] means",
                )
        return [replace(e, expression=_turned(e.expression, turned)) for e in equations]

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
                    _remedy_of_left_side(left),
                )
            name = left.name
            reserved = (
                name in _RESERVED
                or name in FUNCTIONS
                or name in ALIASES
                or (left.time is None and is_learned_name(name))
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

    def _timed(self, lines: list[tuple[Expression, Expression, int]]) -> frozenset[str]:
        """Names that their line, or the input everywhere, marks with a time."""
        defined = {left.name for left, _, _ in lines if isinstance(left, Symbol) and left.time is not None}
        read = (node for _, right, _ in lines for node in walk(right) if isinstance(node, Symbol))
        is_input = any(node.name == self.input and node.time is not None for node in read)
        return frozenset(defined | ({self.input} if self.input and is_input else set()))

    def _find_input(self, lines: list[tuple[Expression, Expression, int]]) -> str | None:
        """The one undefined name that is marked with a time, or is called x or u."""
        times: dict[str, set[int | None]] = {}
        for left, right, _ in lines:
            # a> and a< are the two directions of a in the line of a prediction, and an input like others elsewhere.
            predicts = isinstance(left, Symbol) and _OUTPUT_NAME.match(left.name)
            for node in walk(right):
                if (
                    isinstance(node, Symbol)
                    and not (predicts and node.name[-1] in "<>")
                    and node.name not in self.defined
                    and node.name not in self.masks
                    and not is_written_together(node.name)
                    and not is_function(node.name, self.functions)
                ):
                    times.setdefault(node.name, set()).add(None if node.time is None else node.time - self.shift)
        candidates = []
        for name, at in times.items():
            marked = at != {None} and len(at - {None}) == 1 and (at <= {0, None} or self.shift == 1)
            # A name at two steps is refused later, as an input; as an unknown name nobody would see why.
            if marked or {0, -1} <= at or name in USUAL_INPUTS:
                candidates.append(name)
        for preferred in USUAL_INPUTS:
            if preferred in candidates:
                return preferred
        return candidates[0] if len(candidates) == 1 else None

    def _check_times(self, lines: list[tuple[Expression, Expression, int]]) -> None:
        """A step sees values of this step and of the step before, and the input at one step, whichever."""
        seen: int | None = None
        for _, right, _ in lines:
            for node in walk(right):
                if not isinstance(node, Symbol) or not (node.name in self.defined or node.name == self.input):
                    continue
                at = 0 if node.time is None else node.time - self.shift
                if at not in (0, -1):
                    raise self.error(
                        node.position,
                        f"a step may read this step and the step before; {node.name} is read {_steps_away(at)}",
                        "a value of a later step cannot be read; an older one needs a state of its own, d = h<t-1>",
                    )
                if node.name == self.input and node.name not in self.defined:
                    seen = at if seen is None else seen
                    if at != seen:
                        raise self.error(
                            node.position,
                            f"the input {node.name} must be read at one step; it is read at two",
                            f"keep the older one in a state of its own: d = {node.name}, then read d<t-1>",
                        )

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


def _turned(node: Expression, matrices: set[str]) -> Expression:
    inner = with_children(node, tuple(_turned(child, matrices) for child in children(node)))
    return replace(inner, transposed=False) if isinstance(inner, Product) and inner.matrix in matrices else inner


def _steps_away(offset: int) -> str:
    return f"{abs(offset)} step{'s' * (abs(offset) > 1)} {'later' if offset > 0 else 'before'}"


def _remedy_of_left_side(left: Expression) -> str:
    if isinstance(left, Bracket):
        return "write one equation for each entry: i = ..., f = ..."
    first = left.items[0] if isinstance(left, Sequence) else None
    if isinstance(first, Symbol) and is_function(first.name, {}):
        return f"leave this line out where it defines the known function {first.name}"
    if isinstance(left, Sequence) and isinstance(first, Symbol) and isinstance(left.items[-1], Bracket):
        return f"write a time as h<t> and h<t-1>, or h_t and h_{{t-1}}, not in brackets behind the name {first.name}"
    letters = [item.name for item in left.items if isinstance(item, Symbol)] if isinstance(left, Sequence) else []
    if len(letters) > 1:
        return rf"write name = expression; in LaTeX a name of several letters is \mathrm{{{''.join(letters)}}}"
    return "write name = expression"


def _is_softmax(node: Expression) -> bool:
    return isinstance(node, Apply) and node.function == "softmax"


def _reads_now(equation: Equation) -> set[str]:
    return {n.name for n in walk(equation.expression) if isinstance(n, Symbol) and n.time != -1}
