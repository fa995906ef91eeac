"""From options to a language model, and its size before it is built."""

from __future__ import annotations

import math

from elman.architectures import LanguageModel
from elman.equations import Cell
from elman.tasks.cell_option import projection_sizes, refuse_absurd_size
from elman.tasks.language_model_options import LanguageModelConfig


def build_model(vocabulary_size: int, cell: Cell, config: LanguageModelConfig, seed: int) -> LanguageModel:
    """Build the model that resolved options describe."""
    init: dict[str, str | float] = {} if config.init is None else {"*": config.init}
    return LanguageModel(
        vocabulary_size,
        cell,
        config.layers,
        config.hidden_size or 1,
        config.embedding_size or 0,
        sizes=projection_sizes(cell, config.projection_size),
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


def checked_parameter_count(vocabulary_size: int, cell: Cell, config: LanguageModelConfig) -> int:
    """Return `parameter_count`, and refuse absurd sizes before anything of them is allocated.

    Raises:
        UsageError: there are more than two thousand million parameters.
    """
    count = parameter_count(vocabulary_size, cell, config)
    refuse_absurd_size(count)
    return count
