"""Every row of the derivative table, and the reverse sweep, against finite differences."""

from __future__ import annotations

import math

import pytest

from elman.equations import Cell
from elman.equations.derivative import derivative_of
from elman.equations.expressions import Apply, Expression, Number, Product, Symbol, walk
from elman.equations.functions import CELL_FUNCTIONS, FUNCTIONS

VALUES = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "sin": math.sin,
    "cos": math.cos,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "hard_sigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "erf": math.erf,
    "step": lambda x: float(x > 0),
    "sign": lambda x: math.copysign(1.0, x),
    "greater": lambda a, b: float(a > b),
    "min": min,
    "max": max,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "outer": lambda a, b: a * b,
}
UNARY = [name for name in CELL_FUNCTIONS if FUNCTIONS[name].arguments == 1 and name != "layer_norm"]


def evaluate(node: Expression, names: dict[str, float]) -> float:
    """A literal evaluator of formulas, independent of the engines."""
    match node:
        case Number(value=value):
            return value
        case Symbol():
            return names[node.key]
        case Product(matrix=matrix, parts=(part,)):
            return names[matrix] * evaluate(part, names)
        case Apply(function=function, arguments=arguments):
            return VALUES[function](*(evaluate(a, names) for a in arguments))
    raise AssertionError(node)


@pytest.mark.parametrize("function", UNARY)
@pytest.mark.parametrize("x", [-3.7, -1.3, -0.4, 0.3, 0.9, 2.2, 3.6])
def test_the_row_of_a_function_is_its_slope(function: str, x: float) -> None:
    x = abs(x) if function in ("log", "sqrt") else x
    f, step = VALUES[function], 1e-6
    slope = (f(x + step) - f(x - step)) / (2 * step)
    assert evaluate(derivative_of(function), {"x": x, "y": f(x)}) == pytest.approx(slope, rel=1e-7, abs=1e-9)


def test_every_function_of_a_cell_has_a_row() -> None:
    assert set(CELL_FUNCTIONS) == {name for name, row in FUNCTIONS.items() if row.derivative}
    assert set(UNARY) <= set(VALUES)


def scalar_programme(operations: tuple, leaves: dict[str, float], weights: dict[str, float]) -> dict[str, float]:
    """Run a programme of a cell with sizes of 1, with plain numbers."""
    values = dict(leaves)
    for op in operations:
        if op.function == "number":
            values[op.target] = op.value
        elif op.block is not None:
            values[op.target] = weights[op.block.matrix] * values[op.arguments[0]]
        elif op.function == "copy":
            values[op.target] = values[op.arguments[0]]
        else:
            values[op.target] = VALUES[op.function](*(values[a] for a in op.arguments))
    return values


CELLS = [
    "h = tanh(W h<t-1> + U x + b)",
    "h = max(W h<t-1>, U x) / (1 + exp(b * x)) - min(h<t-1>, x * 0.5)",
    "h = u * c + (1 - u) * h<t-1>\nu = sigmoid(W h<t-1> + b)\nc = gelu(U x) * silu(V h<t-1>)",
    "c = 0.5 * c<t-1> + elu(U x)\na = o * tanh(c)\no = sigmoid(W a<t-1> + R c + b)",
    "h = W_h^T h<t-1> - W_h h<t-1> * 0.3 + softplus(U x)",
    "g = 0.3\nh = -g h<t-1> * w + abs(U x) * sqrt(1 + h<t-1> * h<t-1>) + log(2 + cos(x)) + sin(h<t-1>)",
    # Factors of one, and numbers on either side of every operation.
    "h = 1 * tanh(W h<t-1> + U x) * 1 - h<t-1> / 1 * w + 1 / (1 + x * x) + max(0.1, x) - min(h<t-1> * 1, 2) + (1 - b)",
]


PRINTED = [
    *CELLS,
    # What is made inside of lines, one from the other.
    "i = sigmoid(U x)\nf = sigmoid(V h<t-1>)\nh = f / (f + i) * h<t-1> + i / (f + i) * tanh(W x)",
    # Derivatives that go on as they are.
    "d = h<t-1>\ne = d<t-1>\nz = x\nh = tanh(W z + w * e<t-1>)",
    "a = c<t-1>\nc = a<t-1> + U x",
    # Names that the text would give to values of its own.
    "d_h = tanh(W x + R d_h<t-1>)\nd_x = sigmoid(U x)\nh = d_x * h<t-1> + d_h * (d_x + d_h<t-1>)",
    "v1 = sigmoid(W h<t-1> + U x)\nz_h = v1 * tanh(V x)\nh = tanh(z_h * (v1 + 1) + (v1 + 1) * (v1 + 2))",
]


@pytest.mark.parametrize("text", PRINTED)
def test_the_derived_lines_give_all_slopes_from_top_to_bottom(text: str) -> None:
    cell = Cell(text)
    leaves = {name: 0.3 + 0.17 * n for n, name in enumerate(cell.parameters(1, 1))}
    leaves |= {"x": 0.7, **{f"{s}<t-1>": 0.4 + 0.3 * n for n, s in enumerate(cell.states)}}
    derivative = cell.schedule.derivative
    incoming = {s: 1.3 - 0.4 * n for n, s in enumerate(cell.schedule.incoming)}

    def forward(changes: dict[str, float]) -> dict[str, float]:
        values = {**leaves, **changes}
        for equation in cell.forward_equations:
            values[equation.name] = evaluate(equation.expression, values)
        return values

    values = {**forward({}), **{derivative(s): d for s, d in incoming.items()}}
    for equation in cell.backward_equations:
        before = values.get(equation.name, 0.0) if equation.accumulates else 0.0
        values[equation.name] = before + evaluate(equation.expression, values)
    for name, start in leaves.items():
        slope = [sum(d * forward({name: start + step})[s] for s, d in incoming.items()) for step in (1e-6, -1e-6)]
        assert values[derivative(name)] == pytest.approx((slope[0] - slope[1]) / 2e-6, rel=1e-6, abs=1e-8), name


@pytest.mark.parametrize("text", CELLS)
def test_the_reverse_sweep_gives_all_slopes(text: str) -> None:
    cell = Cell(text)
    schedule = cell.schedule
    forward = (*schedule.hoisted, *schedule.step)
    weights = {name: 0.3 + 0.17 * n for n, name in enumerate(cell.parameters(1, 1))}
    leaves = {"x": 0.7, **{f"{s}<t-1>": 0.4 - 0.9 * n for n, s in enumerate(cell.states)}, **weights}
    incoming = {s: 1.3 - 0.4 * n for n, s in enumerate(schedule.incoming)}

    def loss(changes: dict[str, float]) -> float:
        values = scalar_programme(forward, {**leaves, **changes}, {**weights, **changes})
        return sum(d * values[s] for s, d in incoming.items())

    values = scalar_programme(forward, leaves, weights)
    values = scalar_programme(schedule.backward, {**values, **{f"d_{s}": d for s, d in incoming.items()}}, weights)
    found = {leaf: values[name] for leaf, name in schedule.results.items()}
    for a in schedule.accumulations:
        share = values[a.d_value] * (values[a.operand] if a.operand else 1.0)
        found[a.parameter] = found.get(a.parameter, 0.0) + share
    assert set(found) == set(leaves)
    for name, start in leaves.items():
        step = 1e-6
        slope = (loss({name: start + step}) - loss({name: start - step})) / (2 * step)
        assert found[name] == pytest.approx(slope, rel=1e-6, abs=1e-8), name


def test_the_derived_equations_are_readable() -> None:
    cell = Cell("h = tanh(W [h<t-1>, x] + b)")
    assert cell.backward_plain().splitlines() == [
        "d_z_h     = d_h * (1 - h * h)",
        "d_x       = W[1]^T d_z_h",
        "d_h<t-1>  = W[0]^T d_z_h",
        "d_W      += outer(d_z_h, [h<t-1>, x])",
        "d_b      += d_z_h",
    ]
    assert r"\delta h^{<t-1>} &= W^{[0]}{}^{\top} \delta z_{h}" in cell.backward_latex()


def test_no_derived_line_reads_the_name_it_adds_to() -> None:
    from elman.cells import cells

    for cell in cells.values():
        for equation in cell.backward_equations:
            names = {node.name for node in walk(equation.expression) if isinstance(node, Symbol)}
            assert equation.name not in names, f"{cell.name}: {equation}"
