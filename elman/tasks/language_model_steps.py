"""What runs a language model over tokens: the engine's stepper, or torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from elman.architectures import LanguageModel
from elman.decoding import Choice, generate
from elman.layers import Recurrent
from elman.runtime.layer import Layer
from elman.runtime.stepper import Stepper

_PIECE = 256


def stepper_of(model: LanguageModel, precision: str) -> Stepper:
    """Return a model as the engine steps it; weights are packed now."""
    bias = model.head.bias
    layers = [
        Layer(
            layer.regularisers.cell(layer.cell, training=False),
            layer.input_size,
            layer.hidden_size,
            {name: weight.detach().numpy() for name, weight in layer.weights.items()},
            layer.sizes,
            model.recurrent.residual and layer.input_size == layer.output_size,
        )
        for layer in model.recurrent.layers
        if isinstance(layer, Recurrent)
    ]
    return Stepper(
        layers,
        model.head.weight.detach().numpy(),
        None if bias is None else bias.detach().numpy(),
        None if model.embedding is None else model.embedding.weight.detach().numpy(),
        precision=precision,
    )


class TorchSteps:
    """A model run by torch, step by step: the reference, and what there is without the engine.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @torch.no_grad()
    def generate(
        self,
        prompt: Sequence[int],
        length: int,
        *,
        samples: int = 1,
        seed: int = 0,
        choice: Choice | None = None,
        finished: Callable[[list[int]], bool] | None = None,
        never: int | None = None,
    ) -> list[list[int]]:
        """Write tokens after a prompt; see elman.decoding.generate."""

        def step(tokens: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
            logits, after = self.model.step(tokens, state)
            if never is not None:
                logits[:, never] = -torch.inf
            return logits, after

        return generate(step, None, prompt, length, samples=samples, seed=seed, choice=choice, finished=finished)

    @torch.no_grad()
    def following(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return for each sequence ln P of every token but its first after those before it."""
        return [self._following(list(tokens)) for tokens in sequences]

    def _following(self, tokens: list[int]) -> list[float]:
        state, logs = None, []
        for at in range(0, len(tokens) - 1, _PIECE):
            piece = torch.tensor(tokens[at : at + _PIECE + 1])  # (T + 1,)
            logits, state = self.model(piece[:-1].unsqueeze(0), state)
            found = torch.log_softmax(logits[0].double(), dim=-1).gather(1, piece[1:].unsqueeze(1))  # (T, 1)
            logs += found.squeeze(1).tolist()
        return logs
