"""How exact every cell is: derived gradients against finite differences, engines against the reference.

python -m benchmarks.cells     # prints the table and writes benchmarks/results/cells.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

import elman
from elman import Recurrent

RESULTS = Path(__file__).parent / "results" / "cells.json"
LENGTHS, STEPS, INPUT_SIZE, HIDDEN_SIZE, DECLARED_SIZE = [2, 5, 1, 4], 5, 3, 4, 2
FINITE_STEP = 1e-5


def build(name: str, engine: str) -> Recurrent:
    """A layer in float64 with weights drawn within +-0.9 and a start that is not zero."""
    cell = elman.cells[name]
    sizes = dict.fromkeys(cell.free_sizes, DECLARED_SIZE)
    options = {"init": {"*": "uniform:0.9"}, "learn_initial_state": True, "seed": 4}
    layer = Recurrent(cell, INPUT_SIZE, HIDDEN_SIZE, sizes=sizes, engine=engine, **options).double()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter_name, parameter in layer.named_parameters():
            if parameter_name.startswith("initial_"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def loss(layer: Recurrent, x: Tensor) -> Tensor:
    """A scalar in which every output and final state has a weight of its own."""
    y, state = layer(x, LENGTHS)
    total = (y * torch.arange(1, y.numel() + 1).view_as(y).cos()).sum()
    return total + sum((v * torch.arange(1, v.numel() + 1).view_as(v).sin()).sum() for v in state.values())


def gradients(layer: Recurrent, x: Tensor) -> dict[str, Tensor]:
    """Outputs, and gradients of the input, the parameters and the initial state."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    loss(layer, x).backward()
    y, _ = layer(x, LENGTHS)
    found = {"y": y.detach(), "x": x.grad, **{name: p.grad for name, p in layer.named_parameters()}}
    return {name: value.double() for name, value in found.items() if value is not None}


def finite_differences(layer: Recurrent, x: Tensor) -> dict[str, Tensor]:
    """Central differences of the loss by every number of the input and the parameters."""
    found = {}
    with torch.no_grad():
        for name, values in {"x": x, **{n: p.data for n, p in layer.named_parameters()}}.items():
            flat, slopes = values.view(-1), torch.empty(values.numel(), dtype=torch.float64)
            for n in range(len(flat)):
                kept = flat[n].item()
                flat[n] = kept + FINITE_STEP
                above = loss(layer, x).item()
                flat[n] = kept - FINITE_STEP
                slopes[n] = (above - loss(layer, x).item()) / (2 * FINITE_STEP)
                flat[n] = kept
            found[name] = slopes.view_as(values)
    return found


def worst(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The largest relative error, by norm, over all tensors; tensors near zero count by 0.01."""
    return max(float((found[n] - v).norm()) / max(float(v.norm()), 1e-2) for n, v in wanted.items())


def check(name: str) -> dict[str, float | str]:
    """Measure one cell on a ragged batch."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(len(LENGTHS), STEPS, INPUT_SIZE, generator=generator, dtype=torch.float64)
    for row, length in enumerate(LENGTHS):
        x[row, length:] = 0.0
    reference = build(name, "reference")
    exact = gradients(reference, x)
    torch_layer = build(name, "torch")
    return {
        "engine": torch_layer.engine,
        "finite_differences": worst(exact, finite_differences(reference, x)),
        "torch_float64": worst(gradients(torch_layer, x), exact),
        "torch_float32": worst(gradients(torch_layer.float(), x.float()), exact),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all cells."""
    about = (__doc__ or "").split("\n")[0]
    argparse.ArgumentParser(prog="python -m benchmarks.cells", description=about).parse_args(argv)
    torch.set_num_threads(1)
    rows = {name: check(name) for name in elman.cells}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"torch": torch.__version__, "cells": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"{'cell':24}{'engine':16}{'gradients':>12}{'float64':>12}{'float32':>12}")
    for name, row in rows.items():
        numbers = [float(row[key]) for key in ("finite_differences", "torch_float64", "torch_float32")]
        print(f"{name:24}{row['engine']:16}" + "".join(f"{number:12.1e}" for number in numbers))


if __name__ == "__main__":
    main()
