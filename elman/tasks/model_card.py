"""The README.md of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from elman.equations import Cell
from elman.errors import counted


def language_model_card(cell: Cell, config: Mapping[str, Any], vocabulary_size: int, model: nn.Module) -> str:
    """Return a model card: what the model is, its equations, and how to use it."""
    count = sum(p.numel() for p in model.parameters())
    size = f"{counted(config['layers'], 'layer')} of {counted(config['hidden_size'], 'unit')}"
    return f"""---
library_name: elman
pipeline_tag: text-generation
---

# A language model of {config["level"]}s

{size} of the cell `{cell.name}`, {count:,} parameters, a
vocabulary of {vocabulary_size:,}. Made with Elman.

## The cell

```
{cell.plain()}
```

Source: {cell.source or "given by the user"}.

## Use

```
elman sample FOLDER --prompt "..." --temperature 0.8
elman score FOLDER sentences.txt
elman evaluate FOLDER text.txt
```

Metrics of the training run are in `metrics.json`. The model knows nothing but the text it was trained on.
"""


def supervised_card(task: str, summary: str, cell: Cell, model: nn.Module, config: Mapping[str, Any]) -> str:
    """Return a model card of a task by examples."""
    vectors = "" if config.get("vectors") is None else " and the word vectors that it began with"
    count = sum(p.numel() for p in model.parameters())
    return f"""---
library_name: elman
---

# {task}

{summary[0].upper()}{summary[1:]}. {count:,} parameters around the cell `{cell.name}`. Made with Elman.

## The cell

```
{cell.plain()}
```

Source: {cell.source or "given by the user"}.

## Use

```
elman predict FOLDER DATA
elman evaluate FOLDER DATA
```

Metrics of the training run are in `metrics.json`. The model knows nothing but the examples it was trained on{vectors}.
"""
