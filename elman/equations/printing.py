"""Expressions and equations to text, in both notations; what is printed parses to the same cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from elman.equations.expressions import Apply, Bracket, Equation, Expression, Number, Product, Symbol
from elman.equations.functions import FUNCTIONS, OPERATORS
from elman.equations.symbols import USUAL_INPUTS, is_learned_name

_RANK = {"add": 1, "sub": 1, "neg": 1, "mul": 2, "div": 2}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split()
)
_LATEX_OUTPUT = {"softmax": r"\operatorname{softmax}", "identity": r"\operatorname{identity}"}


def number_text(value: float) -> str:
    """Write a number so that it reads back equal, without a needless fraction."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


class _Style:
    """How one notation writes names, functions, products and the operators between them."""

    def __init__(
        self,
        name: Callable[[Symbol], str],
        function: Callable[[str], str],
        matrix: Callable[[str], str],
        transposed: str,
    ) -> None:
        self.name, self.function, self.matrix, self.transposed = name, function, matrix, transposed

    def text(self, node: Expression, rank: int = 0) -> str:
        """Write `node`, in brackets when its operator binds more weakly than `rank`."""
        match node:
            case Number(value=value):
                return number_text(value) if value >= 0 else f"({number_text(value)})"
            case Symbol():
                return self.name(node)
            case Bracket(items=items):
                return f"[{', '.join(self.text(item) for item in items)}]"
            case Product():
                written = self._product(node)
                return f"({written})" if rank > 3 else written
            case Apply(function=function) if function in _RANK:
                own = _RANK[function]
                written = self._operator(node, own)
                return f"({written})" if own < rank else written
            case Apply(function=function, arguments=arguments):
                return f"{self.function(function)}({', '.join(self.text(a) for a in arguments)})"
            case _:
                raise AssertionError(f"unresolved expression {node!r}")

    def _operator(self, node: Apply, own: int) -> str:
        if node.function == "neg":
            return f"-{self.text(node.arguments[0], 2)}"
        left, right = node.arguments
        sign = OPERATORS[node.function]
        # a - (b + c) and a / (b * c) need their brackets; so does a * (b * c), to keep the order of evaluation.
        return f"{self.text(left, own)} {sign} {self.text(right, own + 1)}"

    def _product(self, node: Product) -> str:
        matrix = self.matrix(node.matrix) + (self.transposed if node.transposed else "")
        if len(node.parts) > 1:
            return f"{matrix} [{', '.join(self.text(part) for part in node.parts)}]"
        part = node.parts[0]
        inside = self.text(part, 4)
        simple = isinstance(part, Symbol | Product) or inside.startswith("(")
        return f"{matrix} {inside}" if simple else f"{matrix} ({self.text(part)})"


def _plain_name(symbol: Symbol) -> str:
    return f"{symbol.name}<t-1>" if symbol.time == -1 else symbol.name


def latex_name(name: str, derivative: str = "") -> str:
    r"""Write a normalised name in LaTeX: "Gamma_u" gives \Gamma_{u}, "c~" gives \tilde{c}.

    What begins with `derivative`, the prefix of a derived back-propagation, is a derivative: "d_h" gives \delta h.
    """
    if derivative and name.startswith(derivative):
        before = "^{<t-1>}" if name.endswith("<t-1>") else ""
        of = name.removeprefix(derivative).removesuffix("<t-1>")
        inside = f"z_{{{latex_name(of[2:])}}}" if of.startswith("z_") else latex_name(of)
        return rf"\delta {inside}{before}"
    name, _, block = name.partition("[")
    accent = name[-1:] if name[-1:] in _ACCENTS else ""
    base, _, subscript = name.removesuffix(accent).partition("_")
    letter = f"\\{base}" if base in _GREEK else base if len(base) == 1 else rf"\mathrm{{{base}}}"
    letter = f"{_ACCENTS[accent]}{{{letter}}}" if accent else letter
    below = f"_{{{_latex_subscript(subscript)}}}" if subscript else ""
    return letter + below + (f"^{{[{block}}}" if block else "")


_ACCENTS = {"~": r"\tilde", "^": r"\hat", ">": r"\vec", "<": r"\overleftarrow"}


def _latex_subscript(subscript: str) -> str:
    if "_" in subscript:
        return r"\mathrm{" + subscript.replace("_", r"\_") + "}"
    # W_xi is the matrix from x to i far more often than one called after a letter of two letters.
    return f"\\{subscript}" if subscript in _GREEK and len(subscript) > 2 else subscript


def _latex_symbol(symbol: Symbol, derivative: str) -> str:
    is_parameter = symbol.time is None
    mark = "^{<t-1>}" if symbol.time == -1 else "" if is_parameter else "^{<t>}"
    return latex_name(symbol.name, derivative) + mark


def _latex_function(name: str) -> str:
    return FUNCTIONS[name].latex if name in FUNCTIONS else _LATEX_OUTPUT.get(name, rf"\operatorname{{{name}}}")


def plain(node: Expression, timed: Iterable[str] = ()) -> str:
    """Write an expression in the plain notation; the names in `timed` get a mark of time."""
    names = frozenset(timed)

    def write(symbol: Symbol) -> str:
        name = _plain_name(symbol)
        return f"{name}<t>" if name in names else name

    return _Style(write, lambda name: name, lambda name: name, "^T").text(node)


def latex(node: Expression, timed: Iterable[str] = (), derivative: str = "") -> str:
    """Write an expression in LaTeX; the names in `timed` get a mark of time. For `derivative` see `latex_name`."""
    names = frozenset(timed)

    def write(symbol: Symbol) -> str:
        return _latex_symbol(
            Symbol(symbol.name, symbol.time if symbol.time == -1 else 0 if symbol.name in names else None), derivative
        )

    return _Style(write, _latex_function, latex_name, r"{}^{\top}").text(node)


def plain_equation(equation: Equation, states: Iterable[str] = (), input_name: str = "x") -> str:
    """Write one line in the plain notation; a name is marked with its time if it is a state, or could be misread.

    A gate called R would be a matrix, and an input with an unusual name nobody's.
    """
    mark = "<t>" if equation.name in states or is_learned_name(equation.name) else ""
    timed = () if input_name in USUAL_INPUTS else (input_name,)
    return f"{equation.name}{mark} {'+=' if equation.accumulates else '='} {plain(equation.expression, timed)}"


def latex_equation(equation: Equation, timed: Iterable[str], derivative: str = "") -> str:
    """Write one line in LaTeX. For `derivative` see `latex_name`."""
    names = frozenset(timed)
    name, start, _ = equation.name.partition("<0>")
    mark = "^{<0>}" if start else "^{<t>}" if name in names else ""
    sign = r"\mathrel{+}=" if equation.accumulates else "="
    return f"{latex_name(name, derivative)}{mark} {sign} {latex(equation.expression, names, derivative)}"


def aligned(lines: list[str]) -> str:
    """Put the equals signs of plain equations below each other."""
    split = [re.match(r"(.*?) (\+?=) (.*)", line) for line in lines]
    parts = [match.groups() for match in split if match]
    width = max((len(left) for left, _, _ in parts), default=0)
    signs = max((len(sign) for _, sign, _ in parts), default=0)
    return "\n".join(f"{left.ljust(width)} {sign.rjust(signs)} {right}" for left, sign, right in parts)
