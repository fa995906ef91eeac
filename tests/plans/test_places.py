"""Where values lie: which of them in rows, and which place is used again by whom. One too many gives right numbers."""

from __future__ import annotations

from elman.plans.lines import PRODUCT, Line, Term, before, rounded
from elman.plans.storage import END, assign_slots, assign_tiles, rows_needed


def product(target: str, operand: str) -> Line:
    return Line(target, PRODUCT, (), 4, (Term(operand, 4, f"W_{target}", 0, False),))


def line(target: str, function: str, *arguments: str) -> Line:
    return Line(target, function, arguments, 4)


FIRST = [product("p", before("h")), line("v", "tanh", "p")]
SECOND = [product("q", "v"), line("w", "mul", "q", "c"), line("h", "add", "w", "p"), line("", "store_next", "h")]


def test_rows_hold_what_is_read_whole_or_by_another_pass() -> None:
    found = rows_needed([[[line("c", "load_x")]], [FIRST, SECOND]], ["h", "s"], [])
    assert found == {
        before("h"): (-1, END),  # a product reads it
        "c": (0, 4),  # from one part to the next
        "p": (1, 5),  # from pass to pass
        "v": (2, END),  # a product reads it
    }


def test_rows_hold_what_norms_and_gradients_read_and_what_norms_make() -> None:
    norm = [line("c", "load_x"), line("n", "layer_norm", "c"), line("h", "mul", "n", before("s"))]
    assert rows_needed([[norm]], ["s"], ["h"]) == {before("s"): (-1, END), "c": (0, END), "n": (1, END), "h": (2, END)}
    kept = rows_needed([[norm]], ["s"], [rounded(before("s"))])
    assert kept.keys() == {before("s"), rounded(before("s")), "c", "n"}


def test_a_value_takes_the_place_of_one_whose_last_reader_makes_it() -> None:
    wanted = {"late": (5, 9), "first": (-1, 2), "beside": (1, 5), "after": (2, END), "wide": (9, 9), "last": (9, 9)}
    found = assign_slots(wanted, dict.fromkeys(wanted, 4) | {"wide": 8}, None)
    assert found.slot_of == {"first": 0, "beside": 1, "after": 0, "late": 1, "wide": 2, "last": 1}
    assert found.widths == [4, 4, 8]


def test_rounded_values_take_the_place_of_nobody() -> None:
    wanted = {"a": (0, 1), rounded("a"): (1, END), "b": (2, 3)}
    found = assign_slots(wanted, dict.fromkeys(wanted, 4), lambda width: width)
    assert found.slot_of == {"a": 0, rounded("a"): 1, "b": 0}
    assert assign_slots(wanted, dict.fromkeys(wanted, 4), lambda width: 3 * width).widths == [4, 12]


def test_registers_are_used_again_but_not_by_products() -> None:
    """A product runs before all that is pointwise, whatever its number: no register is free by then."""
    lines = [
        product("p", "a"),
        product("q", "a"),
        product("r", "a"),
        line("v", "tanh", "p"),
        line("w", "mul", "v", "q"),
    ]
    lines += [line("stored", "mul", "w", "r"), line("%carry h", "copy", "w"), line("", "store_y", "v")]
    lines += [line("x", "exp", "v"), line("y", "mul", "x", "x"), line("", "store_next", "y")]
    found, count = assign_tiles(lines, {"stored": 3})
    assert found == {"p": 0, "q": 1, "r": 2, "v": 0, "w": 1, "x": 0, "y": 0} and count == 3
