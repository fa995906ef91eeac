"""What a diagnosis found: numbers for --json, a table, a picture and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elman.diagnosis.picture import draw


@dataclass(frozen=True)
class Saturation:
    """Where the values of one bounded function lie, over all units, steps and sequences.

    Attributes:
        name: The equation's variable ("r"), or the variable whose equation contains the function.
        function: "sigmoid", "hard_sigmoid", "tanh" or "hard_tanh".
        low: Share of values below 0.1 (sigmoid) or below -0.9 (tanh).
        high: Share of values above 0.9.
        mean: Mean value.
    """

    name: str
    function: str
    low: float
    high: float
    mean: float


@dataclass(frozen=True)
class TimeConstants:
    """How long a state keeps its own value: -1 / mean(ln |f|) steps per unit, f the direct factor from s<t-1> to s<t>.

    f is the derivative of s<t> by s<t-1> with every matrix product held fixed: the forget gate of an LSTM, 1 - u of a
    GRU, the recurrent weight of an IndRNN. `math.inf` means that the unit does not decay (f >= 1).

    Attributes:
        state: Name of the state.
        factor: Median of |f|.
        quantiles: Time constants in steps at 5, 25, 50, 75 and 95 % of the units.
    """

    state: str
    factor: float
    quantiles: tuple[float, float, float, float, float]

    @property
    def median(self) -> float:
        """Median time constant in steps."""
        return self.quantiles[2]


@dataclass(frozen=True)
class Recurrence:
    """One recurrent matrix (or the columns of one that read a state): spectral radius, None if not square, and norm."""

    matrix: str
    reads: str
    radius: float | None
    norm: float


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer in one direction.

    Attributes:
        name: "layer 1", "layer 2 backward" ...
        cell: Name of the cell.
        relative: Median norm of the gradient at lag 0, 1, ..., steps - 1, each divided by the one at lag 0.
        at_lag_zero: Median norm at lag 0, absolute.
        effective_memory: Largest lag whose relative norm is at least the fraction asked for; -1 when not finite.
        factor: Mean factor per step of the relative norm (its geometric mean over the lags).
        trend: "steady", "vanishing", "exploding" or "not finite".
        advice: What to do about it; "" when steady.
        gates: Saturation of every bounded function.
        time_constants: Of every state with a direct path.
        recurrences: Spectral radius of every recurrent matrix.
    """

    name: str
    cell: str
    relative: tuple[float, ...]
    at_lag_zero: float
    effective_memory: int
    factor: float
    trend: str
    advice: str
    gates: tuple[Saturation, ...]
    time_constants: tuple[TimeConstants, ...]
    recurrences: tuple[Recurrence, ...]

    def verdict(self) -> str:
        """Return one sentence or two: what the gradient does, then the remedy."""
        last = len(self.relative) - 1
        said = {
            "steady": f"the gradient stays within reach over all {last} steps (factor {self.factor:.3f} per step)",
            "vanishing": f"the gradient vanishes: it reaches {self.effective_memory} of {last} steps back "
            f"(factor {self.factor:.3f} per step)",
            "exploding": f"the gradient explodes: {max(self.relative):.3g} times its size at lag 0 "
            f"(factor {self.factor:.3f} per step)",
            "not finite": "the gradient is not finite",
        }[self.trend]
        return f"{self.name} ({self.cell}): {said}." + (f" {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class Diagnosis:
    """How gradients flow back through a model, layer by layer, and why.

    Attributes:
        title: What was looked at.
        data: What it was fed, in words.
        steps: T, the length of every sequence.
        samples: Number of sequences the medians are over.
        fraction: Relative norm that still counts as remembered.
        layers: One entry a layer and direction, from input to output.
    """

    title: str
    data: str
    steps: int
    samples: int
    fraction: float
    layers: tuple[LayerDiagnosis, ...]

    @property
    def effective_memory(self) -> int:
        """Largest effective memory of all layers, in steps."""
        return max(layer.effective_memory for layer in self.layers)

    @property
    def verdict(self) -> str:
        """The verdicts of all layers, one line each."""
        return "\n".join(layer.verdict() for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return a document for JSON; numbers that are not finite become None (a time constant of None: no decay)."""
        document: dict[str, Any] = finite({**asdict(self), "effective_memory": self.effective_memory})
        document["verdict"] = [layer.verdict() for layer in self.layers]
        return document

    def table(self) -> str:
        """Return the report as plain text."""
        heading = f"{self.title}: {self.samples} sequences of {self.steps} steps, {self.data}"
        parts = [heading, gradient_table(self.layers), gate_table(self.layers), recurrence_table(self.layers)]
        return "\n\n".join(part for part in (*parts, self.verdict) if part)

    def plot(self, path: str | Path) -> Path:
        """Draw relative gradient norm against lag, one line a layer, and write a PNG; see `picture.draw`."""
        lines = {f"{layer.name} ({layer.cell})": layer.relative for layer in self.layers}
        return draw({self.title: lines}, path, self.fraction)


def finite(value: Any) -> Any:
    """Return `value` with every float that is not finite replaced by None, in dictionaries and sequences too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text, first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(item.rjust(width) for item, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def shown_lags(steps: int) -> list[int]:
    """Return 0, 1, 2, 5, 10, 20, 50 ... below `steps`, and the last lag."""
    lags = [0] + [m * 10**e for e in range(len(str(steps))) for m in (1, 2, 5) if m * 10**e < steps - 1]
    return [*lags, steps - 1] if steps > 1 else lags


def gradient_table(layers: Sequence[LayerDiagnosis]) -> str:
    """Return relative gradient norms at a few lags and the effective memory."""
    lags = shown_lags(len(layers[0].relative))
    rows = [["gradient norm at lag", *map(str, lags), "memory", "trend"]]
    for layer in layers:
        norms = [f"{layer.relative[lag]:.2g}" for lag in lags]
        rows.append([f"{layer.name} ({layer.cell})", *norms, f"{layer.effective_memory}", layer.trend])
    return columns(rows)


def gate_table(layers: Sequence[LayerDiagnosis]) -> str:
    """Return saturation and time constants, or "" when no cell has gates or direct paths."""
    rows = [["gate or state", "low", "high", "mean", "time constant (5, 50, 95 %)"]]
    for layer in layers:
        for gate in layer.gates:
            label = f"{layer.name}: {gate.name} ({gate.function})"
            rows.append([label, f"{100 * gate.low:.0f} %", f"{100 * gate.high:.0f} %", f"{gate.mean:.2f}", ""])
        for constant in layer.time_constants:
            spread = ", ".join(f"{constant.quantiles[i]:.3g}" for i in (0, 2, 4))
            rows.append([f"{layer.name}: {constant.state} keeps", "", "", f"{constant.factor:.2f}", spread])
    return columns(rows) if len(rows) > 1 else ""


def recurrence_table(layers: Sequence[LayerDiagnosis]) -> str:
    """Return spectral radius and norm of every recurrent matrix, or "" when there is none."""
    rows = [["recurrent matrix", "spectral radius", "norm"]]
    for layer in layers:
        for item in layer.recurrences:
            radius = "not square" if item.radius is None else f"{item.radius:.3f}"
            rows.append([f"{layer.name}: {item.matrix} on {item.reads}", radius, f"{item.norm:.3f}"])
    return columns(rows) if len(rows) > 1 else ""
