"""The derived backward programme as equations that a person can read: intermediate values used once are written in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from elman.equations.expressions import Apply, Equation, Expression, Number, Product, Symbol
from elman.equations.program import Operation
from elman.equations.schedule import Schedule


def backward_equations(forward: Iterable[Operation], schedule: Schedule) -> list[Equation]:
    """Write the backward step as equations.

    Values of the forward step keep their names; "z_r" is what stands inside the function of line r. Gradients of
    parameters accumulate over the steps: d_W += outer(d_z, [c<t-1>, x]).
    """
    return _Writer(tuple(forward), schedule).run()


class _Writer:
    def __init__(self, forward: tuple[Operation, ...], schedule: Schedule) -> None:
        self.schedule = schedule
        self.forward = {op.target: op for op in forward}
        self.backward = {op.target: op for op in schedule.backward}
        self.names = self._names()
        self.uses = Counter(a for op in schedule.backward for a in op.arguments)
        self.uses.update(a.d_value for a in schedule.accumulations)
        self.uses.update(schedule.results.values())

    def _names(self) -> dict[str, str]:
        """Readable names: the last intermediate value of line r, which its function is applied to, is z_r."""
        names: dict[str, str] = {}
        for op in self.forward.values():
            if "." not in op.target and len(op.arguments) == 1 and "." in op.arguments[0]:
                names.setdefault(op.arguments[0], f"z_{op.target}")
        for target in self.backward:
            of = target.removeprefix("d_")
            names[target] = f"d_{names[of]}" if of in names else target
        taken = set(names.values())
        results = {value: f"d_{leaf}" for leaf, value in self.schedule.results.items()}
        return {**names, **{v: n for v, n in results.items() if n not in taken or names.get(v) == n}}

    def run(self) -> list[Equation]:
        lines = []
        results = set(self.schedule.results.values())
        for target, op in self.backward.items():
            shown = target in results or (self.uses[target] > 1 and op.function != "number") or self._is_target(target)
            if shown:
                lines.append(Equation(self._name(target), self._expand(op)))
        return [*lines, *self._accumulations()]

    def _is_target(self, target: str) -> bool:
        return any(target in (a.d_value, a.operand) for a in self.schedule.accumulations)

    def _name(self, value: str) -> str:
        return self.names.get(value, value).replace("d.", "d_v")

    def _value(self, name: str) -> Expression:
        """The expression that stands for a value: its name when it is written as a line, else what computes it."""
        op = self.backward.get(name)
        if op is not None:
            if op.function == "number":
                return Number(op.value or 0.0)
            once = self.uses[name] <= 1 and name not in self.schedule.results.values() and not self._is_target(name)
            return self._expand(op) if once else Symbol(self._name(name))
        if name in self.forward and "." in name:
            return self._expand(self.forward[name])
        if name.endswith("<t-1>"):
            return Symbol(name.removesuffix("<t-1>"), -1)
        return Symbol(name)

    def _expand(self, op: Operation) -> Expression:
        if op.function == "number":
            return Number(op.value or 0.0)
        if op.block is not None:
            many = sum(1 for other in {o.block.index for o in self.forward.values() if o.block and o.block.matrix == op.block.matrix}) > 1
            matrix = f"{op.block.matrix}[{op.block.index}]" if many else op.block.matrix
            return Product(matrix, (self._value(op.arguments[0]),), op.function == "product_transposed")
        return Apply(op.function, tuple(self._value(a) for a in op.arguments))

    def _accumulations(self) -> list[Equation]:
        lines = []
        for a in self.schedule.accumulations:
            value = self._value(a.d_value)
            if a.operand is not None:
                value = Apply("outer", (value, self._value(a.operand)))
            many = a.block is not None and len({b.block.index for b in self.schedule.accumulations if b.block and b.parameter == a.parameter}) > 1
            name = f"d_{a.parameter}[{a.block.index}]" if many and a.block else f"d_{a.parameter}"
            lines.append(Equation(name, value, accumulates=True))
        return lines
