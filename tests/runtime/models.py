"""Language models for the tests of the stepper, and the same models as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from elman.architectures import LanguageModel
from elman.cells import cells
from elman.equations import Cell
from elman.runtime.layer import Layer
from elman.runtime.stepper import Stepper


def model_of(
    cell: Cell | str, vocabulary: int, embedding: int, hidden: int, layers: int, **options: Any
) -> LanguageModel:
    """Return a model whose logits differ enough for choices to mean something."""
    own = cells[cell] if isinstance(cell, str) else cell
    sizes = dict.fromkeys(own.free_sizes, 5)
    model = LanguageModel(vocabulary, own, layers, hidden, embedding, seed=1, sizes=sizes, **options).eval()
    with torch.no_grad():
        model.head.weight.mul_(4.0)
        assert model.head.bias is not None
        model.head.bias.uniform_(-1.0, 1.0, generator=torch.Generator().manual_seed(3))
    return model


def arrays_of(model: LanguageModel) -> dict[str, Any]:
    """Return what a Stepper is made of."""
    layers = [
        Layer(
            layer.cell,
            layer.input_size,
            layer.hidden_size,
            {name: w.detach().numpy() for name, w in layer.weights.items()},
            layer.sizes,
            model.recurrent.residual and layer.input_size == layer.output_size,
        )
        for layer in model.recurrent.layers
    ]
    bias = model.head.bias
    return {
        "layers": layers,
        "head": model.head.weight.detach().numpy(),
        "bias": None if bias is None else bias.detach().numpy(),
        "embedding": None if model.embedding is None else model.embedding.weight.detach().numpy(),
    }


def stepper_of(model: LanguageModel, **options: Any) -> Stepper:
    """Return the stepper of a model."""
    return Stepper(**arrays_of(model), **options)


def tokens_of(vocabulary: int, streams: int, steps: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return tokens (B, T)."""
    return np.random.Generator(np.random.PCG64(4)).integers(0, vocabulary, (streams, steps))
