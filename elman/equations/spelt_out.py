"""Functions that a text spells out with exponentials: they overflow as written, and not as the function they are."""

from __future__ import annotations

from elman.equations.expressions import Apply, Expression, Number


def named(node: Apply) -> Apply:
    """Return 1 / (1 + exp(-a)) as sigmoid(a), (exp(a) - exp(-a)) / (exp(a) + exp(-a)) as tanh(a), others as given."""
    if node.function != "div":
        return node
    match node.arguments:
        case (Number(value=1.0), Apply(function="add", arguments=(one, other))):
            for constant, power in ((one, other), (other, one)):
                if constant == Number(1.0) and isinstance(power, Apply) and power.function == "exp":
                    return Apply("sigmoid", (_negated(power.arguments[0]),), node.position)
        case (
            Apply(
                function="sub", arguments=(Apply(function="exp", arguments=(a,)), Apply(function="exp", arguments=(b,)))
            ),
            Apply(function="add", arguments=terms),
        ) if b == _negated(a) and terms in (_powers(a, b), _powers(b, a)):
            return Apply("tanh", (a,), node.position)
    return node


def _powers(a: Expression, b: Expression) -> tuple[Expression, Expression]:
    return Apply("exp", (a,)), Apply("exp", (b,))


def _negated(node: Expression) -> Expression:
    """The leading sign of a sum belongs to its first term alone: -(a - b) is b - a."""
    match node:
        case Apply(function="neg", arguments=(inner,)):
            return inner
        case Apply(function="sub", arguments=(Apply(function="neg", arguments=(a,)), b)):
            return Apply("add", (a, b), node.position)
        case Apply(function="add", arguments=(Apply(function="neg", arguments=(a,)), b)):
            return Apply("sub", (a, b), node.position)
        case Number(value=value):
            return Number(-value)
        case _:
            return Apply("neg", (node,))
