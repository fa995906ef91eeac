"""The drawing of an unrolled cell: what it says, and that its boxes and lines do not collide."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from elman.equations import Cell
from elman.equations.drawing import svg
from elman.equations.layout import GAP, Box, place, rising
from elman.equations.marks import markup, set_lines, text_width

GRU = """r = sigmoid(W_r [c<t-1>, x] + b_r)
u = sigmoid(W_u [c<t-1>, x] + b_u)
c~ = tanh(W_c [r * c<t-1>, x] + b_c)
c<t> = u * c~ + (1 - u) * c<t-1>"""
LSTM = """i = sigmoid(W_i [h<t-1>, x] + b_i)
f = sigmoid(W_f [h<t-1>, x] + b_f)
g = tanh(W_g [h<t-1>, x] + b_g)
o = sigmoid(W_o [h<t-1>, x] + b_o)
c = f * c<t-1> + i * g
h = o * tanh(c)"""
RNN = "a = tanh(W_aa a<t-1> + W_ax x + b_a)"
SVG = "{http://www.w3.org/2000/svg}"


def _texts(document: str) -> list[str]:
    root = ElementTree.fromstring(document)
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def _boxes(document: str) -> list[tuple[float, float, float, float]]:
    root = ElementTree.fromstring(document)
    found = [e for e in root.iter(f"{SVG}rect") if (e.get("class") or "").startswith("box")]
    return [tuple(float(e.get(key, "")) for key in ("x", "y", "width", "height")) for e in found]  # type: ignore[misc]


def test_every_equation_is_written_in_the_drawing() -> None:
    texts = _texts(svg(Cell(GRU, name="gru")))
    assert "r = σ(Wr [c⟨t−1⟩, x] + br)" in texts
    assert "c⟨t⟩ = u ⊙ c\u0303 + (1 − u) ⊙ c⟨t−1⟩" in texts
    assert texts.count("gru") == 2, "the steps before and after are drawn closed, under the cell's name"


@pytest.mark.parametrize("text", [GRU, LSTM, RNN])
def test_three_steps_have_inputs_and_outputs(text: str) -> None:
    cell = Cell(text)
    texts = _texts(svg(cell))
    for time in ("⟨t−1⟩", "⟨t⟩", "⟨t+1⟩"):
        assert f"{cell.input}{time}" in texts and f"{cell.output}{time}" in texts


@pytest.mark.parametrize("text", [GRU, LSTM, RNN])
def test_boxes_do_not_overlap_and_stay_inside_the_picture(text: str) -> None:
    document = svg(Cell(text))
    size = re.search(r'viewBox="0 0 (\d+) (\d+)" width', document)
    assert size is not None
    boxes = _boxes(document)
    for x, y, width, height in boxes:
        assert x >= 0 and y >= 0 and x + width <= int(size[1]) and y + height <= int(size[2])
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_a_state_leaves_as_high_as_it_enters() -> None:
    boxes = _boxes(svg(Cell(LSTM)))
    left = sorted(y for x, y, _, _ in boxes if x < 300)[:2]
    right = sorted(y for x, y, _, _ in boxes if x > 1000)
    assert left == right


def test_lines_are_exactly_what_the_equations_read() -> None:
    # i, f, g and o read h and x; c reads f, c<t-1>, i, g; h reads o and c; h and c leave: 8 + 4 + 2 + 2, and between
    # the steps 4 rails for each of two states, 3 inputs and 3 outputs.
    root = ElementTree.fromstring(svg(Cell(LSTM)))
    lines = [e for e in root.iter(f"{SVG}path") if (e.get("class") or "").startswith("line")]
    assert len(lines) == 16 + 8 + 6


def test_a_hostile_name_stays_text() -> None:
    document = svg(Cell(RNN, name='<script>alert("x")</script>&'))
    root = ElementTree.fromstring(document)
    assert not list(root.iter(f"{SVG}script"))
    assert '<script>alert("x")</script>&' in _texts(document)


def test_an_output_that_is_no_state_is_drawn_and_tall_cells_fit() -> None:
    gates = "\n".join(f"k_{n} = sigmoid(W_{n} x + b_{n})" for n in range(6))
    total = " + ".join(f"k_{n} * k_{n}" for n in range(6))
    cell = Cell(f"{gates}\nc = c<t-1> * k_0 + ({total})\nh = tanh(c) * k_1")
    texts = _texts(svg(cell))
    assert cell.output == "h" and "h⟨t⟩" in texts
    assert any(text.startswith("c⟨t⟩ =") for text in texts)


def test_long_equations_are_broken_before_an_operator() -> None:
    text = "c = " + " + ".join(f"W_{n} x" for n in range(40))
    lines = set_lines(text)
    assert len(lines) > 3
    assert all(text_width(line) <= 360 for line in lines)
    assert all(line[0].text.startswith("+") for line in lines[1:])
    assert "".join(p.text for line in lines for p in line) == "".join(p.text for p in markup(text))


def test_names_are_typeset() -> None:
    assert [(piece.text, piece.style) for piece in markup("Gamma_u")] == [("Γ", "italic"), ("u", "italic small")]
    assert [piece.text for piece in markup("c~<t-1>")] == ["c\u0303", "⟨t−1⟩"]
    assert [(piece.text, piece.style) for piece in markup("sigmoid")] == [("σ", "upright")]


def test_rising_is_the_nearest_sequence_that_never_falls() -> None:
    values = [3.0, 1.0, 2.0, 5.0, 4.0]
    found = rising(values)
    grid = [n / 2 for n in range(2, 11)]
    best = min(
        sum((a - b) ** 2 for a, b in zip(values, candidate, strict=True))
        for candidate in itertools.combinations_with_replacement(grid, 5)
    )
    assert found == sorted(found)
    assert sum((a - b) ** 2 for a, b in zip(values, found, strict=True)) == pytest.approx(best)


def test_place_keeps_distances_and_layers() -> None:
    boxes = [Box(name, layer, 40, 20) for layer, names in enumerate(("ab", "cde", "f")) for name in names]
    layout = place(boxes, [("a", "c"), ("b", "d"), ("b", "e"), ("c", "f"), ("a", "f")], {"a": "f"}, 30)
    for layer in layout.layers:
        placed = [layout.boxes[name] for name in layer]
        for above, below in itertools.pairwise(placed):
            assert below.y - above.y >= (above.height + below.height) / 2 + GAP - 1e-9
    assert layout.boxes["a"].y == layout.boxes["f"].y
    assert layout.boxes["c"].x - layout.boxes["a"].x == 70
    assert layout.paths["a", "f"] == ["a", "a in layer 1", "f"]
