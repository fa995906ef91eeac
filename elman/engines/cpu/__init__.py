"""Engine "cpu": the schedule of any cell in C++, forward and back, on the processor's vector units."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from elman.engines.cpu.moment import transform
from elman.engines.cpu.operators import run_cell
from elman.engines.cpu.runners import Choice, Program
from elman.engines.sizes import widths
from elman.equations import Cell
from elman.errors import UsageError
from elman.plans import native

if native.engine is not None and not native.STALE:
    # torch's own threads spin for a while after each of its operations: others would wait for a processor meanwhile.
    native.engine.share_openmp()


def takes(x: Tensor, tensors: Mapping[str, Tensor]) -> bool:
    """Say whether the engine runs tensors: all of float32, in the memory of the processor."""
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, *tensors.values()))


class CpuEngine:
    """Engine "cpu": see csrc/README.md for how it works.

    Args:
        target: Instruction set; None for the best one of this processor, or ELMAN_TARGET.
        threads: Of every call; None for ELMAN_THREADS or torch's number, fewer where the work is not worth waking them.
        precision: Of products: "float32", or "bf16" for operands of bfloat16 whose products are added up in float32.
            States, weights and their gradients are float32 either way, and so is everything that is no product.
    """

    def __init__(self, target: str | None = None, threads: int | None = None, precision: str = "float32") -> None:
        self._choice = Choice(target, threads, precision)
        self.name = "cpu" if precision == "float32" else f"cpu-{precision}"

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
        """Run a cell; see elman.engines.Engine.

        Under torch's autocast inputs and states may come in another type; results are float32 all the same.

        Raises:
            UsageError: a tensor is not of float32 on the processor, or a transform of torch.func or forward mode is at
                work.
        """
        self._require_no_transform()
        if torch.is_autocast_enabled("cpu"):
            x, state, masks = x.float(), _single(state), _single(masks)
        if not takes(x, {**weights, **state, **masks}):
            raise UsageError(
                f"engine {self.name!r}: tensors must be float32 on the CPU; got {x.dtype} on {x.device.type}",
                "use engine='auto' or 'torch'",
            )
        sizes = widths(cell, weights, x.shape[2], state)
        return run_cell(cell, sizes, weights, x, lengths, state, masks, reverse, self._choice)

    def program(
        self, cell: Cell, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int], widths: Mapping[str, int]
    ) -> str:
        """Return what runs a cell as text, for `operators.run_registered`.

        Args:
            cell: The cell.
            shapes: Of every parameter by name, in order.
            sizes: Value of every size symbol.
            widths: Components of input, states and masks by name.

        Raises:
            UsageError: a transform of torch.func or forward mode is at work.
        """
        self._require_no_transform()
        return Program(cell, shapes, sizes, widths, self._choice).text()

    def _require_no_transform(self) -> None:
        if (at_work := transform()) is not None:
            raise UsageError(
                f"engine {self.name!r}: must run where torch asks for derivatives by its way back alone; {at_work}",
                "use engine='auto' and float32, or engine='torch-schedule'",
            )


def _single(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in tensors.items()}
