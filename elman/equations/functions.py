"""The function table: every pointwise function a cell may use, with its derivative and its LaTeX name.

A derivative is a formula in `x` (the argument) and `y` (the value), in the same notation as the cells. Engines map the
names to array operations; nothing else in Elman knows a function by name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """One row of the table.

    Args:
        name: Name in the plain notation.
        derivative: dy/dx as a formula in x and y; None when the function appears in derived equations only.
        latex: How LaTeX writes the name.
        meaning: The definition, for the documentation.
        arguments: Number of arguments.
    """

    name: str
    derivative: str | None
    latex: str
    meaning: str
    arguments: int = 1


def _named(name: str) -> str:
    return r"\operatorname{" + name.replace("_", r"\_") + "}"


_ROWS = (
    Function("sigmoid", "y * (1 - y)", r"\sigma", "1 / (1 + exp(-x))"),
    Function("tanh", "1 - y * y", r"\tanh", "hyperbolic tangent"),
    Function("relu", "step(x)", _named("relu"), "max(x, 0); derivative 0 at 0"),
    Function("softplus", "sigmoid(x)", _named("softplus"), "log(1 + exp(x))"),
    Function("exp", "y", r"\exp", "exponential"),
    Function("log", "1 / x", r"\log", "natural logarithm"),
    Function("sqrt", "0.5 / y", _named("sqrt"), "square root"),
    Function("abs", "sign(x)", _named("abs"), "absolute value; derivative 0 at 0"),
    Function("sin", "cos(x)", r"\sin", "sine"),
    Function("cos", "-sin(x)", r"\cos", "cosine"),
    Function("elu", "step(x) + (1 - step(x)) * exp(min(x, 0))", _named("elu"), "x if x > 0 else exp(x) - 1"),
    Function("silu", "sigmoid(x) * (1 + x * (1 - sigmoid(x)))", _named("silu"), "x sigmoid(x)"),
    Function(
        "gelu",
        "0.5 * (1 + erf(0.7071067811865476 * x)) + 0.3989422804014327 * x * exp(-0.5 * x * x)",
        _named("gelu"),
        "x Phi(x), Phi the normal distribution function (exact, with erf)",
    ),
    Function("hard_sigmoid", "greater(y, 0) * greater(1, y) / 6", _named("hard_sigmoid"), "x / 6 + 1/2 within [0, 1]"),
    Function("hard_tanh", "greater(y, -1) * greater(1, y)", _named("hard_tanh"), "x within [-1, 1]"),
    Function("layer_norm", "see layer_norm_backward", _named("layer_norm"), "(x - mean) / sqrt(variance + 1e-5)"),
    Function("min", "see minimum", r"\min", "the smaller of two", 2),
    Function("max", "see maximum", r"\max", "the larger of two", 2),
    Function("erf", None, _named("erf"), "error function"),
    Function("step", None, _named("step"), "1 if x > 0 else 0"),
    Function("sign", None, _named("sign"), "-1, 0 or 1"),
    Function("greater", None, _named("greater"), "1 if a > b else 0", 2),
    Function("layer_norm_backward", None, _named("layer_norm_backward"), "gradient of layer_norm at x for d_y", 2),
)

FUNCTIONS = {row.name: row for row in _ROWS}
"""All functions, those of derived equations included."""

CELL_FUNCTIONS = tuple(row.name for row in _ROWS if row.derivative is not None)
"""The names that a cell's equations may use."""

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}

LAYER_NORM_EPSILON = 1e-5

# Relu(...) must not be the product with a matrix called Relu, whose name begins with R.
_ACTIVATIONS = ("sigmoid", "tanh", "relu", "softplus", "elu", "silu", "gelu")

ALIASES = {
    "sigma": "sigmoid",
    "sigm": "sigmoid",
    "logistic": "sigmoid",
    **{spelling(name): name for name in _ACTIVATIONS for spelling in (str.capitalize, str.upper)},
    "ReLU": "relu",
    "SiLU": "silu",
    "ln": "log",
    "swish": "silu",
    "LN": "layer_norm",
    "LayerNorm": "layer_norm",
    "hardsigmoid": "hard_sigmoid",
    "hardtanh": "hard_tanh",
    "sigma_g": "sigmoid",
    "sigma_c": "tanh",
    "sigma_h": "tanh",
}
"""Other spellings of functions: those of papers, and the subscripted sigmas of encyclopaedias."""

OUTPUT_FUNCTIONS = ("softmax", "sigmoid", "identity")
"""What an output equation may end in."""

UNBOUND = {
    "g": "tanh",
    "g_1": "tanh",
    "g_2": "softmax",
    "sigma_y": "softmax",
    "f": "tanh",
    "phi": "tanh",
    "act": "tanh",
}
"""Function names that texts leave open, with what they mean unless the caller binds them."""
