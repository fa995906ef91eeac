"""Makes the lines of a cell fewer: sums move into products, usual patterns become one operation, and what is cheap is
done again rather than kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from elman.plans.levels import levels
from elman.plans.lines import CHEAP, PRODUCT, ROW_FUNCTIONS, Line, Lines, renamed, uses


def simplify(lines: Lines, kept: Collection[str]) -> Lines:
    """Return equal lines that cost less.

    Args:
        lines: Of a cell.
        kept: Names that are read from outside the lines: factors of parameter gradients.
    """
    lines = _redone(_without_copies(lines, kept), kept)
    for rewrite in (_patterns, _sums_in_products, _multiply_adds):
        count = uses(lines.hoisted, lines.step, lines.back, lines.after, also=kept)
        for name in ("hoisted", "step", "back", "after"):
            setattr(lines, name, rewrite(getattr(lines, name), count, lines.numbers))
        lines = _live(lines, kept)
    return lines


def _without_copies(lines: Lines, kept: Collection[str]) -> Lines:
    """Read the derivative of a state where it arrives, unless a product or a gradient needs it as a row of its own."""
    operands = {t.operand for line in lines.back + lines.after for t in line.terms}
    operands |= {a for line in lines.back + lines.after if line.function in ROW_FUNCTIONS for a in line.arguments}
    later = {a for line in lines.after for a in line.reads} | set(kept) | operands | _read_too_late(lines.back)
    names = {
        line.target: line.arguments[0]
        for line in lines.back
        if line.function == "copy" and line.arguments[0].startswith("%carry") and line.target not in later
    }
    back = [renamed(line, names) for line in lines.back if line.target not in names]
    return Lines(lines.hoisted, lines.step, back, lines.after, lines.widths, lines.numbers)


def _read_too_late(back: list[Line]) -> set[str]:
    """Names that are read when the derivative of a state, of which they are copies, has gone on to the step before.

    d = h<t-1>, e = d<t-1> hands derivatives from state to state, and two states may exchange theirs.
    """
    gone = {line.target: n for n, line in enumerate(back) if line.after}
    copies = {line.target: gone[line.arguments[0]] for line in back if line.arguments and line.arguments[0] in gone}
    return {a for n, line in enumerate(back) for a in line.reads if n > copies.get(a, n)}


def _redone(lines: Lines, kept: Collection[str]) -> Lines:
    """Do cheap operations again on the way back, or in the loop, rather than keep their values for all steps."""
    hoisted, step = lines.hoisted, lines.step
    step = _moved(hoisted, step, lines, kept)
    hoisted = [line for line in hoisted if line.target not in {s.target for s in step}]
    back = _again(hoisted + step, lines.back, lines, kept)
    return Lines(hoisted, step, back, lines.after, lines.widths, lines.numbers)


def _moved(hoisted: list[Line], step: list[Line], lines: Lines, kept: Collection[str]) -> list[Line]:
    """The step with those cheap hoisted lines whose arguments lie there anyway."""
    loop = {a for line in step for a in line.reads}
    elsewhere = {a for line in lines.back + lines.after for a in line.reads} | set(kept)
    inside = {line.target for line in hoisted}
    moved: list[Line] = []
    for line in reversed(hoisted):
        others = {a for other in hoisted for a in other.reads if other not in moved and other is not line}
        movable = line.function in CHEAP and line.target in loop and line.target not in elsewhere | others
        if movable and all(a not in inside or a in loop | elsewhere for a in line.arguments):
            moved.insert(0, line)
            loop |= set(line.arguments)
    return moved + step


def _again(forward: list[Line], back: list[Line], lines: Lines, kept: Collection[str]) -> list[Line]:
    made = {line.target: line for line in forward if line.target}
    firmly = {a for line in lines.after for a in line.reads} | set(kept)
    firmly |= {t.operand for line in back for t in line.terms}
    wanted = {a for line in back for a in line.reads if a in made}
    again: list[Line] = []
    for line in reversed(forward):
        if line.target not in wanted or line.target in firmly or line.function not in CHEAP:
            continue
        if all(a not in made or a in wanted | firmly or made[a].function.startswith("load") for a in line.arguments):
            again.insert(0, line)
    names = {line.target: f"{line.target}@back" for line in again}
    lines.widths |= {names[line.target]: line.width for line in again}
    return [renamed(line, names) for line in again + back]


def _patterns(part: list[Line], count: Counter[str], numbers: Mapping[str, float]) -> list[Line]:
    """Put the usual forms of slopes and mixtures into one operation."""
    made = {line.target: line for line in part if line.target}
    gone: set[str] = set()

    def only(name: str, function: str) -> Line | None:
        """The line that makes a name, if nothing else reads the name."""
        line = made.get(name)
        return (
            line if line is not None and line.function == function and count[name] == 1 and name not in gone else None
        )

    def one_minus(name: str) -> str | None:
        line = made.get(name)
        if line is None or line.function != "sub" or numbers.get(line.arguments[0]) != 1.0:
            return None
        return line.arguments[1]

    result = []
    for line in part:
        found = _slope(line, only, one_minus) or _mixture(line, only, one_minus)
        if found is not None:
            line, used = found
            gone |= set(used)
            made[line.target] = line
        result.append(line)
    return [line for line in result if line.target not in gone]


Only = Callable[[str, str], Line | None]
OneMinus = Callable[[str], str | None]


def _slope(line: Line, only: Only, one_minus: OneMinus) -> tuple[Line, list[str]] | None:
    """d * (y * (1 - y)) and d * (1 - y * y)."""
    if line.function != "mul":
        return None
    d, slope = line.arguments
    product = only(slope, "mul")
    if product is not None and one_minus(product.arguments[1]) == product.arguments[0]:
        return replace(line, function="sigmoid_back", arguments=(d, product.arguments[0])), [slope]
    squared = only(slope, "sub") and one_minus(slope)
    square = only(squared, "mul") if squared else None
    if square is not None and square.arguments[0] == square.arguments[1]:
        return replace(line, function="tanh_back", arguments=(d, square.arguments[0])), [slope, square.target]
    return None


def _mixture(line: Line, only: Only, one_minus: OneMinus) -> tuple[Line, list[str]] | None:
    """u * a + (1 - u) * b."""
    if line.function != "add":
        return None
    first, second = (only(a, "mul") for a in line.arguments)
    if first is None or second is None:
        return None
    for gate, rest in ((first, second), (second, first)):
        for u, a in (gate.arguments, gate.arguments[::-1]):
            for complement, b in (rest.arguments, rest.arguments[::-1]):
                if one_minus(complement) == u:
                    return replace(line, function="mix", arguments=(u, a, b)), [first.target, second.target]
    return None


def _live(lines: Lines, kept: Collection[str]) -> Lines:
    """Leave out what nothing reads any more."""
    wanted = set(kept)

    def live(part: list[Line]) -> list[Line]:
        found = []
        for line in reversed(part):
            if not line.target or line.target.startswith("%carry") or line.target in wanted:
                found.append(line)
                wanted.update(line.reads)
        return found[::-1]

    after, back, step = live(lines.after), live(lines.back), live(lines.step)
    return Lines(live(lines.hoisted), step, back, after, lines.widths, lines.numbers)


def _sums_in_products(part: list[Line], count: Counter[str], numbers: Mapping[str, float]) -> list[Line]:
    """Let products start from what they are added to: a sum of products is one product with a longer depth."""
    part = list(part)
    while (found := _next_sum(part, count, numbers)) is not None:
        at, gone, line = found
        part[at] = line
        part = [other for other in part if other.target not in gone or other is line]
    return part


def _next_sum(part: list[Line], count: Counter[str], numbers: Mapping[str, float]) -> tuple[int, set[str], Line] | None:
    made = {line.target: line for line in part if line.target}
    level = levels(part)
    for at, line in enumerate(part):
        if line.function != "add":
            continue
        for one, other in (line.arguments, line.arguments[::-1]):
            product = made.get(one)
            if product is None or product.function != PRODUCT or count[one] != 1:
                continue
            second = made.get(other)
            if second is not None and second.function == PRODUCT and count[other] == 1:
                if not (product.arguments and second.arguments):
                    terms = second.terms + product.terms
                    return (
                        at,
                        {one, other},
                        replace(
                            product, target=line.target, terms=terms, arguments=second.arguments + product.arguments
                        ),
                    )
            elif not product.arguments and (second is None or level[other] < level[one]):
                return at, {one}, replace(product, target=line.target, arguments=(other,))
    return None


def _multiply_adds(part: list[Line], count: Counter[str], _: Mapping[str, float]) -> list[Line]:
    """a * b + c and c - a * b as one operation each."""
    made = {line.target: line for line in part if line.target}
    result = []
    for line in part:
        if line.function in ("add", "sub"):
            first, second = line.arguments
            for name, other in ((second, first), (first, second)) if line.function == "add" else ((second, first),):
                inner = made.get(name)
                if inner is not None and inner.function == "mul" and count[name] == 1:
                    function = "mul_add" if line.function == "add" else "sub_from"
                    line = replace(line, function=function, arguments=(*inner.arguments, other))
                    break
        result.append(line)
    return result
