"""The parts of a model folder's network as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman.equations import Cell
from elman.equations.rewrite import zoneout
from elman.equations.symbols import identifier
from elman.errors import ElmanError, ModelFileError
from elman.model_config import restored_cell
from elman.runtime.arrays import Arrays
from elman.runtime.layer import Layer
from elman.runtime.stack import Stack

MOST_LAYERS, LARGEST_LAYER = 1024, 65_536


def cell_of(config: Mapping[str, Any], where: str) -> Cell:
    """Return the cell that a config describes.

    Raises:
        ModelFileError: it describes none.
    """
    values = config.get("cell")
    if not isinstance(values, dict):
        raise ModelFileError(f"{where}: must describe a cell")
    try:
        return restored_cell(values)
    except (ElmanError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelFileError(f"{where}: must describe a cell; {first}") from None


def whole(options: Mapping[str, Any], name: str, least: int, most: int, where: str) -> int:
    """Return an option that is a whole number.

    Raises:
        ModelFileError: it is not, or outside its range.
    """
    value = options.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ModelFileError(f"{where}: {name} must be from {least} to {most:,}; got {str(value)[:40]}")
    return value


def stack_of(
    arrays: Arrays, prefix: str, cell: Cell, options: Mapping[str, Any], input_size: int | None, where: str
) -> Stack:
    """Return the recurrent part of a network.

    Args:
        arrays: Of the folder.
        prefix: Of its names: "recurrent" for recurrent.layers.0.W_f.
        cell: The cell of all layers.
        options: Of the model; layers, hidden_size, residual, zoneout and projection_size are read.
        input_size: I of the lowest layer; None to see it from the shapes of its weights.
        where: The file that holds the options, for errors.

    Raises:
        ModelFileError: the options and the arrays do not describe a stack.
    """
    hidden = whole(options, "hidden_size", 1, LARGEST_LAYER, where)
    sizes = {}
    if options.get("projection_size") is not None:
        sizes = dict.fromkeys(cell.free_sizes, whole(options, "projection_size", 1, LARGEST_LAYER, where))
    first = identifier(next(iter(cell.parameters(hidden, hidden, sizes)), ""))
    both = f"{prefix}.layers.0.forward_layer.{first}" in arrays
    if input_size is None:
        lowest = f"{prefix}.layers.0." + ("forward_layer." if both else "")
        size = _input_size(arrays, lowest, cell, hidden, sizes)
    else:
        size = input_size
    residual = options.get("residual", False)
    if type(residual) is not bool:
        raise ModelFileError(f"{where}: residual must be true or false; got {str(residual)[:40]}")
    layers = []
    # Parameters are those of the cell as it was given: only what happens between two steps differs.
    run = zoneout(cell, _probability(options, "zoneout", where)) if options.get("zoneout") else cell
    for n in range(whole(options, "layers", 1, MOST_LAYERS, where)):
        names = ("forward_layer.", "backward_layer.") if both else ("",)
        output = cell.output_size(size, hidden, sizes) * len(names)
        directions = []
        for reverse, name in enumerate(names):
            weights = {
                parameter: arrays.take(f"{prefix}.layers.{n}.{name}{identifier(parameter)}", shape)
                for parameter, shape in cell.parameters(size, hidden, sizes).items()
            }
            directions.append(Layer(run, size, hidden, weights, sizes, residual and output == size, bool(reverse)))
        layers.append(directions)
        size = output
    return Stack(layers)


def _probability(options: Mapping[str, Any], name: str, where: str) -> float:
    value = options.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise ModelFileError(f"{where}: {name} must be from 0 up to, not including, 1; got {str(value)[:40]}")
    return float(value)


def _input_size(arrays: Arrays, prefix: str, cell: Cell, hidden: int, sizes: Mapping[str, int]) -> int:
    """See I from the first parameter whose shape depends on it; one that adds input and state has I = H."""
    try:
        one, two = cell.parameters(1, hidden, sizes), cell.parameters(2, hidden, sizes)
    except ElmanError:
        return hidden
    for name, shape in one.items():
        for axis, (small, large) in enumerate(zip(shape, two[name], strict=True)):
            if small != large:
                return (arrays.shape(prefix + identifier(name), len(shape))[axis] - small) // (large - small) + 1
    return hidden
