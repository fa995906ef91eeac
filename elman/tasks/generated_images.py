"""Small made-up images with captions: shapes of a colour, alone or beside and above each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from elman.storage import make_folder, storing
from elman.tasks.generated import Choices, different, write_table

_SIZE = 32
_COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (240, 210, 50)}
_SHAPES = ("circle", "square", "triangle")
_RELATIONS = {"left of": ((16, 9), (16, 23)), "above": ((9, 16), (23, 16))}
_RADII = {"small": 4, "large": 11}
_RADIUS_OF_TWO = 6

Pixels = npt.NDArray[np.uint8]


def write_shapes(folder: Path, count: int = 1200) -> None:
    """Write PNG images of 32 x 32 pixels and captions.csv with columns path, caption and part."""
    choose = Choices("shapes")
    rows = []
    make_folder(folder)
    images = different(lambda: _image(choose), lambda image: image[0].tobytes(), count)
    for number, (pixels, caption) in enumerate(images):
        name, part = f"shape{number:04}.png", ("test", "validation", *["train"] * 8)[number % 10]
        with storing(folder / name):
            Image.fromarray(pixels).save(folder / name)
        rows.append((name, caption, part))
    write_table(folder / "captions.csv", ("path", "caption", "part"), rows)


def _image(choose: Choices) -> tuple[Pixels, str]:
    """An image, and what can be seen in it."""
    pixels = np.full((_SIZE, _SIZE, 3), 245, dtype=np.uint8)
    first, second = ((choose.one_of(sorted(_COLOURS)), choose.one_of(_SHAPES)) for _ in range(2))
    kind = choose.one_of(("alone", *_RELATIONS))
    if kind == "alone":
        size = choose.one_of(sorted(_RADII))
        _draw(pixels, *first, (16 + _nearby(choose), 16 + _nearby(choose)), _RADII[size])
        return pixels, f"a {size} {first[0]} {first[1]}"
    for (colour, shape), (row, column) in zip((first, second), _RELATIONS[kind], strict=True):
        _draw(pixels, colour, shape, (row + _nearby(choose), column + _nearby(choose)), _RADIUS_OF_TWO)
    return pixels, f"a {first[0]} {first[1]} {kind} a {second[0]} {second[1]}"


def _nearby(choose: Choices) -> int:
    """A few pixels, so that no two images need be the same."""
    return int(choose.one_of(("-2", "-1", "0", "1", "2")))


def _draw(pixels: Pixels, colour: str, shape: str, centre: tuple[int, int], radius: int) -> None:
    """Paint a shape around the row and column of its centre."""
    row, column = np.ogrid[:_SIZE, :_SIZE]
    down, right = row - centre[0], column - centre[1]
    inside = {
        "circle": down**2 + right**2 <= radius**2,
        "square": (abs(down) <= radius * 0.85) & (abs(right) <= radius * 0.85),
        "triangle": (abs(down) <= radius) & (2 * abs(right) <= down + radius),
    }
    pixels[inside[shape]] = _COLOURS[colour]
