"""The schedule that every engine executes: what leaves the loop over time, what stays, and the way back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from elman.equations.derivative import Accumulation, Backward
from elman.equations.program import Operation


@dataclass(frozen=True)
class Round:
    """A turn of the step: products with matrices, then pointwise operations until a product needs one of them."""

    products: tuple[Operation, ...]
    pointwise: tuple[Operation, ...]


@dataclass(frozen=True)
class Schedule:
    """One step of a cell, sorted for speed.

    Args:
        hoisted: Operations that read only the input, masks and parameters: run once, over all steps of all sequences.
        step: Operations of one step, in order. Leaves: results of `hoisted`, states "c<t-1>", parameters,
            the input, masks.
        derived: The backward step with its accumulations and results.
        states: Names of the states; their values after the step have these names.
        output: Name of the value that is the output of the step.
        input: Name of the input.
    """

    hoisted: tuple[Operation, ...]
    step: tuple[Operation, ...]
    derived: Backward
    states: tuple[str, ...]
    output: str
    input: str

    @property
    def backward(self) -> tuple[Operation, ...]:
        """All operations of the backward step, in order. Leaves: forward values, `derivative(name)` for `incoming`."""
        return self.derived.operations

    @property
    def accumulations(self) -> tuple[Accumulation, ...]:
        """Parameter gradients: each step adds outer(d_value, operand), or d_value for a vector."""
        return self.derived.accumulations

    @property
    def results(self) -> dict[str, str]:
        """Where the derivative of each leaf ends up: {"c<t-1>": name, "x": name}."""
        return self.derived.results

    def derivative(self, name: str) -> str:
        """Return what the derivative with respect to a value is called: "d_<name>", if the equations have no d_…."""
        return self.derived.prefix + name

    @property
    def incoming(self) -> tuple[str, ...]:
        """Names whose derivative arrives from outside: the states, and the output if it is not one of them."""
        return self.states if self.output in self.states else (*self.states, self.output)

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        """The step as alternating products and pointwise programmes."""
        return in_rounds(self.step)

    @cached_property
    def backward_in_loop(self) -> tuple[Operation, ...]:
        """Backward operations that the step before waits for, or that accumulations read."""
        wanted = {self.results[f"{s}<t-1>"] for s in self.states if f"{s}<t-1>" in self.results}
        wanted |= {a.d_value for a in self.accumulations} | {a.operand for a in self.accumulations if a.operand}
        return needed(self.backward, wanted)

    @cached_property
    def backward_after_loop(self) -> tuple[Operation, ...]:
        """Backward operations that can wait until the loop is over: those towards the input."""
        inside = {op.target for op in self.backward_in_loop}
        return tuple(op for op in self.backward if op.target not in inside)

    @property
    def recurrent_products(self) -> int:
        """Number of products with a matrix inside the loop; 0 for elementwise recurrences."""
        return sum(op.is_product for op in self.step)


def needed(operations: Iterable[Operation], wanted: set[str]) -> tuple[Operation, ...]:
    """Keep the operations on which the wanted values depend."""
    kept = []
    for op in reversed(tuple(operations)):
        if op.target in wanted:
            kept.append(op)
            wanted = wanted | set(op.arguments)
    return tuple(reversed(kept))


def in_rounds(step: tuple[Operation, ...]) -> tuple[Round, ...]:
    """Group a step: in each round all products whose operand is known, then all that is pointwise and follows."""
    waiting = list(step)
    targets = {op.target for op in step}
    rounds = []
    while waiting:
        products = _take(waiting, targets, lambda op: op.is_product, once=True)
        pointwise = _take(waiting, targets, lambda op: not op.is_product, once=False)
        rounds.append(Round(tuple(products), tuple(pointwise)))
    return tuple(rounds)


def _take(waiting: list[Operation], missing: set[str], wanted: object, once: bool) -> list[Operation]:
    taken: list[Operation] = []
    while True:
        ready = [op for op in waiting if wanted(op) and not set(op.arguments) & missing]  # type: ignore[operator]
        if not ready:
            return taken
        for op in ready:
            waiting.remove(op)
        missing -= {op.target for op in ready}
        taken += ready
        if once:
            return taken


def make_schedule(
    forward: tuple[Operation, ...],
    steady: dict[str, bool],
    derived: Backward,
    states: tuple[str, ...],
    output: str,
    input_name: str,
) -> Schedule:
    """Split a programme into what leaves the loop and what stays: states, the output, and what reads them."""
    hoisted: list[Operation] = []
    step: list[Operation] = []
    inside = {*states, output}
    for op in forward:
        if steady[op.target] and op.target not in inside and inside.isdisjoint(op.arguments):
            hoisted.append(op)
        else:
            step.append(op)
            inside.add(op.target)
    ordered = tuple(op for turn in in_rounds(tuple(step)) for op in (*turn.products, *turn.pointwise))
    return Schedule(tuple(hoisted), ordered, derived, states, output, input_name)
