"""Names as people write them, to names as Elman keeps them: accents, subscripts and marks of time."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NESTED = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
FONTS = r"mathbf|boldsymbol|bm|mathrm|mathit|mathsf|mathtt|mathcal|mathbb|textbf|textit|textrm|text|operatorname|rm|bf"
ACCENTS = {
    "tilde": "~",
    "widetilde": "~",
    "hat": "^",
    "widehat": "^",
    "bar": "_bar",
    "overline": "_bar",
    "vec": ">",
    "overrightarrow": ">",
    "overleftarrow": "<",
    "dot": "_dot",
}
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
        "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        strict=True,
    )
)
USUAL_INPUTS = ("x", "u", "X")
"""Names that are the input without a mark of time, in order of preference."""
_SIGNS = {"'": "prime", "*": "star", "+": "plus", "-": "minus"}
"""What tells W_{+} and W_{-} apart, in words that a name may hold."""
_TIME = re.compile(r"(?P<letter>[a-z])(?P<offset>[+-]\d+)?$")


@dataclass(frozen=True)
class Script:
    """One subscript or superscript: its text, and whether its brackets say that it is a time."""

    text: str
    certain_time: bool
    superscript: bool


@dataclass(frozen=True)
class Written:
    r"""A name taken apart: base with accents, scripts in order of writing; or a number in a font, \mathbf{1}."""

    base: str
    scripts: tuple[Script, ...] = ()
    number: float | None = None


def take_latex_apart(text: str) -> Written:
    r"""Split a LaTeX name such as `\tilde{\mathbf{h}}_{u}^{<t-1>}` into base, accents and scripts."""
    grouped = re.match(_NESTED, text)
    if grouped:
        written = take_latex_apart(grouped[0][1:-1].strip())
        return Written(written.base, written.scripts + _scripts(text[grouped.end() :]), written.number)
    command = re.match(r"\\(?P<name>[A-Za-z]+\*?)\s*", text)
    inner, rest = "", text
    if command and re.fullmatch(FONTS, command["name"]):
        inner, rest = _argument(text, command.end())
        word = inner.replace(r"\_", "_")
        is_word = word[:1].isalpha() and word.replace("_", "").isalnum()
        written = Written(word) if is_word else take_latex_apart(inner)
    elif command and command["name"] in ACCENTS:
        inner, rest = _argument(text, command.end())
        written = take_latex_apart(inner)
        written = Written(written.base + ACCENTS[command["name"]], written.scripts, written.number)
    elif command:
        written, rest = Written(command["name"].removeprefix("var")), text[command.end() :]
    else:
        # A word function such as `tanh` keeps its letters, and \tilde{h1} its digit; anything else is one letter, as in
        # TeX.
        letters = re.match(r"[^\W\d_][^\W_]*|\d", text)
        length = letters.end() if letters else 0
        base, rest = text[:length], text[length:]
        written = Written(_GREEK.get(base, base), number=float(base) if base in ("0", "1") else None)
    # What is neither base nor script still tells \text{cell state} from \text{cell gate}.
    base = written.base + _plain_words(_SCRIPT.sub("", rest))
    return Written(base, written.scripts + _scripts(rest), written.number)


def _argument(text: str, start: int) -> tuple[str, str]:
    """The braced group, command or letter at `start`, without its braces, and what follows it."""
    match = re.compile(rf"{_NESTED}|\\[A-Za-z]+|.").match(text, start)
    if match is None:
        return "", text[start:]
    inner = match[0]
    if inner.startswith("\\") and match.end() < len(text) and text[match.end()] == "{":
        group = re.compile(_NESTED).match(text, match.end())
        if group:
            return inner + group[0], text[group.end() :]
    return (inner[1:-1] if inner.startswith("{") else inner), text[match.end() :]


_SCRIPT = re.compile(
    rf"(?P<kind>[_^])\s*(?P<body>{_NESTED}|\\[A-Za-z]+(?:{_NESTED})?|<[^<>]*>|.)|(?P<prime>')|(?P<angle><[^<>]*>)"
)


def _scripts(text: str) -> tuple[Script, ...]:
    found = []
    for match in _SCRIPT.finditer(text):
        if match["prime"]:
            found.append(Script("prime", False, True))
        elif match["angle"]:
            found.append(Script(_strip(match["angle"]), True, True))
        else:
            found += _script(match["body"], match["kind"] == "^")
    return tuple(found)


def _script(body: str, superscript: bool) -> list[Script]:
    body = body[1:-1] if body.startswith("{") else body
    body = re.sub(r"\\langle\s*", "<", body)
    body = re.sub(r"\s*\\rangle", ">", body)
    body = re.sub(r"\\(top|intercal|mathsf\{T\}|mathrm\{T\})", "T", body)
    body = re.sub(r"\s+", "", body)
    body = re.sub(r"^\(([a-z][+-]1|[a-z])\)$", r"\1", body) if not superscript else body
    if re.fullmatch(r"<.*>", body) or (superscript and re.fullmatch(r"\([a-z]([+-]\d+)?\)|\(0\)", body)):
        return [Script(_strip(body), True, True)]
    layer = re.fullmatch(r"(\(\d+\)|\[[\w+-]+\])(<.*>)?", body) if superscript else None
    if layer:
        # a^{[1]<t>} and h^{(1)}: the number of a layer, never a power, is part of the name.
        time = [Script(_strip(layer[2]), True, True)] if layer[2] else []
        return [Script(_plain_words(layer[1]), False, False), *time]
    head, comma, last = body.rpartition(",")
    if comma and (_TIME.match(last) or _TIME.match(head)):
        return [Script(part if _TIME.match(part) else _plain_words(part), False, superscript) for part in (head, last)]
    return [Script(body if _TIME.match(body) else _plain_words(body), False, superscript)]


def _strip(body: str) -> str:
    return re.sub(r"[<>()\s]", "", body)


def _plain_words(body: str) -> str:
    body = re.sub(rf"\\(?:{FONTS})\s*\{{([^{{}}]*)\}}", r"\1", body)
    body = re.sub(r"\\(?:tilde|widetilde)\s*\{?\s*\\?(\w+)\s*\}?", r"\1_tilde", body)
    body = re.sub(r"\\(?:hat|widehat)\s*\{?\s*\\?(\w+)\s*\}?", r"\1_hat", body)
    body = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", "", body)  # a hyphen, W_{in-gate}
    body = re.sub(r"(?<=\d),(?=\d\d)|(?<=\d\d),(?=\d)", "_", body)  # W_{1,12} is another than W_{11,2}
    for letter, name in (*_GREEK.items(), *_SIGNS.items()):
        body = body.replace(letter, name)
    return re.sub(r"[^\w]", "", body)


_PLAIN = re.compile(
    r"(?P<base>[^\W\d_](?:(?!_[tnk](?!\w))\w)*)(?P<hat>[~^>]|<(?=$|<)|)(?P<subscript>_[tnk](?:[+-]1)?)?(?P<tail>.*)$",
    re.DOTALL,
)


_SMALL = dict(zip("ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₀₁₂₃₄₅₆₇₈₉₊₋", "aehijklmnoprstuvx0123456789+-", strict=True))


def _lowered(text: str) -> str:
    """Write small Unicode letters as a subscript: hₜ₋₁ is h_t-1."""
    return re.sub(f"[{''.join(_SMALL)}]+", lambda match: "_" + "".join(_SMALL[letter] for letter in match[0]), text)


def take_plain_apart(text: str) -> Written:
    """Split a plain name such as `c~<t-1>`, `W_h^T` or `h_t` into base, accents and scripts."""
    braces: list[Script] = []

    def unbrace(match: re.Match[str]) -> str:
        """A subscript in braces is a time, {t-1}, or a longer name, {xi}."""
        found = _script(match[1], superscript=False)
        braces.extend(script for script in found if _TIME.match(script.text) and script.text[0] in "tnk")
        words = "".join(script.text for script in found if script not in braces)
        return f"_{words}" if words else ""

    text = re.sub(r"_\{([^{}]*)\}", unbrace, _lowered(text))
    match = _PLAIN.match(text)
    if match is None:
        return Written(text)
    base, hat, tail = match["base"], match["hat"], match["tail"]
    if hat == "^" and re.match(r"T(?!\w)", tail):
        hat, tail = "", "^" + tail
    base = "".join(_GREEK.get(letter, letter) for letter in base)
    scripts = braces
    if match["subscript"]:
        scripts.append(Script(match["subscript"][1:], False, False))
    if tail.startswith("^T"):
        scripts.append(Script("T", False, True))
        tail = tail[2:]
    if tail.startswith("<"):
        scripts.append(Script(_strip(tail), True, True))
    return Written(base + hat, tuple(scripts))


def time_of(script: Script) -> tuple[str, int] | None:
    """Read a script as a time: its index letter and offset, ("t", -1); None when it cannot be one."""
    match = _TIME.match(script.text)
    return (match["letter"], int(match["offset"] or 0)) if match else None


def accents_last(name: str) -> str:
    r"""Return a name as the plain notation writes it: \tilde{c}_u, read as "c~_u", is "c_u~"."""
    return re.sub(r"[~^><]", "", name) + "".join(re.findall(r"[~^><]", name))


def identifier(name: str) -> str:
    """Return `name` as a Python identifier: "c~" gives "c_tilde", "c<t-1>" gives "c_before"."""
    for mark, word in (("<t-1>", "_before"), ("~", "_tilde"), ("^", "_hat"), (">", "_forward"), ("<", "_backward")):
        name = name.replace(mark, word)
    return name


_MATRIX = re.compile(r"[WUVR](?:_?\w*)?$")
_VECTOR = re.compile(r"(?:b|w|p)(?:_\w+|\d*)$")


def is_matrix_name(name: str) -> bool:
    """Say whether a name is that of a matrix: it begins with W, U, V or R."""
    return _MATRIX.match(name) is not None


def is_written_together(name: str) -> bool:
    r"""Say whether a name looks like a matrix with its vector, which only typesetting takes apart: \mathbf{Wx}."""
    return re.fullmatch(r"[WUVR][a-z]", name) is not None


def is_learned_name(name: str) -> bool:
    """Say whether a name is a parameter's unless a line marks it with a time: a matrix, or a bias b or b_…."""
    return is_matrix_name(name) or re.match(r"b(_|$)", name) is not None


def is_vector_name(name: str) -> bool:
    """Say whether a name is that of a vector parameter: a bias b…, or an elementwise weight w… or p…."""
    return _VECTOR.match(name) is not None
