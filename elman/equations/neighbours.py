"""Names side by side in LaTeX: products that were meant, and misspelt names that fell apart into letters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from elman.equations.expressions import Expression, Position, Symbol
from elman.errors import EquationError, nearest


class Reader(Protocol):
    """What the check needs to know of a text; `Meaning` is one."""

    @property
    def text(self) -> str: ...
    @property
    def defined(self) -> Mapping[str, Position]: ...
    @property
    def input(self) -> str | None: ...
    @property
    def timed(self) -> frozenset[str]: ...
    def is_matrix(self, node: Expression | None) -> bool: ...
    def is_number(self, node: Expression) -> bool: ...
    def calls(self, first: Symbol) -> bool: ...
    def error(self, place: Position, message: str, hint: str | None = None) -> EquationError: ...


def check_neighbours(reader: Reader, items: list[Expression]) -> None:
    """Refuse a misspelt name that reads as a product of its letters: zz_t as z times z_t.

    Papers write z_t h_{t-1} for an elementwise product, each vector with its time. A vector without it beside another
    one, where its line gives it a time, or a bias beside a vector, is more likely a slip.

    Raises:
        EquationError: such a name stands beside another one.
    """
    for at, item in enumerate(items):
        around = [*items[max(at - 1, 0) : at], *items[at + 1 : at + 2]]
        if isinstance(item, Symbol) and any(_is_vector(reader, other) for other in around):
            _check(reader, item)


def _is_vector(reader: Reader, item: Expression) -> bool:
    return (
        isinstance(item, Symbol)
        and not reader.is_matrix(item)
        and not reader.is_number(item)
        and not reader.calls(item)
    )


def _check(reader: Reader, item: Symbol) -> None:
    name, word = item.name, word_at(reader.text, item.position)
    known = known_names(reader)
    if item.time is None and name in reader.timed:
        raise reader.error(
            item.position,
            f"{name} stands without its time beside another name; {word!r} reads letter by letter, as a product"
            f"{nearest(word, known)}",
            rf"write {name}_t \odot ... for a product; names of several letters need \mathrm{{...}}",
        )
    is_bias = re.fullmatch(r"b(_\w+)?", name) and item.time is None
    if is_bias and name not in reader.defined and name != reader.input:
        raise reader.error(
            item.position,
            f"the bias {name} stands beside another name, which reads as a product{nearest(word, known)}",
            rf"write + {name} for a bias, {name} \odot ... for a product",
        )


def known_names(reader: Reader) -> list[str]:
    """Return the names that lines define, and the input, as LaTeX writes them at this step: z_t."""
    return [f"{name}_t" if name in reader.timed else name for name in (*reader.defined, *filter(None, [reader.input]))]


def word_at(text: str, place: Position) -> str:
    """Return the letters that stand together in the source, with the scripts of the last one."""
    line = text.splitlines()[place.line]
    before = re.search(r"[A-Za-z]*$", line[: place.column])
    start = before.start() if before else place.column
    match = re.compile(r"\\?[A-Za-z]+(?:[_^](?:\{[^{}]*\}|\w|<[^<>]*>))*").match(line, start)
    return match[0] if match else line[place.column : place.column + 1]
