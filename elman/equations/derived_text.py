"""The derived backward programme as equations that a person can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import reduce
from itertools import count

from elman.equations.derivative import Accumulation
from elman.equations.expressions import Apply, Bracket, Equation, Expression, Number, Product, Symbol
from elman.equations.program import Operation
from elman.equations.schedule import Schedule


def backward_equations(forward: Iterable[Operation], schedule: Schedule) -> list[Equation]:
    """Write the backward step as equations.

    Values of the forward step keep their names; "z_r" is what stands inside the function of line r, "v1" and so on are
    other intermediate values, whose definitions come first. W[0] is the first column block of W. Gradients of
    parameters accumulate over the steps: d_W += outer(d_z, [c<t-1>, x]).
    """
    return _Writer(tuple(forward), schedule).run()


class _Writer:
    def __init__(self, forward: tuple[Operation, ...], schedule: Schedule) -> None:
        self.schedule, self.prefix = schedule, schedule.derived.prefix
        self.forward = {op.target: op for op in forward}
        self.backward = {op.target: op for op in schedule.backward}
        self.results = {value: f"{self.prefix}{leaf}" for leaf, value in schedule.results.items()}
        self.uses = Counter(a for op in schedule.backward for a in op.arguments)
        self.uses.update(a.d_value for a in schedule.accumulations)
        self.uses.update(schedule.results.values())
        self.parameters = {a.parameter for a in schedule.accumulations}
        self.auxiliary: dict[str, str] = {}
        self.taken = {*self.forward, *(a for op in self.forward.values() for a in op.arguments)}
        self.names = self._names()

    def _names(self) -> dict[str, str]:
        """Readable names: what the function of line r is applied to is z_r; other intermediate values are v1, v2 ..."""
        inside = {
            op.arguments[0]: f"z_{op.target}"
            for op in self.forward.values()
            if len(op.arguments) == 1 and "." not in op.target and f"z_{op.target}" not in self.taken
        }
        values = {t.removeprefix(self.prefix) for t in self.backward if t not in self.results and self._is_line(t)}
        for value in self.forward:
            if "." in value and value in values and value not in inside:
                self.auxiliary[value] = self._unused("v", self.auxiliary.values())
        names: dict[str, str] = {}
        for target in self.backward:
            of = target.removeprefix(self.prefix)
            arrived, again, _ = of.partition("#")
            if target in self.results:
                names[target] = self.results[target]
            elif of in inside and "." in of:
                names[target] = f"{self.prefix}{inside[of]}"
            elif again and arrived in self.schedule.incoming:
                names[target] = f"{self.prefix}{arrived}"
            elif of in self.auxiliary:
                names[target] = f"{self.prefix}{self.auxiliary[of]}"
            elif ("." in target or of in self.parameters) and self._is_line(target):
                names[target] = self._unused("e", names.values())
        return names

    def _unused(self, letter: str, names: Iterable[str]) -> str:
        taken = self.taken | set(names)
        return next(name for n in count(1) if (name := f"{letter}{n}") not in taken)

    def run(self) -> list[Equation]:
        shown = [(target, op) for target, op in self.backward.items() if self._is_line(target)]
        lines = [self._line(target, op) for target, op in shown]
        helpers = [Equation(name, self._expand(self.forward[value])) for value, name in self.auxiliary.items()]
        return [*helpers, *lines, *self._handed_on(), *self._accumulations()]

    def _handed_on(self) -> list[Equation]:
        """Derivatives that go on as they are, as those of d = h<t-1> do: no operation makes them."""
        named = {leaf: f"{self.prefix}{leaf}" for leaf in self.schedule.results}
        return [
            Equation(named[leaf], self._value(value))
            for leaf, value in self.schedule.results.items()
            if self.names.get(value, value) != named[leaf]
        ]

    def _is_line(self, target: str) -> bool:
        op = self.backward[target]
        # What only a vector parameter's gradient adds up is written there, in place.
        read = any(a.operand is not None and target in (a.d_value, a.operand) for a in self.schedule.accumulations)
        return target in self.results or read or (self.uses[target] > 1 and op.function != "number")

    def _line(self, target: str, op: Operation) -> Equation:
        """What arrives from the step after has the name d_c already; the step adds to it."""
        name, expression = self.names.get(target, target), self._expand(op)
        terms = _terms(expression)
        if Symbol(name) in terms:
            rest = [term for term in terms if term != Symbol(name)]
            return Equation(name, reduce(lambda a, b: Apply("add", (a, b)), rest), accumulates=True)
        return Equation(name, expression)

    def _value(self, name: str) -> Expression:
        """The expression that stands for a value: its name when it is written as a line, else what computes it."""
        op = self.backward.get(name)
        if op is not None and op.function == "number":
            return Number(op.value or 0.0)
        if op is not None:
            return Symbol(self.names.get(name, name)) if self._is_line(name) else self._expand(op)
        if name in self.auxiliary:
            return Symbol(self.auxiliary[name])
        if name in self.forward and "." in name:
            return self._expand(self.forward[name])
        return Symbol(name.removesuffix("<t-1>"), -1) if name.endswith("<t-1>") else Symbol(name)

    def _expand(self, op: Operation) -> Expression:
        if op.function == "number":
            return Number(op.value or 0.0)
        if op.block is not None:
            matrix = f"{op.block.matrix}[{op.block.index}]" if self._blocks(op.block.matrix) > 1 else op.block.matrix
            return Product(matrix, (self._value(op.arguments[0]),), op.function == "product_transposed")
        if op.function == "copy":
            return self._value(op.arguments[0])
        return Apply(op.function, tuple(self._value(a) for a in op.arguments))

    def _blocks(self, matrix: str) -> int:
        return len({op.block.index for op in self.forward.values() if op.block and op.block.matrix == matrix})

    def _accumulations(self) -> list[Equation]:
        """Parameter gradients; the blocks of a matrix that share their left factor are written as one product."""
        grouped: dict[tuple[str, str], list[Accumulation]] = {}
        for a in self.schedule.accumulations:
            grouped.setdefault((a.parameter, a.d_value), []).append(a)
        lines = []
        for (parameter, d_value), group in grouped.items():
            group = sorted(group, key=lambda a: a.block.index if a.block else 0)
            whole = len(group) == self._blocks(parameter)
            for part in [group] if whole or group[0].block is None else [[a] for a in group]:
                lines.append(self._accumulation(parameter, d_value, part))
        return lines

    def _accumulation(self, parameter: str, d_value: str, group: list[Accumulation]) -> Equation:
        name, block = self.prefix + parameter, group[0].block
        operands = tuple(self._value(a.operand) for a in group if a.operand)
        if block is None or not operands:
            return Equation(name, self._value(d_value), accumulates=True)
        right = operands[0] if len(operands) == 1 else Bracket(operands)
        if len(group) < self._blocks(parameter):
            name += f"[{block.index}]"
        return Equation(name, Apply("outer", (self._value(d_value), right)), accumulates=True)


def _terms(node: Expression) -> list[Expression]:
    if isinstance(node, Apply) and node.function == "add":
        return [term for argument in node.arguments for term in _terms(argument)]
    return [node]
