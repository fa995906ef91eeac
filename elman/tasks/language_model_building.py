"""From options to a language model: its cell by name, file or equations, its sizes, and how its cell is saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from elman.architectures import LanguageModel
from elman.cells import cells
from elman.equations import Cell
from elman.errors import DataError, EquationError, MissingInputError, UsageError, nearest
from elman.readers import check_readable
from elman.tasks.language_model_options import LanguageModelConfig

MOST_PARAMETERS = 2_000_000_000


def read_cell(text: str) -> Cell:
    """Return the cell that an option names: of the catalogue, of a file, or by its equations.

    Raises:
        UsageError: no cell and no file has that name.
        EquationError: the equations do not describe a cell; with the file's name.
    """
    if text in cells:
        return cells[text]
    if "=" in text:
        return Cell(text)
    path = Path(text)
    if path.suffix in (".tex", ".txt", ".eq") or path.exists():
        if not path.exists():
            raise MissingInputError(f"{path}: must be a file of equations; there is no such file")
        check_readable(path)
        try:
            return Cell(path.read_text(encoding="utf-8"), name=path.stem)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: byte offset {error.start:,}: must be UTF-8") from None
        except EquationError as error:
            raise EquationError(f"{path}: {error.message}", error.hint) from None
    raise UsageError(
        f"cell: unknown name {text!r}{nearest(text, cells)}",
        f"known cells: {', '.join(sorted(cells))}; or a file .tex, or equations with '='",
    )


def describe_cell(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON values; its equations as text."""
    return {
        "name": cell.name,
        "equations": cell.plain(),
        "output": cell.output,
        "init": dict(cell.init),
        "source": cell.source,
    }


def build_model(vocabulary_size: int, cell: Cell, config: LanguageModelConfig, seed: int) -> LanguageModel:
    """Build the model that resolved options describe."""
    init: dict[str, str | float] = {} if config.init is None else {"*": config.init}
    if config.projection_size is not None and not cell.free_sizes:
        raise UsageError(
            f"projection_size: must have a declared size to set; the cell {cell.name!r} declares none",
            "use lstm_projected",
        )
    sizes = {} if config.projection_size is None else dict.fromkeys(cell.free_sizes, config.projection_size)
    return LanguageModel(
        vocabulary_size,
        cell,
        config.layers,
        config.hidden_size or 1,
        config.embedding_size or 0,
        sizes=sizes,
        dropout=config.dropout or 0.0,
        input_dropout=config.input_dropout,
        variational_dropout=config.variational_dropout,
        zoneout=config.zoneout,
        weight_drop=config.weight_drop,
        residual=config.residual,
        tied=config.tied,
        init=init,
        forget_bias=config.forget_bias,
        seed=seed,
    )


def parameter_count(vocabulary_size: int, cell: Cell, config: LanguageModelConfig) -> int:
    """Return how many parameters resolved options make, the shared matrix of tied weights counted twice."""
    hidden, size = config.hidden_size or 1, config.embedding_size or vocabulary_size
    sizes = dict.fromkeys(cell.free_sizes, config.projection_size or hidden)
    total = vocabulary_size * (config.embedding_size or 0)
    for _ in range(min(config.layers, 3)):
        count = sum(math.prod(shape) for shape in cell.parameters(size, hidden, sizes).values())
        size = cell.output_size(size, hidden, sizes)
        total += count
    total += max(config.layers - 3, 0) * count
    return total + vocabulary_size * (size + 1)


def check_parameter_count(vocabulary_size: int, cell: Cell, config: LanguageModelConfig) -> None:
    """Refuse absurd sizes before anything of them is allocated.

    Raises:
        UsageError: there are more than two thousand million parameters.
    """
    count = parameter_count(vocabulary_size, cell, config)
    if count > MOST_PARAMETERS:
        raise UsageError(
            f"model: must have at most {MOST_PARAMETERS:,} parameters; these sizes make {count:,}",
            "lower hidden_size, layers or vocabulary_size",
        )
