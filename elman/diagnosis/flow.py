"""Gradient norms by time lag: how much of a late loss reaches every earlier state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from elman.diagnosis.trace import Trace


def late_loss(traces: Sequence[Trace], generator: torch.Generator) -> Tensor:
    """Return the sum over sequences of w . y, y the last output that each direction computed, w random of length one.

    A random direction w for every sequence stands in for the task: what a state can do for any late loss is what it can
    do for y<T>.
    """
    total = torch.zeros((), dtype=torch.float64)
    for trace in traces:
        last = trace.outputs[-1]
        direction = torch.randn(last.shape, generator=generator, dtype=torch.float64)
        total = total + (last * direction / direction.norm(dim=-1, keepdim=True)).sum()
    return total


def top_layer(traces: Sequence[Trace]) -> list[Trace]:
    """Return the traces of the last layer: one, or one for each direction."""
    last = traces[-1].name.split()[:2]
    return [trace for trace in traces if trace.name.split()[:2] == last]


def norms_by_lag(loss: Tensor, traces: Sequence[Trace]) -> list[Tensor]:
    """Return for every trace the norms (B, T) of the derivative of `loss` by the states, column 0 for the last step.

    The states of one step count as one vector; the derivative is total, through every later step and layer.
    """
    states = [state for trace in traces for step in trace.states for state in step.values()]
    gradients = iter(torch.autograd.grad(loss, states, allow_unused=True))
    found = []
    for trace in traces:
        by_step = [squares(step.values(), gradients) for step in trace.states]
        found.append(torch.stack(by_step[::-1], dim=1).sqrt())
    return found


def squares(states: Iterable[Tensor], gradients: Iterator[Tensor | None]) -> Tensor:
    """Return the sum of squares (B,) of the gradients of one step's states, taken from `gradients` in order."""
    total: Tensor | float = 0.0
    for state in states:
        gradient = next(gradients)
        total = total + (torch.zeros_like(state) if gradient is None else gradient).square().sum(-1)
    return torch.as_tensor(total)


def relative_to_first(norms: Tensor) -> tuple[float, ...]:
    """Return medians over sequences of norms (N, T) divided by each sequence's norm at lag 0."""
    first = norms[:, :1].clamp_min(torch.finfo(norms.dtype).tiny)
    return tuple((norms / first).median(dim=0).values.tolist())


def effective_memory(relative: Sequence[float], fraction: float) -> int:
    """Return the largest lag whose relative norm is at least `fraction`; -1 when any norm is not finite."""
    if not all(map(math.isfinite, relative)):
        return -1
    return max(lag for lag, value in enumerate(relative) if value >= fraction or lag == 0)


def factor_per_step(relative: Sequence[float]) -> float:
    """Return the geometric mean of the growth from one lag to the next, up to the last lag that is not zero."""
    if not all(map(math.isfinite, relative)):
        return math.nan
    last = max(lag for lag, value in enumerate(relative) if value > 0 or lag == 0)
    return math.exp(math.log(relative[last]) / last) if last and relative[last] > 0 else 0.0


def trend(relative: Sequence[float], fraction: float) -> str:
    """Return "not finite", "exploding" (above 1 / fraction), "vanishing" (below fraction at the end) or "steady"."""
    if not all(map(math.isfinite, relative)):
        return "not finite"
    if max(relative) > 1 / fraction:
        return "exploding"
    return "vanishing" if relative[-1] < fraction else "steady"
