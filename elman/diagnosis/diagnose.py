"""Put together what traces, gradients, gates and matrices say about a layer, a stack or a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from elman.cells import cells
from elman.diagnosis import flow, gates
from elman.diagnosis.report import Diagnosis, LayerDiagnosis, Recurrence, TimeConstants
from elman.diagnosis.trace import Trace, trace_module
from elman.equations import Cell
from elman.errors import UsageError
from elman.layers import Bidirectional, Recurrent, Stack
from elman.randomness import generator

LateLoss = Callable[[Tensor], Tensor]
FRACTION = 0.01


def diagnose(
    module: nn.Module,
    steps: int = 100,
    *,
    batches: int = 4,
    batch_size: int = 4,
    fraction: float = FRACTION,
    seed: int = 0,
    title: str | None = None,
) -> Diagnosis:
    """Diagnose a layer, a bidirectional layer or a stack on random input (standard normal numbers).

    For every sequence a loss on the last output, w . y<T> with a random w of length one, is differentiated by the
    states after every step. The norm of that derivative at step T - lag, divided by its norm at lag 0, is the relative
    gradient norm; its median over all sequences is reported. The effective memory is the largest lag at which it is at
    least `fraction`. The module is run equation by equation in float64, as in evaluation: without random masks.

    Args:
        module: Recurrent, Bidirectional or Stack; left unchanged.
        steps: T, 2 or more; the largest lag is T - 1.
        batches: Number of random batches, 1 or more.
        batch_size: Sequences in each, 1 or more.
        fraction: Relative gradient norm that still counts as remembered, in (0, 1).
        seed: Of input and loss directions.
        title: Heading of the report; the module's kind if None.

    Returns:
        The diagnosis.

    Raises:
        UsageError: an argument is outside its range, or the module is of another kind.
    """
    check_range("steps", steps, 2)
    check_range("batches", batches, 1)
    check_range("batch_size", batch_size, 1)
    shape = (batch_size, steps, input_size_of(module))
    inputs = [
        torch.randn(shape, generator=generator(seed, "diagnosis", "input", index), dtype=torch.float64)
        for index in range(batches)
    ]
    title = title or type(module).__name__
    return diagnose_inputs(module, inputs, fraction=fraction, seed=seed, title=title, data="random normal input")


def diagnose_cell(
    cell: Cell | str,
    input_size: int = 16,
    hidden_size: int = 64,
    steps: int = 200,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> Diagnosis:
    """Diagnose a cell as it starts, with its own initialisation, on random input; see `diagnose`.

    Args:
        cell: A Cell or a name of `elman.cells`.
        input_size: I, 1 or more.
        hidden_size: H, 1 or more.
        steps: T, 2 or more.
        seed: Of weights and input.
        sizes: Sizes that the cell declares, {"P": 32}; None makes them all `hidden_size`. The title names them.

    Returns:
        The diagnosis of one layer.

    Raises:
        UsageError, ShapeError: an argument is outside its range.
    """
    found = cells[cell] if isinstance(cell, str) else cell
    declared = dict.fromkeys(found.free_sizes, hidden_size) if sizes is None else dict(sizes)
    layer = Recurrent(found, input_size=input_size, hidden_size=hidden_size, sizes=declared, seed=seed)
    title = ", ".join([f"{found.name} at its start, H = {hidden_size}", *(f"{k} = {v}" for k, v in declared.items())])
    return diagnose(layer, steps, seed=seed, title=title)


def diagnose_inputs(
    module: nn.Module,
    inputs: Iterable[Tensor],
    *,
    fraction: float,
    seed: int,
    title: str,
    data: str,
    loss: LateLoss | None = None,
) -> Diagnosis:
    """Diagnose a module on given batches of input (B, T, I), all of one T.

    `loss` of the outputs y (B, T, O), summed over sequences, replaces the random direction of the last output.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"diagnosis: fraction must lie between 0 and 1; got {fraction}")
    traced, norms = [], []
    for index, x in enumerate(inputs):
        y, traces = trace_module(module, x.to(torch.float64))
        draws = generator(seed, "diagnosis", "loss", index)
        late = flow.late_loss(flow.top_layer(traces), draws) if loss is None else loss(y)
        norms.append(flow.norms_by_lag(late, traces))
        traced.append(traces)
    layers = [
        diagnose_layer(traces, torch.cat(by_batch), fraction)
        for traces, by_batch in zip(zip(*traced, strict=True), zip(*norms, strict=True), strict=True)
    ]
    samples, steps = sum(part[0].shape[0] for part in norms), norms[0][0].shape[1]
    return Diagnosis(title, data, steps, samples, fraction, tuple(layers))


def diagnose_layer(traces: Sequence[Trace], norms: Tensor, fraction: float) -> LayerDiagnosis:
    """Return what the traces of one layer and its gradient norms (N, T) say."""
    relative = flow.relative_to_first(norms)
    trend = flow.trend(relative, fraction)
    constants, recurrences = gates.time_constants(traces), gates.recurrences(traces[0].programme)
    return LayerDiagnosis(
        name=traces[0].name,
        cell=traces[0].programme.layer.cell.name,
        relative=relative,
        at_lag_zero=norms[:, 0].median().item(),
        effective_memory=flow.effective_memory(relative, fraction),
        factor=flow.factor_per_step(relative),
        trend=trend,
        advice=advice(trend, len(relative), constants, recurrences),
        gates=gates.saturations(traces),
        time_constants=constants,
        recurrences=recurrences,
    )


def advice(trend: str, steps: int, constants: Sequence[TimeConstants], recurrences: Sequence[Recurrence]) -> str:
    """Return the remedy for a trend, chosen by whether the cell has a direct path and by its spectral radii."""
    radius = max((item.radius for item in recurrences if item.radius is not None), default=None)
    at = "" if radius is None else f" (largest spectral radius {radius:.2f})"
    short = [constant for constant in constants if constant.median < steps]
    if trend == "exploding":
        return f"Clip the gradient norm at 1, and start recurrent matrices with a spectral radius of at most 1{at}."
    if trend == "not finite":
        return "Use elman.diagnosis.find_nonfinite to see the step and equation where numbers stop being finite."
    if trend == "vanishing" and short:
        longest = max(short, key=lambda constant: constant.median)
        return (
            f"Its state {longest.state} keeps its value for {longest.median:.3g} steps (median): start the gate that "
            f"keeps it further open; a bias of ln(T) = {math.log(steps):.1f} towards keeping makes that about T steps."
        )
    if trend == "vanishing":
        return (
            f"The gradient passes through a matrix and a squashing function at every step{at}: use a cell with a gated "
            "or additive path (lstm, gru), or start with an orthogonal or identity matrix."
        )
    return ""


def check_range(name: str, value: int, least: int) -> None:
    """Raise UsageError unless `value` is at least `least`."""
    if value < least:
        raise UsageError(f"diagnosis: {name} must be at least {least}; got {value}")


def input_size_of(module: nn.Module) -> int:
    """Return I of the first recurrent layer inside a module."""
    for layer in module.modules():
        if isinstance(layer, Recurrent | Bidirectional | Stack):
            return layer.input_size
    raise UsageError(f"diagnosis: the module must be a Recurrent, Bidirectional or Stack; got {type(module).__name__}")
