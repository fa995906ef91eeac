"""Products of bfloat16: what they multiply is rounded once, where it is made, for all products and gradients."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from elman.plans.lines import Line, Lines, before, rounded


def round_operands(lines: Lines, states: Sequence[str], factors: Collection[str]) -> Lines:
    """Return the lines with the operands of all products rounded.

    The engine rounds the states before a step itself, where it stores them.

    Args:
        lines: Of a cell, simplified.
        states: Names of the states.
        factors: Both factors of every gradient of a matrix, which is a product too.
    """
    parts = (lines.hoisted, lines.step, lines.back, lines.after)
    operands = {t.operand for part in parts for line in part for t in line.terms} | set(factors)
    lines.widths |= {rounded(name): lines.widths[name] for name in operands}
    stored = {before(s) for s in states}

    def part_of(part: Sequence[Line]) -> list[Line]:
        found = []
        for line in part:
            terms = tuple(replace(t, operand=rounded(t.operand)) for t in line.terms)
            found.append(replace(line, terms=terms))
            if line.target in operands - stored:
                found.append(Line(rounded(line.target), "round", (line.target,), line.width, number=line.width))
        return found

    hoisted, step, back, after = map(part_of, parts)
    return Lines(hoisted, step, back, after, lines.widths, lines.numbers)
