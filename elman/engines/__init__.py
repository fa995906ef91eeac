"""Who computes a cell: the reference engine (the oracle), the C++ engine, torch step by step, torch's fused kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from elman.engines.cpu import CpuEngine
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
    "torch-schedule": TorchScheduleEngine(),
    "torch-fused": TorchFusedEngine(),
}
"""Engines by the name that `layer.engine` reports."""

CHOICES = ("auto", "reference", "cpu", "torch", "torch-schedule", "torch-fused")
"""What a caller may ask for. "auto" takes the C++ engine for float32 on the CPU, and "torch" for everything else;
"torch" takes the fused kernels where the equations are exactly theirs."""


def choose(
    name: str,
    cell: Cell,
    steps: int | None = None,
    sizes: Mapping[str, int] | None = None,
    like: Tensor | None = None,
) -> Engine:
    """Return the engine that runs a cell.

    Args:
        name: One of CHOICES.
        cell: The cell, with its masks.
        steps: Steps of the call; a single step gains nothing from a fused kernel. None when it is not known.
        sizes: Value of every size symbol; torch's kernels take narrowing projections only. None when not known.
        like: A tensor of the run; None when the run is not known, and "auto" then says what torch does.

    Raises:
        UsageError: the name is not one of CHOICES, or the engine cannot run the cell.
    """
    if name not in CHOICES:
        raise UsageError(f"engine: must be one of {', '.join(CHOICES)}; got {name!r}{nearest(name, CHOICES)}")
    if name == "cpu":
        require_built()
    if name == "auto" and like is not None and available() and _fits_cpu(like):
        return ENGINES["cpu"]
    if name in ("auto", "torch"):
        fused = recognise(cell)
        return ENGINES["torch-fused" if fused and fits(fused, cell, sizes) and steps != 1 else "torch-schedule"]
    if name == "torch-fused":
        require_fused(cell, sizes)
    return ENGINES[name]


def _fits_cpu(like: Tensor) -> bool:
    """Autocast asks for products in another type, which the engine does not do behind anyone's back."""
    return like.device.type == "cpu" and like.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
