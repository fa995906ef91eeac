"""The index of time: which letter it is, and what each written name means once it is known."""

from __future__ import annotations

import re
from collections import Counter

from elman.equations.carets import caret_error
from elman.equations.expressions import Expression, Number, Position, Symbol, children, with_children
from elman.equations.notation import RawEquation
from elman.equations.symbols import Written, accents_last, is_matrix_name, time_of
from elman.errors import EquationError


class Times:
    """Reads written names of one text.

    Args:
        text: The source, for carets.
        raw: Its equations as parsed.
    """

    def __init__(self, text: str, raw: list[RawEquation]) -> None:
        self.text, self.raw = text, raw
        self.index = self._find_index()
        self.variables = {
            written.base
            for e in raw
            if isinstance(e.left, Symbol)
            for written in (e.names[e.left.position],)
            if any((at := time_of(script)) and at[0] == self.index for script in written.scripts)
        }

    def error(self, place: Position, message: str, hint: str | None = None) -> EquationError:
        """Build an error that shows the line with a caret."""
        return caret_error(self.text, place, message, hint)

    def _find_index(self) -> str | None:
        """The letter of time: the one in angle brackets, else the one that appears with an offset, else t."""
        certain: Counter[str] = Counter()
        offsets: Counter[str] = Counter()
        plain: Counter[str] = Counter()
        for equation in self.raw:
            for place, written in equation.names.items():
                for script in written.scripts:
                    time = time_of(script)
                    if time is None:
                        continue
                    (certain if script.certain_time else offsets if time[1] else plain)[time[0]] += 1
                    if abs(time[1]) > 1:
                        raise self.error(
                            place,
                            f"a step may read the step before only; got an offset of {time[1]:+d}",
                            "keep the older value in a state of its own: d = h<t-1>, then read d<t-1>",
                        )
        found = sorted({*certain, *offsets})
        if len(found) > 1:
            raise EquationError(
                f"equations: one letter must stand for time; got {', '.join(found)}",
                "write every time as t, h<t-1>; layers are cells of their own, which elman.Stack puts together",
            )
        if found:
            return found[0]
        return "t" if "t" in plain else None

    def _read(self, written: Written, place: Position) -> tuple[str, int | None, bool, bool]:
        """A written name as (name, time, transposed, start)."""
        name, time, transposed, start = written.base, None, False, False
        for script in written.scripts:
            at = time_of(script)
            is_time = at is not None and at[0] == self.index and (script.certain_time or self._may_be_time(written, at))
            if is_time and at is not None:
                time = at[1]
            elif script.text == "T" and script.superscript:
                transposed = True
            elif script.certain_time and script.text == "0":
                start = True
            elif script.superscript and script.text.isdecimal() and not is_matrix_name(name):
                raise self.error(
                    place,
                    f"powers are not an operator of cells; got {name}^{script.text}",
                    f"write {name} * {name} for a square; a layer's number has brackets, {name}^{{({script.text})}}",
                )
            elif script.superscript and script.text == "minus1":
                raise self.error(
                    place,
                    f"the inverse {name}^-1 is not an operator of cells",
                    "divide by a vector, 1 / a; a matrix is learned as it stands",
                )
            elif script.text:
                name += f"_{script.text}"
        return accents_last(name), time, transposed, start

    def _may_be_time(self, written: Written, at: tuple[str, int]) -> bool:
        # `b_n` beside `h_{n-1}` is the bias of a gate n, not a bias at time n: parameters do not change with time.
        # A line that defines R_t says that R is a gate, whatever its letter.
        return at[1] != 0 or written.base in self.variables or not re.match(r"[WUVRb]$", written.base)

    def named(self, node: Expression, names: dict[Position, Written]) -> Expression:
        """Replace every written name in `node` by its normalised name and time."""
        if isinstance(node, Symbol):
            written = names[node.position]
            if written.number is not None:
                return Number(written.number)
            name, time, transposed, start = self._read(written, node.position)
            return Symbol(name + ("<0>" if start else ""), time, transposed, node.position)
        inner = tuple(self.named(child, names) for child in children(node))
        return with_children(node, inner) if inner else node
