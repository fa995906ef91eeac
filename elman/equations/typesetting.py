"""What LaTeX arranges on the page: columns of vectors, several equations on a line, derivatives in time, sums.

Every rewriting keeps the length of the text, so that a caret below the original stands in the right place.
"""

from __future__ import annotations

import re

from elman.equations.carets import caret_error, place_of
from elman.equations.expressions import Position

ROW = "¦"
"""What stands between the entries of a column that was written as a list; unlike ";" it may end a line."""

_MATRIX = r"(?:small)?[bpv]?matrix"
_COLUMN = re.compile(
    rf"\\begin\s*\{{(?P<kind>{_MATRIX})\*?\}}(?P<body>.*?)\\end\s*\{{(?P=kind)\*?\}}"
    r"|(?:\\left\s*)?[\[(]\s*\\begin\s*\{array\}\s*\{[^}]*\}(?P<array>.*?)\\end\s*\{array\}\s*(?:\\right\s*)?[\])]",
    re.DOTALL,
)
_BREAK = re.compile(r"\\\\(\[-?[\d.]+\s*(pt|em|ex|mm|cm)\])?")
_SPACE = re.compile(r"(?P<sign>[,;]?)(?P<gap>(?:\s|\\[,;:!]|&)*(?:\\q?quad(?![A-Za-z])(?:\s|\\[,;:!]|&)*)*)")
_RANGE = re.compile(
    r"(?:[,;]|\\q?quad(?![A-Za-z]))(?:\s|\\[,;:!]|\\q?quad(?![A-Za-z])|&)*"
    r"(?:\\forall|\\(?:text|mathrm)\{\s*for(?: all)?\s*\})?\s*"
    r"(?:[tnk]\s*(?:\\(?:in|g[et]q?|l[et]q?)(?![A-Za-z])|[<>])"
    # n = 1, \dots is a range; n = \tanh(...) and n = 1 - z are equations.
    r"|[tnk]\s*=(?=\s*(?:\\\{|\d+(?:\s|\\,)*(?:,(?:\s|\\,)*(?:\d|\\[lc]?dots|\.\.)|:|\.\.|\\[lc]?dots|\\to)))"
    r"|t\s*=(?=\s*\d+\s*[.,]?\s*(?:\\\\|$)))"
    r"(?:(?!\\\\).)*"
)
_D = r"(?:d|\\partial|\\(?:mathrm|text|operatorname)\s*\{\s*d\s*\}|\\rm\s+d)"
_DERIVATIVE = re.compile(
    rf"\\[dt]?frac\s*\{{\s*{_D}\s*(?P<above>[^{{}}]*(?:\{{[^{{}}]*\}})*[^{{}}]*?)\s*\}}\s*\{{\s*{_D}\s*t\s*\}}"
    rf"|(?<![\w\\]){_D}\s*(?P<flat>\\?[A-Za-z]\w*(?:\([a-z]\))?)\s*/\s*{_D}\s*t(?!\w)"
)


def flat(text: str) -> str:
    r"""Return LaTeX with every column of vectors, `\begin{bmatrix} a \\ b \end{bmatrix}`, written as a list, [a ¦ b].

    Raises:
        EquationError: a matrix with several columns.
    """
    return _COLUMN.sub(lambda match: _list(text, match), text)


def _list(text: str, match: re.Match[str]) -> str:
    body = match["body"] if match["body"] is not None else match["array"]
    start = match.start("body") if match["body"] is not None else match.start("array")
    if "&" in body:
        raise caret_error(
            text,
            place_of(text, start + body.index("&")),
            "a matrix of several columns must not be written out; got '&' inside it",
            r"write the sum that it means, W_h h_{t-1} + W_x x_t, or one matrix over a list, W [h_{t-1}; x_t]",
        )
    # LaTeX lets the last row end in a break, too.
    rows = re.sub(rf"(?:\s|{_BREAK.pattern})+$", "", body)
    before, after = text[match.start() : start], text[start + len(rows) : match.end()]
    rows = _BREAK.sub(lambda found: ROW + " " * (len(found[0]) - 1), rows)
    return _bracket(before, "[") + rows + _bracket(after, "]")


def _bracket(covered: str, sign: str) -> str:
    """`sign` and spaces in place of what it stands for; lines stay lines."""
    blank = re.sub(r"[^\n]", " ", covered)
    return sign + blank[1:] if sign == "[" else blank[:-1] + sign


def one_a_piece(line: str) -> str:
    r"""Return a line of LaTeX with a double backslash between equations that a comma or `\quad` sets apart."""
    line = _RANGE.sub(lambda match: " " * len(match[0]), line)
    parts, start, depth = [], 0, 0
    at = 0
    while at < len(line):
        # A line may end what an earlier one opened.
        depth = max(0, depth + (line[at] in "([{") - (line[at] in ")]}"))
        match = _SPACE.match(line, at) if depth == 0 and line[at] in ",;\\" else None
        if match and len(match[0]) > 1 and _ends(line[start:at]) and _is_equation(line[match.end() :]):
            parts += [line[start:at], "\\\\" + " " * (len(match[0]) - 2)]
            start = at = match.end()
        else:
            at += 2 if line[at] == "\\" and not match else max(1, len(match[0]) if match else 1)
    return "".join([*parts, line[start:]])


def _ends(text: str) -> bool:
    """Say whether an equation may end here: it is in this text, or goes on from lines before."""
    return _is_equation(text) or sum(text.count(sign) for sign in ")]}") > sum(text.count(sign) for sign in "([{")


def _is_equation(text: str) -> bool:
    """Say whether an equation stands here: "=" comes before the next comma or break outside of brackets."""
    depth = 0
    for letter in text.partition(r"\\")[0]:
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and letter in "=,;":
            return letter == "="
    return False


def refuse_derivative(text: str, statement: str, places: list[Position]) -> None:
    """Refuse a derivative in time, dh/dt, which no line of a cell can hold.

    Raises:
        EquationError: there is one.
    """
    found = _DERIVATIVE.search(statement)
    if found is None:
        return
    letters = re.findall(r"\\?[A-Za-z]+(?![A-Za-z{])", re.sub(r"\([a-z]\)|_.*", "", found["above"] or found["flat"]))
    name = letters[0] if letters else "h"
    raise caret_error(
        text,
        places[found.start()],
        f"a cell is a step in time, not a differential equation; got the derivative of {name}",
        f"write it as a step: tau d{name}/dt = f becomes {name}_t = {name}_{{t-1}} + 0.1 * (f), "
        f"where f reads {name}_{{t-1}} and 0.1 is the length of a step over tau",
    )


def refuse_sum(text: str, statement: str, places: list[Position]) -> None:
    r"""Refuse a sum over an index, \sum_j: lines of a cell are of whole vectors.

    Raises:
        EquationError: there is one.
    """
    found = re.search(r"\\sum(?![A-Za-z])|∑", statement)
    if found is not None:
        raise caret_error(
            text,
            places[found.start()],
            "a sum over an index must be written as a product with a matrix",
            r"\sum_j W_{ij} h_{t-1,j} of every i is W h_{t-1}",
        )
