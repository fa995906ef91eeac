"""First values of parameters, by name; a matrix over a concatenation is filled block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from elman.equations import Cell
from elman.errors import UsageError, nearest


def _orthogonal(block: Tensor, generator: torch.Generator) -> None:
    """Q of a normal matrix (Saxe et al. 2014); rows or columns are orthonormal."""
    if block.is_meta:
        return
    rows, columns = block.shape
    normal = torch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    q = q * torch.sign(torch.diagonal(r))
    block.copy_(q if rows >= columns else q.T)


def _glorot(block: Tensor, generator: torch.Generator) -> None:
    """Uniform within sqrt(6 / (rows + columns)) (Glorot and Bengio 2010, equation 16)."""
    bound = math.sqrt(6.0 / sum(block.shape)) if block.dim() == 2 else math.sqrt(3.0 / block.shape[0])
    fill_uniform(block, bound, generator)


def _uniform(block: Tensor, generator: torch.Generator) -> None:
    """Uniform within 1 / sqrt(rows), as torch.nn's recurrent layers."""
    fill_uniform(block, 1.0 / math.sqrt(block.shape[0]), generator)


def fill_uniform(block: Tensor, bound: float, generator: torch.Generator) -> None:
    """Fill with numbers within +-bound; of a tensor without memory nothing, for torch would import its compiler."""
    if block.is_meta:
        return
    draws = torch.rand(block.shape, generator=generator, dtype=torch.float64)
    block.copy_((2 * draws - 1) * bound)


def fill_normal(block: Tensor, generator: torch.Generator) -> None:
    """Fill with normal numbers of mean 0 and variance 1; of a tensor without memory nothing, as above."""
    if block.is_meta:
        return
    block.copy_(torch.randn(block.shape, generator=generator, dtype=torch.float64))


def _identity(block: Tensor, generator: torch.Generator) -> None:
    """Ones on the diagonal (Le et al. 2015)."""
    block.copy_(torch.eye(*block.shape))


def _zeros(block: Tensor, generator: torch.Generator) -> None:
    block.zero_()


def _ones(block: Tensor, generator: torch.Generator) -> None:
    block.fill_(1.0)


INITIALISERS: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "orthogonal": _orthogonal,
    "glorot": _glorot,
    "uniform": _uniform,
    "identity": _identity,
    "zeros": _zeros,
    "ones": _ones,
}
"""Initialisers by name; a number in place of a name fills with that number, "uniform:0.1" draws within +-0.1."""

MATRICES_ONLY = ("orthogonal", "identity")
"""Initialisers that mean nothing for a vector."""


def check_initialiser(where: str, value: str | float, dimensions: int = 2) -> None:
    """Refuse what is neither an initialiser nor a number.

    Args:
        where: What is initialised, for errors.
        value: A name, "uniform:BOUND", or a number.
        dimensions: 2 for a matrix, 1 for a vector.

    Raises:
        UsageError: the value is none of these, or does not apply to a vector.
    """
    known = ", ".join(INITIALISERS)
    if not (isinstance(value, str) and value in INITIALISERS) and _number(value) is None:
        close = nearest(value, INITIALISERS) if isinstance(value, str) else ""
        raise UsageError(
            f"{where}: must be a finite number, 'uniform:BOUND' or one of {known}; got {value!r}{close}",
            "numbers must be such that float32 holds them, a bound at least 0" if _is_number(value) else None,
        )
    if dimensions == 1 and value in MATRICES_ONLY:
        raise UsageError(
            f"{where}: {value!r} is for matrices; this parameter is a vector",
            "use 'zeros', 'ones', 'uniform', 'uniform:BOUND' or a number",
        )


def _number(value: str | float) -> float | None:
    """A number that float32 holds, or the bound, at least 0, after "uniform:"; None for anything else."""
    if not isinstance(value, str):
        return held(value)
    bound = held(value.removeprefix("uniform:")) if value.startswith("uniform:") else None
    return bound if bound is not None and bound >= 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or str(value).startswith("uniform:")


def held(value: str | float) -> float | None:
    """Return a number that float32 holds; None for one that is not finite in it, or for something else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= torch.finfo(torch.float32).max else None


def initialise(
    cell: Cell,
    weights: Mapping[str, Tensor],
    widths: Mapping[str, int],
    init: Mapping[str, str | float],
    generator: torch.Generator,
) -> None:
    """Fill the parameters of a cell in place.

    `init` of the layer comes before that of the cell; without either, columns over the input are Glorot, square blocks
    over a state orthogonal, biases zero, elementwise weights uniform.

    Args:
        cell: The cell.
        weights: Tensors by name.
        widths: Value of every size symbol.
        init: Initialiser or number by parameter name; "*" for all that are not named ("orthogonal" and "identity": for
            all matrices that are not named).
        generator: Source of the draws.

    Raises:
        UsageError: `init` names a parameter or an initialiser that does not exist, or one that does not apply.
    """
    _check_names(cell, weights, init)
    for name, weight in weights.items():
        others = init.get("*") if weight.dim() == 2 or init.get("*") not in MATRICES_ONLY else None
        chosen = init.get(name, cell.init.get(name) if others is None else others)
        with torch.no_grad():
            for part, usual in _parts(cell, name, weight, widths):
                _fill(part, usual if chosen is None else chosen, generator)


def _check_names(cell: Cell, weights: Mapping[str, Tensor], init: Mapping[str, str | float]) -> None:
    for name, value in init.items():
        if name != "*" and name not in weights:
            raise UsageError(
                f"init: must name parameters of {cell.name!r}: {', '.join(weights)}; "
                f"got {name!r}{nearest(name, weights)}"
            )
        check_initialiser(f"init[{name!r}]", value, 2 if name == "*" else weights[name].dim())
    for name, value in cell.init.items():
        check_initialiser(f"{cell.name}: init[{name!r}]", value, weights[name].dim())


def _parts(cell: Cell, name: str, weight: Tensor, widths: Mapping[str, int]) -> list[tuple[Tensor, str]]:
    """The blocks of a parameter, each with the initialiser it gets when nobody chose one."""
    if weight.dim() == 1:
        return [(weight, "zeros" if name.startswith("b") else "uniform")]
    blocks = cell.parameter_blocks(name)
    columns = torch.split(weight, [widths[b.size] for b in blocks], dim=1) if len(blocks) > 1 else (weight,)
    found = []
    for block, part in zip(blocks, columns, strict=True):
        square = part.shape[0] == part.shape[1] and block.kind != "input"
        found.append((part, "orthogonal" if square else "glorot"))
    return found


def _fill(part: Tensor, chosen: str | float, generator: torch.Generator) -> None:
    if not isinstance(chosen, str):
        part.fill_(float(chosen))
    elif chosen.startswith("uniform:"):
        fill_uniform(part, float(chosen.partition(":")[2]), generator)
    else:
        INITIALISERS[chosen](part, generator)
