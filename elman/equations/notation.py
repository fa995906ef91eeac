"""Text to raw equations: the two notations, plain and LaTeX, through one grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from elman.equations.carets import caret_error
from elman.equations.expressions import Apply, Bracket, Expression, Number, Position, Sequence, Symbol
from elman.equations.functions import ALIASES, FUNCTIONS, OUTPUT_FUNCTIONS
from elman.equations.symbols import ACCENTS, FONTS, Written, take_latex_apart, take_plain_apart
from elman.equations.typesetting import flat, one_a_piece, refuse_derivative, refuse_sum
from elman.errors import EquationError

_GRAMMAR = r"""
equation: side "=" side
?side: sum
?sum: term | _MINUS term -> negate | "+" term | sum "+" term -> add | sum _MINUS term -> subtract
_MINUS: "-"
?term: sequence | term TIMES sequence -> multiply | term "/" sequence -> divide
sequence: factor+
?factor: number | symbol | group | bracket | fraction | call | power
number: NUMBER
symbol: SYMBOL
group: "(" sum (SEPARATOR sum)* ")" | "{" sum "}" | "\\{" sum (SEPARATOR sum)* "\\}"
bracket: "[" sum (SEPARATOR sum)* "]"
fraction: FRACTION "{" sum "}" "{" sum "}"
call: CALL "{" sum "}"
power: EXP "{" sum "}"
SEPARATOR: /[,;¦]/
NUMBER.3: /\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?/
%ignore /[ \t\r\n]+/
"""
_NESTED = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_WORDS = "|".join(sorted({*FUNCTIONS, *ALIASES, *OUTPUT_FUNCTIONS}, key=len, reverse=True))
_BODY = rf"(?:{_NESTED}|\\[A-Za-z]+(?:{_NESTED})?|<[^<>]*>|[A-Za-z0-9*])"
_SCRIPT = rf"(?:\{{\}}|\s*[_^]\s*{_BODY}|'|<[a-z](?:[+-]\d)?>|<0>)"
_ACCENTED = rf"\\(?:{FONTS}|{'|'.join(ACCENTS)})(?![A-Za-z])\s*(?:{_NESTED}|\\[A-Za-z]+(?:\s*{_NESTED})?|[A-Za-z0-9])"
_OPERATORS = r"(?:odot|circ|cdot|times|ast|star|bullet|otimes|[dt]?frac|sqrt\s*\{)"
_COMMAND = rf"(?:{_ACCENTED}|\\(?!{_OPERATORS}(?![A-Za-z]))[A-Za-z]+)"
# {\bf W} is a name wherever it stands; {h} only with what hangs on it, {h}_t.
_GROUPED = rf"\{{\s*(?:{_ACCENTED}\s*\}}|(?:{_COMMAND}|[A-Za-z])\s*\}}(?=\s*[_^]))"
# A name and what may follow it: a subscript in braces, or h_t-1; a hat, a transpose or a direction; <t-1>.
_PLAIN_NAME = r"[^\W\d_](?:\w|[₋₊])*(?:(?<=_)\{[^{}]*\})?(?:(?<=_[tnk])[+-]1(?![\w.]))?"
_PLAIN_ACCENT = r"(?:~|\^(?!\w)|\^T(?!\w)|>(?=[\s,\])<]|$)|<(?=[\s,\])]|$|<[a-z0]))"
_PLAIN_TIME = r"(?:<(?:[a-z](?:\s*[+-]\s*\d)?|0)>)"
# e^{t-1} and e^{<t>} are a value called e at a time; any other e^{...} is an exponential. A digit alone is a power.
_TIME_ABOVE = r"\s*\{\s*(?:<|\\langle|\(?[tnk](?:\s*[+-]\s*\d+)?\)?\s*\}|\d+\s*\}|\(0\)|\\?(?:top|T)\s*\})"
_TERMINALS = {
    "latex": rf"""
TIMES.5: /\*|\\(odot|circ|cdot|times|ast|star|bullet|otimes)(?![A-Za-z])|⊙|∘|·|×/
FRACTION.6: /\\[dt]?frac/
CALL.6: /\\sqrt(?=\s*\{{)/
EXP.6: /(e|\\(mathrm|text|operatorname)\s*\{{\s*e\s*\}})\s*\^(?=\s*\{{)(?!{_TIME_ABOVE})/
SYMBOL.2: /({_COMMAND}|{_GROUPED}|(?:{_WORDS})(?![A-Za-z])|[^\W\d_]){_SCRIPT}*/
""",
    "plain": rf"""
TIMES.5: /\*|⊙|∘|·|×/
FRACTION.6: /\\frac/
CALL.6: /\\sqrt(?=\s*\{{)/
EXP.6: /e\s*\^(?=\s*\{{)(?!{_TIME_ABOVE})/
SYMBOL.2: /{_PLAIN_NAME}{_PLAIN_ACCENT}?{_PLAIN_TIME}?/
""",
}
_PARSERS = {
    notation: Lark(_GRAMMAR + terminals, parser="lalr", start="equation", propagate_positions=True)
    for notation, terminals in _TERMINALS.items()
}

_GAP = r"\s|\\[,;:! ]|\\q?quad(?![A-Za-z])|\\hfill(?![A-Za-z])|\\hspace\*?\{[^}]*\}"
_NO_EQUATION = [
    r"(?<!\\)%.*",
    # The number of an equation, as it is printed: "... + b_h) \qquad (3)". It is no factor.
    rf"(?:(?<=[)\]}}.,])|(?<=_\w)|(?=\\(?:q|h)))(?:{_GAP})+\(\d+(?:\.\d+)?[a-z]?\)(?=\s*(?:\\\\|\$|$))",
    r"[,.;]?\s*\\(?:text|mbox|mathrm|quad|qquad)\s*(?:\{\s*)?(?:where|with|and|for|if)\b.*$",
]
_CLEAN_LATEX = [
    r"\{?\s*\\begin\s*\{[^}]*\}(?:\[[^\]]*\])?(?:\{[lcr|]+\})?|\\end\s*\{[^}]*\}\s*\}?",
    r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\.?",
    r"\\(?:label|tag|eqref)\s*\{[^}]*\}",
    r"(?<!\\)\\(?:quad|qquad|nonumber|notag|displaystyle|limits|hfill|hspace\{[^}]*\}|,|;|:|!|\s)(?![A-Za-z])",
    r"\\[\[\]()](?=\s|$)|^\s*\\[\[(]|\\[\])]\s*$",
    r"\$+\s*(?:\\cdot(?![A-Za-z]))?",
    r"&",
    r"\\(?:text|mbox)\s*\{[^}]*\}\s*$",
]
_BULLET = r"^\s*(?:[-*•]\s+|\d+[.)]\s+|\(\d+\)\s+)"
_NAME_LINE = r"^[ \t]*name[ \t]*:[ \t]*([\w.-]+)[ \t]*$"
_FENCE = r"^\s*```.*$"
_DASHES = str.maketrans("\N{MINUS SIGN}\N{EN DASH}", "--")
"""What copies of printed papers have for a minus, of times as of values: h_{t−1}."""


@dataclass(frozen=True)
class RawSymbol:
    """A name as written, kept until the index of time is known."""

    written: Written
    position: Position


@dataclass(frozen=True)
class RawEquation:
    """One equation as parsed: both sides with names not yet interpreted, and the characters it came from."""

    left: Expression
    right: Expression
    line: int
    names: dict[Position, Written]


@dataclass(frozen=True)
class SizeLine:
    """A declaration "size: h = P"."""

    name: str
    size: str
    line: int


def is_latex(text: str) -> bool:
    """Say whether `text` is written in LaTeX: it has a command, a dollar sign or a superscript in braces."""
    return re.search(r"\\[A-Za-z(\[\\]|\^\s*\{|\$", text) is not None


def declared_name(text: str) -> str | None:
    """Return the name that a line "name: mine" gives to the cell; None without such a line."""
    found = re.search(_NAME_LINE, text, re.MULTILINE)
    return found[1] if found else None


def parse(text: str) -> tuple[list[RawEquation], list[SizeLine]]:
    """Parse a block of equations in either notation.

    Raises:
        EquationError: a line is not an equation; the text shows it with a caret.
    """
    text = re.sub(_NAME_LINE, lambda match: " " * len(match[0]), text, flags=re.MULTILINE).translate(_DASHES)
    notation = "latex" if is_latex(text) else "plain"
    equations, sizes = [], []
    for characters in _statements(text, notation):
        statement = "".join(letter for letter, _ in characters)
        declared = re.fullmatch(r"\s*size\s*:\s*(\S+)\s*=\s*([A-Z]\w*)\s*", statement)
        if declared:
            sizes.append(SizeLine(declared[1], declared[2], characters[0][1].line))
        else:
            equations.append(_parse_statement(text, characters, notation))
    if not equations:
        raise EquationError(
            "equations: at least one line with '=' must be given; got none",
            "write for example: h = tanh(W_h h<t-1> + W_x x + b)",
        )
    return equations, sizes


_MATHEMATICS = re.compile(
    r"\$\$.*?\$\$|\$[^$]*\$|\\\[.*?\\\]|\\\(.*?\\\)"
    r"|\\begin\{(?P<name>equation|align|aligned|alignat|gather|split|eqnarray|array|cases|multline|flalign)\*?\}"
    r".*?\\end\{(?P=name)\*?\}",
    re.DOTALL,
)


def _without_prose(text: str) -> str:
    """Blank the lines of a document that stand outside its mathematics and hold no equation."""
    marked = {n for match in _MATHEMATICS.finditer(text) for n in _lines_of(text, match.start(), match.end())}
    if not marked:
        return text
    lines = text.splitlines()
    return "\n".join(line if n in marked or "=" in line else "" for n, line in enumerate(lines))


def _lines_of(text: str, start: int, end: int) -> range:
    return range(text.count("\n", 0, start), text.count("\n", 0, end) + 1)


def _statements(text: str, notation: str) -> list[list[tuple[str, Position]]]:
    """The characters of each equation with their places; what only decorates is blanked, not removed."""
    found: list[list[tuple[str, Position]]] = []
    lines = _without_prose(flat(text)) if notation == "latex" else text
    for number, line in enumerate(lines.splitlines()):
        for start, piece in _pieces(_clean(line, notation), notation):
            if not piece.strip():
                continue
            characters = [(letter, Position(number, start + column)) for column, letter in enumerate(piece)]
            if found and _continues("".join(letter for letter, _ in found[-1]), piece):
                found[-1] += [(" ", characters[0][1]), *characters]
            else:
                found.append(characters)
    return found


def _continues(before: str, piece: str) -> bool:
    """A line without "=" goes on with the equation before when that one, or this line, is visibly unfinished."""
    if "=" in piece or "=" not in before:
        return False
    before = before.rstrip()
    is_open = before.count("(") > before.count(")") or before.count("[") > before.count("]")
    return is_open or before[-1] in "=+-*/," or re.match(r"\s*[-+*/)\]]", piece) is not None


def _pieces(line: str, notation: str) -> list[tuple[int, str]]:
    """A line of LaTeX may hold several equations, with a double backslash between them."""
    pieces, start = [], 0
    for match in re.finditer(r"\\\\(\[-?[\d.]+\s*(pt|em|ex|mm|cm)\])?", line) if notation == "latex" else ():
        pieces.append((start, line[start : match.start()]))
        start = match.end()
    pieces.append((start, line[start:]))
    return [(at, re.sub(r"[,.;]+\s*$", lambda match: " " * len(match[0]), piece)) for at, piece in pieces]


def _clean(line: str, notation: str) -> str:
    patterns = [_FENCE, *(_CLEAN_LATEX if notation == "latex" else [r"#.*"])]
    if "=" in line:
        # A line that goes on with the equation before may begin with a minus, which is no bullet.
        patterns.insert(1, _BULLET)
    if notation == "latex":
        line = one_a_piece(_blanked(line, _NO_EQUATION))
    return _blanked(line, patterns)


def _blanked(line: str, patterns: list[str]) -> str:
    for pattern in patterns:
        line = re.sub(pattern, lambda match: " " * len(match[0]), line)
    return line


def _parse_statement(text: str, characters: list[tuple[str, Position]], notation: str) -> RawEquation:
    statement = "".join(letter for letter, _ in characters)
    places = [place for _, place in characters]
    refuse_derivative(text, statement, places)
    refuse_sum(text, statement, places)
    try:
        tree = _PARSERS[notation].parse(statement)
    except UnexpectedInput as error:
        raise _explain(text, statement, places, error, notation) from None
    names: dict[Position, Written] = {}
    try:
        left, right = _Builder(places, names, notation).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    return RawEquation(left, right, places[0].line, names)


def _explain(text: str, statement: str, places: list[Position], error: UnexpectedInput, notation: str) -> EquationError:
    at = error.pos_in_stream if error.pos_in_stream is not None else len(statement) - 1
    if "=" not in statement:
        return caret_error(
            text,
            places[0],
            "an equation must have the form 'name = expression'; got no '='",
            "write = for any other sign that defines; comments begin with # (plain) or % (LaTeX)",
        )
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        at = len(statement.rstrip())
        place = Position(places[-1].line, places[min(at, len(places) - 1)].column + (at >= len(places)))
        return caret_error(
            text,
            place,
            "the equation must go on here; it ends too early",
            "check that every bracket is closed and every operator has a right-hand side",
        )
    letter = statement[at] if 0 <= at < len(statement) else ""
    place = places[min(max(at, 0), len(places) - 1)]
    if letter == "^":
        return caret_error(
            text,
            place,
            "powers are not an operator of cells; got '^'",
            "write x * x for a square; a superscript T after a matrix transposes it",
        )
    what = "character" if isinstance(error, UnexpectedCharacters) else "text"
    shown = (
        repr(letter)
        if isinstance(error, UnexpectedCharacters) or not isinstance(error, UnexpectedToken)
        else repr(str(error.token))
    )
    return caret_error(
        text,
        place,
        f"a name, number, operator or bracket must stand here; got the {what} {shown}",
        "operators are + - * /; a matrix stands before its vector, W h; functions are called as tanh(...); LaTeX "
        "commands begin with a backslash"
        if notation == "plain"
        else "read as LaTeX because of a backslash, '$' or braces after _ or ^; names are single letters there",
    )


@v_args(meta=True)
class _Builder(Transformer):  # type: ignore[type-arg]
    """Lark's tree to raw expressions; names become symbols whose written form is kept aside by position."""

    def __init__(self, places: list[Position], names: dict[Position, Written], notation: str) -> None:
        super().__init__()
        self.places, self.names = places, names
        self.take_apart = take_latex_apart if notation == "latex" else take_plain_apart

    def _at(self, meta: object) -> Position:
        start = getattr(meta, "start_pos", 0)
        return self.places[start]

    def equation(self, meta: object, sides: list[Expression]) -> tuple[Expression, Expression]:
        return sides[0], sides[1]

    def number(self, meta: object, items: list[Token]) -> Expression:
        return Number(float(items[0]))

    def symbol(self, meta: object, items: list[Token]) -> Expression:
        place = self._at(meta)
        self.names[place] = self.take_apart(re.sub(r"(?<=[<\w])\s*([+-])\s*(?=\d>)", r"\1", str(items[0])))
        return Symbol(str(items[0]), position=place)

    def sequence(self, meta: object, items: list[Expression]) -> Expression:
        return items[0] if len(items) == 1 else Sequence(tuple(items), self._at(meta))

    def group(self, meta: object, items: list[Expression]) -> Expression:
        return Bracket(tuple(item for item in items if not isinstance(item, Token)), True, self._at(meta))

    def bracket(self, meta: object, items: list[Expression]) -> Expression:
        return Bracket(tuple(item for item in items if not isinstance(item, Token)), position=self._at(meta))

    def negate(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("neg", (items[0],), self._at(meta))

    def add(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("add", (items[0], items[1]), self._at(meta))

    def subtract(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("sub", (items[0], items[1]), self._at(meta))

    def multiply(self, meta: object, items: list[Expression]) -> Expression:
        # Meaning makes "mul" of both; only a matrix tells them apart.
        sign = "hadamard" if re.fullmatch(r"\\(odot|circ)|⊙|∘", str(items[1])) else "mul"
        return Apply(sign, (items[0], items[2]), self._at(meta))

    def divide(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("div", (items[0], items[1]), self._at(meta))

    def fraction(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("div", (items[1], Bracket((items[2],), True, self._at(meta))), self._at(meta))

    def power(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("exp", (items[1],), self._at(meta))

    def call(self, meta: object, items: list[Expression]) -> Expression:
        return Apply("sqrt", (items[1],), self._at(meta))
