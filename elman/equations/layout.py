"""Places for the boxes of a drawing: layers from left to right, few crossings, straight lines where possible.

Source: Sugiyama, Tagawa and Toda 1981 (layers, reserved lanes for long lines, ordering by barycentres); the heights
solve a least-squares problem with minimum distances, by pooling adjacent violators.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LANE = 10.0
GAP = 16.0
SWEEPS = 24


@dataclass
class Box:
    """A box of a drawing; `x` and `y` are those of its centre and are set by `place`.

    Args:
        name: Identifies the box.
        layer: Column, from 0.
        width: Width.
        height: Height.
        is_lane: True for a place that only keeps room for a line.
    """

    name: str
    layer: int
    width: float
    height: float
    is_lane: bool = False
    x: float = 0.0
    y: float = 0.0


@dataclass
class Layout:
    """Boxes and lines: `paths` holds, for each pair of boxes, the boxes and lanes that the line passes."""

    boxes: dict[str, Box]
    paths: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    layers: list[list[str]] = field(default_factory=list)
    neighbours: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def width(self) -> float:
        """Distance from the left edge of the first layer to the right edge of the last."""
        last = max(self.boxes.values(), key=lambda box: box.x + box.width / 2)
        return last.x + last.width / 2

    @property
    def height(self) -> float:
        """Distance from the top of the highest box to the bottom of the lowest; `place` puts the top at 0."""
        return max(box.y + box.height / 2 for box in self.boxes.values())


def place(boxes: Sequence[Box], lines: Sequence[tuple[str, str]], ties: Mapping[str, str], column_gap: float) -> Layout:
    """Give every box its place.

    Args:
        boxes: The boxes, in the wished order from top to bottom within the first and the last layer, which is kept.
        lines: Pairs of names, from a layer to a later one.
        ties: Boxes of the first layer that should be as high as one of the last, {"c<t-1>": "c<t>"}.
        column_gap: Room between layers.

    Returns:
        The boxes with their places, and the way of every line.
    """
    layout = Layout({box.name: box for box in boxes})
    for line in lines:
        _reserve(layout, line)
    count = 1 + max(box.layer for box in layout.boxes.values())
    layout.layers = [[b.name for b in layout.boxes.values() if b.layer == n] for n in range(count)]
    _start(layout)
    for sweep in range(SWEEPS):
        order = range(count) if sweep % 2 else reversed(range(count))
        for n in order:
            _improve(layout, n, reorder=0 < n < count - 1 and sweep < SWEEPS - 4)
        _tie(layout, ties)
    _level(layout, ties)
    _columns(layout, column_gap)
    top = min(box.y - box.height / 2 for box in layout.boxes.values())
    for box in layout.boxes.values():
        box.y -= top
    return layout


def _reserve(layout: Layout, line: tuple[str, str]) -> None:
    start, end = (layout.boxes[name] for name in line)
    names = [start.name]
    for layer in range(start.layer + 1, end.layer):
        # Lines from one box to several ends share their lanes.
        lane = Box(f"{start.name} in layer {layer}", layer, 0.0, LANE, is_lane=True)
        layout.boxes.setdefault(lane.name, lane)
        names.append(lane.name)
    names.append(end.name)
    layout.paths[line] = names
    for one, other in itertools.pairwise(names):
        layout.neighbours[one].append(other)
        layout.neighbours[other].append(one)


def _start(layout: Layout) -> None:
    for layer in layout.layers:
        y = 0.0
        for name in layer:
            layout.boxes[name].y = y
            y += layout.boxes[name].height + GAP


def _improve(layout: Layout, n: int, reorder: bool) -> None:
    layer = layout.layers[n]
    wished = {name: _mean(layout, name) for name in layer}
    if reorder:
        layer.sort(key=lambda name: wished[name])
    _settle(layout, layer, wished)


def _mean(layout: Layout, name: str) -> float:
    heights = [layout.boxes[other].y for other in layout.neighbours[name]]
    return sum(heights) / len(heights) if heights else layout.boxes[name].y


def _settle(layout: Layout, layer: list[str], wished: Mapping[str, float]) -> None:
    """Set heights as near to the wished ones as the order and the minimum distances allow."""
    offsets, total = [], 0.0
    for index, name in enumerate(layer):
        if index:
            total += (layout.boxes[layer[index - 1]].height + layout.boxes[name].height) / 2 + GAP
        offsets.append(total)
    levels = rising([wished[name] - offset for name, offset in zip(layer, offsets, strict=True)])
    for name, level, offset in zip(layer, levels, offsets, strict=True):
        layout.boxes[name].y = level + offset


def rising(values: Sequence[float]) -> list[float]:
    """Return the sequence that never falls and is nearest to `values` in least squares."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pool = (value, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, count = pools.pop()
            pool = ((mean * count + pool[0] * pool[1]) / (count + pool[1]), count + pool[1])
        pools.append(pool)
    return [mean for mean, count in pools for _ in range(count)]


def _tie(layout: Layout, ties: Mapping[str, str]) -> None:
    middles = {one: (layout.boxes[one].y + layout.boxes[other].y) / 2 for one, other in ties.items()}
    wished = {**middles, **{other: middles[one] for one, other in ties.items()}}
    for layer in (layout.layers[0], layout.layers[-1]):
        _settle(layout, layer, {name: wished.get(name, layout.boxes[name].y) for name in layer})


def _level(layout: Layout, ties: Mapping[str, str]) -> None:
    """Put tied boxes at exactly one height; what stands above them in the last layer moves up where it must."""
    for one, other in ties.items():
        layout.boxes[other].y = layout.boxes[one].y
    below = None
    for name in reversed(layout.layers[-1]):
        box = layout.boxes[name]
        if below is not None:
            box.y = min(box.y, below.y - (below.height + box.height) / 2 - GAP)
        below = box


def _columns(layout: Layout, gap: float) -> None:
    left = 0.0
    for layer in layout.layers:
        width = max(layout.boxes[name].width for name in layer)
        for name in layer:
            box = layout.boxes[name]
            box.x = left + width / 2
            if box.is_lane:
                box.width = width
        left += width + gap
