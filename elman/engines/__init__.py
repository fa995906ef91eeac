"""Who computes a cell: the reference engine (the oracle), the C++ engine, torch step by step, torch's fused kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from elman.engines.cpu import CpuEngine
from elman.engines.cpu.moment import in_halves, transform
from elman.engines.fused import TorchFusedEngine, fits, require_fused
from elman.engines.recognise import recognise
from elman.engines.reference import ReferenceEngine
from elman.engines.torch_engine import TorchScheduleEngine
from elman.equations import Cell
from elman.errors import UsageError, nearest
from elman.plans.native import available, require_built


class Engine(Protocol):
    """What every engine offers."""

    name: str

    def run(
        self,
        cell: Cell,
        weights: Mapping[str, Tensor],
        x: Tensor,
        lengths: Tensor | None,
        state: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        reverse: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a cell over sequences.

        Args:
            cell: The cell.
            weights: Parameters by name.
            x: (B, T, I); what is beyond a length is never read.
            lengths: (B,) integers from 1 to T; None when all are T.
            state: Initial states by name, (B, S).
            masks: Masks of the cell by name, (B, 1, S) or (B, T, S), in order of processing.
            reverse: Read each sequence from its last step to its first.

        Returns:
            y (B, T, O), zero beyond each length and in the order of x; final states by name, (B, S).
        """


ENGINES: dict[str, Engine] = {
    "reference": ReferenceEngine(),
    "cpu": CpuEngine(),
    "cpu-bf16": CpuEngine(precision="bf16"),
    "torch-schedule": TorchScheduleEngine(),
    "torch-fused": TorchFusedEngine(),
}
"""Engines by the name that `layer.engine` reports."""

CHOICES = ("auto", "reference", "cpu", "torch", "torch-schedule", "torch-fused")
"""What a caller may ask for. "auto" takes the C++ engine for float32 on the CPU, and "torch" for everything else, but
"torch-schedule" under transforms of torch.func and in forward mode; "torch" takes the fused kernels where the equations
are exactly theirs."""

PRECISIONS = ("float32", "bf16")
"""Of products. "bf16" takes the nearest numbers of bfloat16 for their factors and adds up in float32; everything else
stays float32: states, pointwise functions, weights and their gradients. Only the C++ engine does it."""


def choose(
    name: str,
    cell: Cell,
    steps: int | None = None,
    sizes: Mapping[str, int] | None = None,
    like: Tensor | None = None,
    precision: str = "float32",
) -> Engine:
    """Return the engine that runs a cell.

    Args:
        name: One of CHOICES.
        cell: The cell, with its masks.
        steps: Steps of the call; a single step gains nothing from a fused kernel. None when it is not known.
        sizes: Value of every size symbol; torch's kernels take narrowing projections only. None when not known.
        like: A parameter of the run; None when the run is not known, and "auto" then says what torch does.
        precision: One of PRECISIONS. Under torch's autocast to bfloat16 the C++ engine takes "bf16" in any case.

    Raises:
        UsageError: the name is not one of CHOICES, or the engine cannot run the cell at this precision.
    """
    for what, given, choices in (("engine", name, CHOICES), ("precision", precision, PRECISIONS)):
        if given not in choices:
            raise UsageError(f"{what}: must be one of {', '.join(choices)}; got {given!r}{nearest(given, choices)}")
    if name == "cpu":
        require_built()
    if precision == "bf16":
        _require_bf16(name, like)
    halves = precision == "bf16" or (like is not None and like.device.type == "cpu" and in_halves())
    if name == "auto" and precision == "float32" and transform():
        return ENGINES["torch-schedule"]  # of operations that torch can transform, as it cannot all of its kernels
    if name == "cpu" or (name == "auto" and available() and _fits_cpu(like, halves)):
        return ENGINES["cpu-bf16" if halves else "cpu"]
    if name in ("auto", "torch"):
        fused = recognise(cell)
        return ENGINES["torch-fused" if fused and fits(fused, cell, sizes) and steps != 1 else "torch-schedule"]
    if name == "torch-fused":
        require_fused(cell, sizes)
    return ENGINES[name]


def _fits_cpu(like: Tensor | None, halves: bool) -> bool:
    """Autocast asks for products in another type: in bfloat16 the engine does them, in any other torch."""
    if like is None or like.device.type != "cpu" or like.dtype != torch.float32:
        return False
    return halves or not torch.is_autocast_enabled("cpu")


def _require_bf16(name: str, like: Tensor | None) -> None:
    """Raise unless products of bfloat16 can be done: by the C++ engine, of float32 in the memory of the processor."""
    hint = "leave precision out; torch.autocast(device, dtype=torch.bfloat16) around the call is torch's own way"
    if name not in ("auto", "cpu"):
        raise UsageError(f"precision 'bf16': must be done by engine 'cpu' (or 'auto'); got engine {name!r}", hint)
    require_built()
    if like is not None and (like.device.type != "cpu" or like.dtype != torch.float32):
        got = f"{like.dtype} on {like.device.type}"
        raise UsageError(f"precision 'bf16': parameters must be float32 on the CPU; got {got}", hint)
