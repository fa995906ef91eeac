"""A cell unrolled over three steps, as SVG: its equations as boxes, what reads what as lines."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from elman.equations.cell import Cell
from elman.equations.expressions import Equation, Symbol, walk
from elman.equations.layout import Box, Layout, place
from elman.equations.marks import Line, Piece, markup, set_lines, text_width
from elman.equations.printing import plain_equation

PILL, LINE_HEIGHT, PADDING, COLUMN_GAP = 30.0, 21.0, 26.0, 54.0
SIDE, BETWEEN, MARGIN, STUB = 120.0, 76.0, 28.0, 46.0

STYLE = """
  text { font-family: "STIX Two Text", "Latin Modern Roman", Cambria, Georgia, "DejaVu Serif", serif; font-size: 15px;
         fill: #1c2530; }
  .upright { font-style: normal; } .italic { font-style: italic; } .small { font-size: 10.5px; }
  .frame { fill: #f6f8fa; stroke: #8a97a6; stroke-width: 1.4; }
  .box { stroke: #5b6876; stroke-width: 1.1; }
  .gate { fill: #fdf0c4; } .squash { fill: #fbdcc8; } .linear { fill: #dce9f7; } .pill { fill: #ffffff; }
  .line { fill: none; stroke-width: 1.5; } .state { stroke: #2f6db3; } .input { stroke: #3b8a4b; }
  .value { stroke: #97602b; } .out { stroke: #7a3e8f; }
"""

COLOURS = {"state": "#2f6db3", "input": "#3b8a4b", "value": "#97602b", "out": "#7a3e8f"}
GATES = ("sigmoid", "hard_sigmoid")
SQUASHERS = ("tanh", "relu", "hard_tanh", "softplus", "elu", "silu", "gelu", "sin", "cos", "exp")


class _Content(NamedTuple):
    lines: list[Line]
    kind: str


def svg(cell: Cell) -> str:
    """Draw a cell at steps t-1, t and t+1; the middle one shows its equations.

    Returns:
        An SVG document of its own, without scripts or references.
    """
    contents = _contents(cell)
    layout = _layout(cell, contents)
    return _document(cell, layout, contents)


# ---- what is drawn


def _contents(cell: Cell) -> dict[str, _Content]:
    found = {f"{state}<t-1>": _Content([markup(f"{state}<t-1>")], "pill") for state in cell.states}
    found |= {name: _Content([markup(f"{name}<t>")], "pill") for name in (*cell.masks, cell.input)}
    for equation in cell.forward_equations:
        text = plain_equation(equation, cell.states)
        found[equation.name] = _Content(set_lines(text), _kind(equation))
    for name in _leaving(cell):
        found[f"{name} leaves"] = _Content([markup(f"{name}<t>")], "pill")
    return found


def _leaving(cell: Cell) -> list[str]:
    """What leaves the step on the right, the output first."""
    return [cell.output, *(state for state in cell.states if state != cell.output)]


def _kind(equation: Equation) -> str:
    function = getattr(equation.expression, "function", "")
    return "gate" if function in GATES else "squash" if function in SQUASHERS else "linear"


def _reads(cell: Cell, equation: Equation) -> list[str]:
    defined = {e.name for e in cell.forward_equations}
    known = {cell.input, *cell.masks}
    found: dict[str, None] = {}
    for node in walk(equation.expression):
        if isinstance(node, Symbol) and (node.time == -1 or node.name in defined or node.name in known):
            found[node.key] = None
    return list(found)


# ---- where it is drawn


def _layout(cell: Cell, contents: dict[str, _Content]) -> Layout:
    layers, lines = _layers(cell), _lines(cell)
    last = max(layers.values()) + 1
    order = [*(f"{name}<t-1>" for name in _leaving(cell) if name in cell.states), *cell.masks, cell.input]
    boxes = [_box(name, 0, contents) for name in order]
    boxes += [_box(e.name, layers[e.name], contents) for e in cell.forward_equations]
    boxes += [_box(f"{name} leaves", last, contents) for name in _leaving(cell)]
    ties = {f"{state}<t-1>": f"{state} leaves" for state in cell.states}
    return place(boxes, lines, ties, COLUMN_GAP)


def _layers(cell: Cell) -> dict[str, int]:
    layers: dict[str, int] = {}
    for equation in cell.forward_equations:
        layers[equation.name] = 1 + max((layers.get(name, 0) for name in _reads(cell, equation)), default=0)
    return layers


def _lines(cell: Cell) -> list[tuple[str, str]]:
    inside = [(name, e.name) for e in cell.forward_equations for name in _reads(cell, e)]
    return inside + [(name, f"{name} leaves") for name in _leaving(cell)]


def _box(name: str, layer: int, contents: dict[str, _Content]) -> Box:
    lines, kind = contents[name]
    widest = max(text_width(line) for line in lines)
    if kind == "pill":
        return Box(name, layer, max(46.0, widest + 20), PILL)
    return Box(name, layer, widest + PADDING, LINE_HEIGHT * len(lines) + 13)


# ---- SVG


def _document(cell: Cell, layout: Layout, contents: dict[str, _Content]) -> str:
    inner_left = MARGIN + SIDE + BETWEEN
    frame_width, frame_height = layout.width + 2 * 24, layout.height + 2 * 26
    width = 2 * (MARGIN + SIDE + BETWEEN) + frame_width
    top = MARGIN + STUB
    height = top + frame_height + STUB + MARGIN
    for box in layout.boxes.values():
        box.x += inner_left + 24
        box.y += top + 26
    frames = [(MARGIN, SIDE), (inner_left, frame_width), (inner_left + frame_width + BETWEEN, SIDE)]
    parts = [_frame(left, top, wide, frame_height) for left, wide in frames]
    parts += [_side_name(cell, left, top, wide, frame_height) for left, wide in (frames[0], frames[2])]
    parts += _rails(cell, layout, frames)
    parts += _stubs(cell, layout, frames, top, frame_height)
    parts += [_path(cell, layout, names) for names in layout.paths.values()]
    parts += [_drawn(box, contents[box.name]) for box in layout.boxes.values() if not box.is_lane]
    return _wrap(cell, width, height, parts)


def _wrap(cell: Cell, width: float, height: float, parts: list[str]) -> str:
    size = f"{width:.0f} {height:.0f}"
    markers = "".join(
        f'<marker id="to-{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0.6 L7.4,4 L0,7.4 z" fill="{colour}"/></marker>'
        for name, colour in COLOURS.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img"><title>{escape(cell.name)}, unrolled</title><desc>{escape(cell.plain())}</desc>\n'
        f"<style>{STYLE}</style><defs>{markers}</defs>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _frame(left: float, top: float, width: float, height: float) -> str:
    return f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="14"/>'


def _side_name(cell: Cell, left: float, top: float, width: float, height: float) -> str:
    x, y = left + width / 2, top + height / 2 + 6
    wide = text_width([Piece(cell.name, "italic")])
    size = 17.0 * min(1.0, 0.8 * width / wide) if wide else 17.0
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle" style="font-size: {size:.1f}px"'
    return f'<text class="italic" {place}>{escape(cell.name)}</text>'


def _drawn(box: Box, content: _Content) -> str:
    x, y = box.x - box.width / 2, box.y - box.height / 2
    radius = PILL / 2 if content.kind == "pill" else 6
    shape = (
        f'<rect class="box {content.kind}" x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{radius:.1f}"/>'
    )
    first = box.y + 5 - LINE_HEIGHT * (len(content.lines) - 1) / 2
    texts = [_text(box.x, first + LINE_HEIGHT * n, line) for n, line in enumerate(content.lines)]
    return shape + "".join(texts)


def _text(x: float, y: float, line: Line) -> str:
    spans, shift = [], 0.0
    for piece in line:
        move = f' dy="{piece.rise - shift:.1f}"' if piece.rise != shift else ""
        shift = piece.rise
        spans.append(f'<tspan class="{piece.style}"{move}>{escape(piece.text)}</tspan>')
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" xml:space="preserve">{"".join(spans)}</text>'


def _path(cell: Cell, layout: Layout, names: list[str]) -> str:
    kind = _line_kind(cell, names[0])
    start, end = layout.boxes[names[0]], layout.boxes[names[-1]]
    x, y = start.x + start.width / 2, start.y
    commands = [f"M{x:.1f},{y:.1f}"]
    for name in names[1:]:
        box = layout.boxes[name]
        left = box.x - box.width / 2
        commands.append(_curve(x, y, left, box.y))
        x, y = box.x + box.width / 2, box.y
        if box.is_lane:
            commands.append(f"L{x:.1f},{y:.1f}")
    arrow = "" if end.name.endswith(" leaves") else f' marker-end="url(#to-{kind})"'
    return f'<path class="line {kind}" d="{" ".join(commands)}"{arrow}/>'


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (x + to_x) / 2
    return f"C{middle:.1f},{y:.1f} {middle:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}"


def _line_kind(cell: Cell, name: str) -> str:
    if name.endswith("<t-1>") or name in cell.states:
        return "state"
    return "input" if name in (cell.input, *cell.masks) else "value"


def _rails(cell: Cell, layout: Layout, frames: list[tuple[float, float]]) -> list[str]:
    """Lines that carry the states between the steps."""
    (left, wide), _, (right, right_wide) = frames
    parts = []
    for state in cell.states:
        box, out = layout.boxes[f"{state}<t-1>"], layout.boxes[f"{state} leaves"]
        enters, leaves = box.x - box.width / 2, out.x + out.width / 2
        parts.append(_rail(0.0, box.y, left, box.y))
        parts.append(_rail(left + wide, out.y, enters, box.y))
        parts.append(_rail(leaves, out.y, right, box.y))
        parts.append(_rail(right + right_wide, out.y, right + right_wide + MARGIN, out.y))
    return parts


def _rail(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="line state" d="M{x:.1f},{y:.1f} {_curve(x, y, to_x, to_y)}" marker-end="url(#to-state)"/>'


def _stubs(cell: Cell, layout: Layout, frames: list[tuple[float, float]], top: float, height: float) -> list[str]:
    """Inputs from below and outputs to above, for each of the three steps."""
    source, sink = layout.boxes[cell.input], layout.boxes[f"{cell.output} leaves"]
    parts = []
    for (left, wide), time in zip(frames, ("<t-1>", "<t>", "<t+1>"), strict=True):
        is_middle = time == "<t>"
        enter = source.x if is_middle else left + wide / 2
        leave = sink.x if is_middle else left + wide / 2
        floor = source.y + PILL / 2 if is_middle else top + height
        ceiling = sink.y - PILL / 2 if is_middle else top
        bottom = top + height + STUB - 16
        parts.append(_arrow("input", enter, bottom, enter, floor))
        parts.append(_text(enter, bottom + 18, markup(f"{cell.input}{time}")))
        parts.append(_arrow("out", leave, ceiling, leave, top - STUB + 16))
        parts.append(_text(leave, top - STUB + 8, markup(f"{cell.output}{time}")))
    return parts


def _arrow(kind: str, x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="line {kind}" d="M{x:.1f},{y:.1f} L{to_x:.1f},{to_y:.1f}" marker-end="url(#to-{kind})"/>'
