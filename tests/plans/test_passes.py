"""In which pass a line runs, where several would give the same numbers: in that which keeps the fewest values."""

from __future__ import annotations

import pytest

from elman.plans.levels import in_passes
from elman.plans.lines import PRODUCT, Line, Term


def product(target: str, operand: str, *start: str) -> Line:
    return Line(target, PRODUCT, start, 4, (Term(operand, 4, f"W_{target}", 0, False),))


def line(target: str, function: str, *arguments: str, after: tuple[str, ...] = ()) -> Line:
    return Line(target, function, arguments, 4, after=after)


def passes(*part: Line, kept: tuple[str, ...] = ()) -> list[str]:
    """What each pass makes or stores; `a` and `c` are made elsewhere."""
    return [" ".join(each.target or each.function for each in lines) for lines in in_passes(part, kept)]


P, Q = product("p", "a"), product("q", "p")


def test_a_value_is_made_in_the_pass_that_reads_it() -> None:
    first, second = line("u", "sigmoid", "a"), line("v", "tanh", "c")
    assert passes(first, second, P, Q, line("h", "mix", "q", "u", "v")) == ["p", "u v q h"]
    assert passes(P, first, Q, second, line("h", "mix", "q", "u", "v")) == ["p", "u q v h"]


def test_a_value_with_two_readers_is_made_for_the_first() -> None:
    parts = P, line("v", "tanh", "a"), Q, line("s", "mul", "q", "v"), product("r", "s"), line("h", "mul", "r", "v")
    assert passes(*parts) == ["p", "v q s", "r h"]


def test_a_value_that_is_kept_anyway_stays() -> None:
    parts = P, line("v", "tanh", "a"), Q, line("h", "mul", "q", "v")
    assert passes(*parts, kept=("v",)) == ["p v", "q h"]


@pytest.mark.parametrize("whole", [product("v", "a"), line("v", "layer_norm", "a")], ids=["product", "norm"])
def test_what_threads_wait_for_stays(whole: Line) -> None:
    """A product runs beside others of its operand, and a norm of a later pass would be one more meeting of threads."""
    assert passes(P, whole, Q, line("h", "mul", "q", "v")) == ["p v", "q h"]


def test_what_a_product_or_a_norm_reads_is_there_before_its_pass() -> None:
    read_twice = line("v", "tanh", "a")
    assert passes(P, read_twice, product("q", "p", "v"), line("h", "mul", "q", "v")) == ["p v", "q h"]
    assert passes(read_twice, line("n", "layer_norm", "v"), line("h", "mul", "n", "v")) == ["v", "n h"]
    assert passes(P, read_twice, Q, product("r", "v"), line("h", "mix", "q", "r", "v")) == ["p v", "q r h"]


def test_a_value_is_not_moved_where_its_argument_would_have_to_be_kept() -> None:
    moved = line("v", "tanh", "p")  # the product of the next pass reads p as well
    assert passes(P, moved, Q, line("h", "mul", "q", "v")) == ["p", "v q h"]
    stays = line("v", "mul", "u", "a")
    assert passes(P, product("u", "a"), stays, Q, line("h", "mul", "q", "v")) == ["p u v", "q h"]
    assert passes(P, product("u", "a"), stays, Q, line("h", "mul", "q", "v"), kept=("u",)) == ["p u", "v q h"]
    later = P, Q, product("u", "p"), stays, product("r", "q"), line("h", "mul", "r", "v")
    assert passes(*later) == ["p", "q u v", "r h"]


def test_a_product_meets_the_norm_that_it_reads_in_one_pass() -> None:
    assert passes(line("n", "layer_norm", "a"), product("r", "n")) == ["n r"]


def test_a_value_is_stored_in_the_pass_that_makes_it() -> None:
    stored = line("", "store_y", "q"), line("", "store_next", "a")
    assert passes(P, Q, *stored, product("r", "q")) == ["p store_next", "q store_y", "r"]


CARRY = "%carry h"


def test_a_derivative_is_overwritten_in_the_pass_that_reads_it_last() -> None:
    read = P, line("d", "add", CARRY, "a"), Q, line("e", "mul", "q", CARRY)
    last = product("r", "e"), line("g", "mul", "r", "a")
    assert passes(*read, *last, line(CARRY, "copy", "c", after=(CARRY,))) == ["p d", f"q e {CARRY}", "r g"]
    assert passes(P, Q, line(CARRY, "copy", "c", after=(CARRY,))) == [f"p {CARRY}", "q"]


def test_what_reads_a_derivative_does_not_wait_until_it_is_overwritten() -> None:
    parts = P, line("d", "tanh", CARRY), Q, line("g", "mul", "q", "d"), line(CARRY, "copy", "a", after=(CARRY,))
    assert passes(*parts) == [f"p d {CARRY}", "q g"]
