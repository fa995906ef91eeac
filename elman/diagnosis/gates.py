"""What gates and recurrent matrices look like: saturation, time constants, spectral radius."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elman.diagnosis.report import Recurrence, Saturation, TimeConstants
from elman.diagnosis.trace import Programme, Trace
from elman.equations.functions import OPERATORS

SIGMOIDS = ("sigmoid", "hard_sigmoid")
BOUNDED = (*SIGMOIDS, "tanh", "hard_tanh")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def saturations(traces: Sequence[Trace]) -> tuple[Saturation, ...]:
    """Return the saturation of every bounded function of a cell, over all steps of the given traces of one layer."""
    operations = [op for op in traces[0].programme.operations if op.function in BOUNDED]
    return tuple(saturation(op.target.split(".")[0], op.function, gathered(traces, op.target)) for op in operations)


def gathered(traces: Sequence[Trace], target: str) -> Tensor:
    """Return one value of the programme over all traces and steps, (traces * T * B, size)."""
    return torch.cat([values[target].detach() for trace in traces for values in trace.values])


def saturation(name: str, function: str, values: Tensor) -> Saturation:
    """Return the shares of `values` near the two ends of the function's range."""
    floor = 0.1 if function in SIGMOIDS else -0.9
    low, high = (values < floor).double().mean().item(), (values > 0.9).double().mean().item()
    return Saturation(name, function, low, high, values.double().mean().item())


def time_constants(traces: Sequence[Trace]) -> tuple[TimeConstants, ...]:
    """Return the time constants of every state whose next value depends on it directly, not only through a matrix."""
    found = []
    for state in traces[0].programme.states:
        factors = [factor for trace in traces for factor in direct_factors(trace, state)]
        if factors:
            found.append(time_constants_of(state, torch.cat(factors)))
    return tuple(found)


def direct_factors(trace: Trace, state: str) -> list[Tensor]:
    """Return d s<t> / d s<t-1> (B, H) with all matrix products held fixed, for every step; [] without such a path."""
    found = []
    for values in trace.values:
        before = values[f"{state}<t-1>"].detach().requires_grad_()
        given = {**{name: value.detach() for name, value in values.items()}, f"{state}<t-1>": before}
        after = trace.programme.repeat_pointwise(given)[state]
        gradient = torch.autograd.grad(after.sum(), before, allow_unused=True)[0] if after.requires_grad else None
        if gradient is None:
            return []
        found.append(gradient)
    return found


def time_constants_of(state: str, factors: Tensor) -> TimeConstants:
    """Return -1 / mean(ln |f|) per unit from factors (N, H); units that do not decay count as infinite."""
    logs = factors.abs().clamp_min(torch.finfo(factors.dtype).tiny).log().mean(dim=0)
    steps = torch.where(logs < 0, -1 / logs, torch.full_like(logs, math.inf))
    ordered = steps.sort().values
    places = [round(q * (len(ordered) - 1)) for q in QUANTILES]
    low, lower, middle, upper, high = (ordered[place].item() for place in places)
    return TimeConstants(state, factors.abs().median().item(), (low, lower, middle, upper, high))


def recurrences(programme: Programme) -> tuple[Recurrence, ...]:
    """Return spectral radius and norm of every matrix inside the loop over time."""
    return tuple(
        recurrence(op.block.matrix, written(programme, op.arguments[0]), programme.matrix(op))
        for op in programme.step
        if op.block is not None
    )


def written(programme: Programme, name: str) -> str:
    """Return how equations write a value: its own name, or "r * c<t-1>" for an intermediate one."""
    made = {op.target: op for op in programme.operations if "." in op.target}
    if name not in made:
        return name
    function, inner = made[name].function, [written(programme, argument) for argument in made[name].arguments]
    return f" {OPERATORS[function]} ".join(inner) if function in OPERATORS else f"{function}({', '.join(inner)})"


def recurrence(name: str, reads: str, matrix: Tensor) -> Recurrence:
    """Return the description of one matrix."""
    finite, square = bool(torch.isfinite(matrix).all()), matrix.shape[0] == matrix.shape[1]
    radius = torch.linalg.eigvals(matrix).abs().max().item() if finite and square else None
    norm = torch.linalg.matrix_norm(matrix, 2).item() if finite else math.nan
    return Recurrence(name, reads, radius, norm)
