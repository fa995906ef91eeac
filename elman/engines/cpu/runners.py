"""Cells compiled for the engine: by cell, sizes and what is asked of them, kept for the life of the process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
import torch.utils.dlpack
from torch import Tensor

from elman.engines.cpu.packed_weights import PackedWeights
from elman.equations import Cell
from elman.plans.compile import Compiled, compile_cell
from elman.plans.native import engine, most_threads, target

SMALL = 16
"""Rows of a differentiated call up to which packed weights are kept between calls."""

WORTH_A_THREAD = 1 << 19
"""Multiply-adds a thread must have to do before it is woken."""

_LINE = 64
"""Bytes of a cache line."""


@dataclass
class Runner:
    """A compiled cell on a target.

    Args:
        compiled: Plan and names.
        native: The engine's object.
        states: Width of each state.
        output_size: O.
        work: Multiply-adds of one row.
        differentiates: The runner keeps values for the way back. Its weights usually change before the next call.
        fixed_threads: Threads of every call; None for as many as the work is worth.
    """

    compiled: Compiled
    native: Any
    states: tuple[int, ...]
    output_size: int
    work: int
    differentiates: bool
    fixed_threads: int | None = None
    kept: PackedWeights = field(default_factory=PackedWeights)

    def threads(self, rows: int) -> int:
        """Threads for a call of so many rows."""
        return self.fixed_threads or max(1, min(most_threads(), rows * self.work // WORTH_A_THREAD))

    def packed(self, weights: Sequence[Tensor], back: bool, rows: int, of: Sequence[Tensor] | None = None) -> Tensor:
        """Return the weights in the engine's order.

        Args:
            weights: Parameters of the plan.
            back: For the way back.
            rows: Of the call.
            of: Parameters that the weights are made of; None for the weights themselves.
        """

        def pack() -> Tensor:
            packed = empty(self.native.packed_floats(back) + 16)
            self.native.pack(weights, packed, back, self.threads(rows))
            return packed

        return pack() if self.differentiates and rows > SMALL else self.kept.get(of or weights, back, pack)


@dataclass(frozen=True)
class Choice:
    """Where a runner runs.

    Args:
        target: Of the engine; None for the best one, or ELMAN_TARGET.
        threads: None for as many as the work is worth.
        precision: Of products: "float32" or "bf16".
    """

    target: str | None = None
    threads: int | None = None
    precision: str = "float32"


@dataclass(frozen=True)
class Program:
    """What a runner is compiled from.

    Args:
        cell: The cell.
        shapes: Of every parameter by name, in the order in which calls give them.
        sizes: Value of every size symbol that a product needs.
        widths: Components of input, states and masks by name.
        choice: Where it runs.
    """

    cell: Cell
    shapes: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, int]
    widths: Mapping[str, int]
    choice: Choice = Choice()

    def runner(self, keep: bool) -> Runner:
        """Return the runner, compiling it at first; `keep` with what the way back needs."""
        key = (self.cell, *(tuple(m.items()) for m in (self.shapes, self.sizes, self.widths)), keep, self.choice)
        found = _RUNNERS.get(key)
        return _RUNNERS.setdefault(key, self._compiled(keep)) if found is None else found

    def _compiled(self, keep: bool) -> Runner:
        place, shapes, widths = self.choice.target or target(), self.shapes, self.widths
        halves = partial(engine.rounded_floats, place) if self.choice.precision == "bf16" else None
        compiled = compile_cell(engine, self.cell, shapes, self.sizes, widths, keep, halves)
        native = engine.Engine(compiled.plan, place, self.choice.precision)
        work = sum(shape[0] * shape[1] for shape in shapes.values() if len(shape) == 2) + 8 * max(widths.values())
        states = tuple(widths[s] for s in self.cell.states)
        return Runner(compiled, native, states, compiled.plan.output_size, work, keep, self.choice.threads)

    def text(self) -> str:
        """Return the programme as text, which means the same in every process."""
        cell = self.cell
        texts: dict[str, Any] = {"text": cell.text, "name": cell.name, "output": cell.output}
        texts |= {"functions": dict(cell.functions), "init": dict(cell.init), "masks": list(cell.masks)}
        numbers = {"shapes": dict(self.shapes), "sizes": dict(self.sizes), "widths": dict(self.widths)}
        return json.dumps({"cell": texts, **numbers, "choice": asdict(self.choice)})


_RUNNERS: dict[object, Runner] = {}
_BY_TEXT: dict[tuple[str, bool], Runner] = {}


def runner_of(text: str, keep: bool) -> Runner:
    """Return the runner of a programme that `Program.text` wrote, here or in another process."""
    found = _BY_TEXT.get((text, keep))
    if found is None:
        table = json.loads(text)
        cell = Cell(**{**table["cell"], "masks": tuple(table["cell"]["masks"])})
        shapes = {name: tuple(shape) for name, shape in table["shapes"].items()}
        program = Program(cell, shapes, table["sizes"], table["widths"], Choice(**table["choice"]))
        found = _BY_TEXT[text, keep] = program.runner(keep)
    return found


def empty(*shape: int) -> Tensor:
    """Return a tensor of arbitrary contents in the engine's memory."""
    return torch.utils.dlpack.from_dlpack(engine.floats(shape))


def in_line(workspace: Tensor) -> Tensor:
    """Return a workspace as it lay on the way forward, at the start of a cache line: the engine counts from there.

    Hooks on saved tensors may bring it back at another distance from one, as NumPy's arrays are.
    """
    return workspace if workspace.data_ptr() % _LINE == 0 else empty(*workspace.shape).copy_(workspace)
