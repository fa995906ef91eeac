"""Back-propagation through one step: the reverse sweep over a programme gives a programme of the same kind.

For every value v the sweep collects d_v, the derivative of the loss with respect to v (Werbos 1990, "Backpropagation
through time", Proceedings of the IEEE 78). A state c is read at two steps: d_c arrives from the step after (and from
the output), and d_c<t-1> is what the step hands on to the step before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from elman.equations.expressions import Apply, Expression, Number, Symbol
from elman.equations.functions import FUNCTIONS
from elman.equations.notation import parse
from elman.equations.program import Block, Operation


@dataclass(frozen=True)
class Accumulation:
    """A parameter gradient that grows with every step.

    Args:
        parameter: Name of the parameter.
        block: Columns of a matrix; None for a vector parameter.
        d_value: Name of the derivative that is added (vector), or of the left factor of the outer product (matrix).
        operand: Name of the right factor of the outer product; None for a vector.
    """

    parameter: str
    block: Block | None
    d_value: str
    operand: str | None


@dataclass(frozen=True)
class Backward:
    """The derived backward step.

    Args:
        operations: In order; leaves are values of the forward step and "d_<name>" for every name in `incoming`.
        accumulations: Parameter gradients.
        results: Leaf of the forward step to the name of its derivative, for states ("c<t-1>"), the input and masks.
        prefix: What stands before v in the name of the derivative with respect to v; see `prefix_for`.
    """

    operations: tuple[Operation, ...]
    accumulations: tuple[Accumulation, ...]
    results: dict[str, str]
    prefix: str = "d_"


@lru_cache(maxsize=64)
def derivative_of(function: str) -> Expression:
    """Return dy/dx of a function of the table as an expression in the symbols x and y."""
    text = FUNCTIONS[function].derivative
    raw, _ = parse(f"d = {text}")
    return _plain(raw[0].right)


def _plain(node: Expression) -> Expression:
    from elman.equations.expressions import Bracket, Sequence, children, with_children

    if isinstance(node, Sequence) and isinstance(node.items[0], Symbol) and isinstance(node.items[1], Bracket):
        return Apply(node.items[0].name, tuple(_plain(item) for item in node.items[1].items))
    if isinstance(node, Bracket):
        return _plain(node.items[0])
    return with_children(node, tuple(_plain(child) for child in children(node)))


def prefix_for(names: Iterable[str]) -> str:
    """Return "d_", or "dd_" and so on for equations with names that begin so: their d_h is no derivative of h."""
    taken, prefix = tuple(names), "d_"
    while any(name.startswith(prefix) for name in taken):
        prefix = "d" + prefix
    return prefix


class _Sweep:
    def __init__(self, forward: tuple[Operation, ...], incoming: tuple[str, ...], parameters: frozenset[str]) -> None:
        self.forward, self.incoming, self.parameters = forward, incoming, parameters
        self.prefix = prefix_for(name for op in forward for name in (op.target, *op.arguments))
        self.size = {op.target: op.size for op in forward}
        self.operations: list[Operation] = []
        self.accumulations: list[Accumulation] = []
        self.pending: dict[str, list[str]] = {name: [f"{self.prefix}{name}"] for name in incoming}
        self.numbers = {op.target: op.value for op in forward if op.function == "number"}
        self._known: dict[tuple[Any, ...], str] = {}
        self._taken: set[str] = set()

    def emit(
        self,
        function: str,
        arguments: tuple[str, ...],
        size: str | None,
        block: Block | None = None,
        value: float | None = None,
    ) -> str:
        simple = self._simplify(function, arguments)
        if simple is not None:
            return simple
        key = (function, arguments, block and (block.matrix, block.index), value)
        if key in self._known:
            return self._known[key]
        target = self._fresh("d.1")
        self.operations.append(Operation(target, function, arguments, size, value, block))
        self._known[key] = target
        if function == "number":
            self.numbers[target] = value
        return target

    def _simplify(self, function: str, arguments: tuple[str, ...]) -> str | None:
        if function in ("mul", "div") and self.numbers.get(arguments[1]) == 1:
            return arguments[0]
        return None

    def _fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken or name in self.size or name in {f"{self.prefix}{n}" for n in self.incoming}:
            count += 1
            name = f"d.{count}" if wanted == "d.1" else f"{wanted}#{count}"
        self._taken.add(name)
        return name

    def number(self, value: float) -> str:
        return self.emit("number", (), None, None, value)

    def total(self, name: str, size: str | None) -> str | None:
        """The sum of everything that flows into d_name; None when nothing does."""
        terms = self.pending.pop(name, [])
        if not terms:
            return None
        total = terms[0]
        for term in terms[1:]:
            total = self.emit("add", (total, term), size)
        return self._name(total, f"{self.prefix}{name}")

    def _name(self, old: str, wanted: str) -> str:
        """Give an intermediate derivative the name of what it turned out to be the derivative of."""
        if not old.startswith("d.") or old in self.numbers:
            return old
        new = self._fresh(wanted)
        self.operations = [renamed(op, {old: new}) for op in self.operations]
        self._known = {
            _renamed_key(key, old, new): new if value == old else value for key, value in self._known.items()
        }
        self.pending = {key: [new if v == old else v for v in values] for key, values in self.pending.items()}
        self.accumulations = [_renamed_accumulation(a, old, new) for a in self.accumulations]
        return new

    def give(self, name: str, term: str) -> None:
        if name not in self.numbers:
            self.pending.setdefault(name, []).append(term)

    def run(self) -> Backward:
        for op in reversed(self.forward):
            arrived = self.total(op.target, op.size)
            if arrived is not None and op.function != "number":
                self._through(op, arrived)
        results = {}
        for name in list(self.pending):
            total = self.total(name, None)
            if total is None:
                continue
            if name in self.parameters:
                self.accumulations.append(Accumulation(name, None, total, None))
            else:
                results[name] = total
        return Backward(tuple(self.operations), tuple(self.accumulations), results, self.prefix)

    def _through(self, op: Operation, d: str) -> None:
        """Hand d, the derivative at the target of `op`, to the arguments of `op`."""
        a = op.arguments
        match op.function:
            case "product" | "product_transposed":
                self._through_product(op, d)
            case "copy":
                self.give(a[0], d)
            case "add":
                self.give(a[0], d)
                self.give(a[1], d)
            case "sub":
                self.give(a[0], d)
                self._give(a[1], "neg", (d,), op.size)
            case "neg":
                self._give(a[0], "neg", (d,), op.size)
            case "mul":
                self._give(a[0], "mul", (d, a[1]), op.size)
                self._give(a[1], "mul", (d, a[0]), op.size)
            case "div":
                self._give(a[0], "div", (d, a[1]), op.size)
                if a[1] not in self.numbers:
                    share = self.emit("div", (self.emit("mul", (d, op.target), op.size), a[1]), op.size)
                    self._give(a[1], "neg", (share,), op.size)
            case "min" | "max":
                self._through_choice(op, d)
            case "layer_norm":
                self._give(a[0], "layer_norm_backward", (a[0], d), op.size)
            case _:
                slope = self._slope(derivative_of(op.function), {"x": a[0], "y": op.target}, op.size)
                self._give(a[0], "mul", (d, slope), op.size)

    def _give(self, name: str, function: str, arguments: tuple[str, ...], size: str | None) -> None:
        if name not in self.numbers:
            self.give(name, self.emit(function, arguments, size))

    def _through_product(self, op: Operation, d: str) -> None:
        if op.block is None:
            raise AssertionError("a product has a block")
        operand = op.arguments[0]
        left, right = (d, operand) if op.function == "product" else (operand, d)
        self.accumulations.append(Accumulation(op.block.matrix, op.block, left, right))
        back = "product_transposed" if op.function == "product" else "product"
        size = op.block.size if op.function == "product" else self.size.get(operand)
        self.give(operand, self.emit(back, (d,), size, op.block))

    def _through_choice(self, op: Operation, d: str) -> None:
        """The derivative goes to the argument that was taken; at a tie, to the second."""
        first, second = op.arguments
        taken = self.emit("greater", (first, second) if op.function == "max" else (second, first), op.size)
        self._give(first, "mul", (d, taken), op.size)
        if second not in self.numbers:
            other = self.emit("sub", (self.number(1.0), taken), op.size)
            self._give(second, "mul", (d, other), op.size)

    def _slope(self, node: Expression, names: dict[str, str], size: str | None) -> str:
        match node:
            case Number(value=value):
                return self.number(value)
            case Symbol(name=name):
                return names[name]
            case Apply(function=function, arguments=arguments):
                return self.emit(function, tuple(self._slope(a, names, size) for a in arguments), size)
            case _:
                raise AssertionError(f"unexpected {node!r} in a derivative")


def reverse(forward: Iterable[Operation], incoming: Iterable[str], parameters: Iterable[str]) -> Backward:
    """Derive the backward step of a programme.

    Args:
        forward: The programme of one step.
        incoming: Names whose derivative arrives from outside: the states after the step, and the output.
        parameters: Vector parameters; matrices are recognised by their products.

    Returns:
        The backward programme; each "d_<name>" in `incoming` is a leaf of it.
    """
    return _Sweep(tuple(forward), tuple(incoming), frozenset(parameters)).run()


def _renamed_key(key: tuple[Any, ...], old: str, new: str) -> tuple[Any, ...]:
    return (key[0], tuple(new if a == old else a for a in key[1]), *key[2:])


def _renamed_accumulation(a: Accumulation, old: str, new: str) -> Accumulation:
    operand = new if a.operand == old else a.operand
    return replace(a, d_value=new if a.d_value == old else a.d_value, operand=operand)


def renamed(op: Operation, names: dict[str, str]) -> Operation:
    """Return `op` with target and arguments renamed."""
    return replace(op, target=names.get(op.target, op.target), arguments=tuple(names.get(a, a) for a in op.arguments))
