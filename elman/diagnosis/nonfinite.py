"""Find where numbers stop being finite: the step, the layer, the equation, and how large values were before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.architectures import LanguageModel
from elman.diagnosis.trace import Programme, in_order, walk
from elman.layers import Recurrent


@dataclass(frozen=True)
class NonFinite:
    """The first value that is NaN or infinite.

    Attributes:
        layer: "layer 1", "layer 2 backward", "embedding" or "head".
        step: Position in the sequence, from 0; None for a parameter.
        sequence: Index in the batch; None for a parameter.
        name: The variable, input or parameter.
        equation: The line of the cell that computes it, in plain notation; "" for an input or a parameter.
        value: "nan", "inf" or "-inf".
        largest: Largest magnitude among the finite values computed before it (for a parameter: among its own).
        largest_name: Where that magnitude stood.
    """

    layer: str
    step: int | None
    sequence: int | None
    name: str
    equation: str
    value: str
    largest: float
    largest_name: str

    def __str__(self) -> str:
        before = f"largest magnitude before it {self.largest:.3g} in {self.largest_name}"
        if self.step is None:
            return f"{self.layer}: parameter {self.name} holds {self.value}; {before}"
        where = f"{self.layer}, step {self.step}, sequence {self.sequence}"
        what = (
            f"equation {self.equation!r} gives {self.value}" if self.equation else f"input {self.name} is {self.value}"
        )
        return f"{where}: {what}; {before}"


@torch.no_grad()
def find_nonfinite(module: nn.Module, inputs: Tensor) -> NonFinite | None:
    """Run a model equation by equation in its own precision until a value is NaN or infinite.

    Parts are searched from input to output, in each one its parameters first, then step by step.

    Args:
        module: Recurrent, Bidirectional, Stack or LanguageModel; run as in evaluation.
        inputs: (B, T, I), or (B, T) token numbers for a language model.

    Returns:
        The first value found, or None when everything is finite.

    Raises:
        UsageError: the module is of another kind.
    """
    if isinstance(module, LanguageModel):
        return in_language_model(module, inputs)
    return in_layers(module, inputs)


def in_language_model(model: LanguageModel, tokens: Tensor) -> NonFinite | None:
    """Search embedding, recurrent layers and head of a language model; see `find_nonfinite`."""
    if model.embedding is not None and (bad := bad_parameter({"weight": model.embedding.weight}, "embedding")):
        return bad
    found = in_layers(model.recurrent, model.embed(tokens))
    return found or bad_parameter(dict(model.head.named_parameters()), "head")


def in_layers(module: nn.Module, x: Tensor) -> NonFinite | None:
    """Search recurrent layers; see `find_nonfinite`."""
    found: list[NonFinite] = []

    def run(layer: Recurrent, x: Tensor, name: str) -> Tensor:
        if not found and (bad := bad_parameter(layer.weights, name)):
            found.append(bad)
        return in_order(checked_outputs(Programme(layer, x.dtype), x, name, found), layer.reverse)

    walk(module, x, run)
    return found[0] if found else None


def bad_parameter(weights: Mapping[str, Tensor], part: str) -> NonFinite | None:
    """Return the first parameter of a part of the model that holds a value that is not finite."""
    for name, weight in weights.items():
        wrong = weight[~torch.isfinite(weight)]
        if len(wrong):
            return NonFinite(part, None, None, name, "", str(wrong[0].item()), magnitude(weight), name)
    return None


def checked_outputs(programme: Programme, x: Tensor, layer_name: str, found: list[NonFinite]) -> list[Tensor]:
    """Return the outputs of every step; the first value that is not finite is appended to `found` if that is empty."""
    outputs, largest = [], (0.0, "nothing")
    for index, values in enumerate(programme.steps(x)):
        outputs.append(values[programme.output])
        for name, value in {} if found else values.items():
            if not torch.isfinite(value).all():
                step = x.shape[1] - 1 - index if programme.layer.reverse else index
                found.append(describe(programme, layer_name, step, name, value, largest))
                break
            largest = max(largest, (magnitude(value), line_of(name)))
    return outputs


def describe(
    programme: Programme, layer_name: str, step: int, name: str, value: Tensor, largest: tuple[float, str]
) -> NonFinite:
    """Return the finding for one value (B, size) of a step."""
    sequence = int((~torch.isfinite(value)).flatten(1).any(1).nonzero()[0]) if value.dim() > 1 else 0
    wrong = value[~torch.isfinite(value)][0].item()
    lines = {line.name: str(line) for line in programme.cell.forward_equations}
    name = line_of(name)
    return NonFinite(layer_name, step, sequence, name, lines.get(name, ""), str(wrong), *largest)


def line_of(name: str) -> str:
    """Return the variable in whose equation a value is computed: "c" for "c.2"."""
    return name.split(".")[0]


def magnitude(values: Tensor) -> float:
    """Return the largest magnitude of the finite numbers in `values`, 0 if there is none."""
    finite = values[torch.isfinite(values)]
    return finite.abs().max().item() if finite.numel() else 0.0
