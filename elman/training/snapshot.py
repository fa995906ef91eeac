"""What a checkpoint holds: model, optimiser, where training stands and the carried state; all without pickle."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import ModelFileError
from elman.model_folder import WEIGHTS
from elman.storage import read_json, write_json
from elman.tensor_file import check_expected, read_entries, read_tensors, write_tensors
from elman.training.optimizers import AveragedSGD, averaged_weights, optimizer_state, restore_optimizer
from elman.training.problem import Carry, Problem

OPTIMIZER, CARRY, TRAINER, CLOCK = "optimizer.safetensors", "carry.safetensors", "trainer.json", "clock.json"


@dataclass
class TrainingState:
    """Where training stands; every number is a function of configuration, data and seed (no clocks).

    Attributes:
        step: Optimiser steps done, skipped ones included.
        epoch: Whole epochs done.
        batch: Batches done of the current epoch.
        skipped: Steps skipped because loss or gradient was not finite.
        bad_in_a_row: How many of the last steps in a row were skipped.
        losses: Validation losses so far.
        evaluated_step: Step of the last evaluation, -1 for none.
        best_score: Lowest score of an evaluation, see elman.training.selection; None before the first.
        best_step: Step of `best_score`.
        since_best: Evaluations since then.
        decays: How often validation worsened.
        averaging: Whether averaged SGD averages.
        best_metrics: Validation metrics of `best_step`.
        last_metrics: Validation metrics of `evaluated_step`.
        nats, items, steps: Sums since the last record in the log.
        learning_rate, gradient_norm: Of the last step.
        metrics_bytes: Length of metrics.jsonl.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0
    bad_in_a_row: int = 0
    losses: list[float | None] = field(default_factory=list)
    evaluated_step: int = -1
    best_score: list[float] | None = None
    best_step: int | None = None
    best_metrics: dict[str, Any] = field(default_factory=dict)
    last_metrics: dict[str, Any] = field(default_factory=dict)
    since_best: int = 0
    decays: int = 0
    averaging: bool = False
    nats: float = 0.0
    items: int = 0
    steps: int = 0
    learning_rate: float = 0.0
    gradient_norm: float | None = None
    metrics_bytes: int = 0


@dataclass(frozen=True)
class Clock:
    """What the clock adds to a checkpoint: seconds trained and length of timing.jsonl."""

    seconds: float = 0.0
    timing_bytes: int = 0


@dataclass(frozen=True)
class Snapshot:
    """State, clock and carried state of a checkpoint that was read."""

    state: TrainingState
    clock: Clock
    carry: Carry


def is_finite(model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether every weight and every number of the optimiser's state is finite."""
    tensors, _ = optimizer_state(optimizer, model)
    everything = [*model.state_dict().values(), *tensors.values()]
    return all(_finite(tensor) for tensor in everything if tensor.is_floating_point() and tensor.numel())


def _finite(tensor: Tensor) -> bool:
    """Whether every number is finite: NaN is least and greatest of what holds it, and nothing is copied."""
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def write_snapshot(
    folder: Path, problem: Problem, optimizer: torch.optim.Optimizer, state: TrainingState, clock: Clock, carry: Carry
) -> None:
    """Fill a checkpoint's folder; its model.safetensors holds the weights that evaluation sees (averaged, for asgd)."""
    with averaged_weights(optimizer):
        problem.save_model(folder)
        check_expected(folder / WEIGHTS, read_entries(folder / WEIGHTS), problem.model.state_dict())
        # Taken while swapped: the slot "average" holds the weights that training goes on with.
        tensors, numbers = optimizer_state(optimizer, problem.model)
        write_tensors(folder / OPTIMIZER, tensors)
    if carry is not None:
        write_tensors(folder / CARRY, carry)
    write_json(folder / TRAINER, {"state": dataclasses.asdict(state), "optimizer": numbers})
    write_json(folder / CLOCK, dataclasses.asdict(clock))


def read_snapshot(folder: Path, problem: Problem, optimizer: torch.optim.Optimizer) -> Snapshot:
    """Put model and optimiser back and return the rest; the caller has verified the checkpoint.

    Raises:
        ModelFileError: the checkpoint belongs to another model.
    """
    restore_weights(folder, problem.model)
    trainer = read_json(folder / TRAINER)
    state = TrainingState(**trainer["state"])
    _check_slots(folder / OPTIMIZER, problem.model)
    restore_optimizer(optimizer, problem.model, read_tensors(folder / OPTIMIZER), trainer["optimizer"])
    if isinstance(optimizer, AveragedSGD):
        optimizer.averaging = state.averaging
        optimizer.swap()
    carry = read_tensors(folder / CARRY) if (folder / CARRY).exists() else None
    return Snapshot(state, Clock(**read_json(folder / CLOCK)), _beside(carry, problem.model))


def _beside(carry: dict[str, Tensor] | None, model: nn.Module) -> Carry:
    """Move a carried state to where the model is."""
    device = next(model.parameters()).device
    return None if carry is None else {name: value.to(device) for name, value in carry.items()}


def restore_weights(folder: Path, model: nn.Module) -> None:
    """Load the weights of a checkpoint or model folder into a model that has exactly these parameters."""
    expected = model.state_dict()
    model.load_state_dict(read_tensors(folder / WEIGHTS, expected))


def _check_slots(path: Path, model: nn.Module) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for key, entry in read_entries(path).items():
        name = key.partition("/")[2]
        if name not in shapes or entry.shape not in (shapes[name], ()):
            raise ModelFileError(f"{path}: must hold the optimiser of this model; got {key!r} of shape {entry.shape}")


def finite_or_none(value: float) -> float | None:
    """Return `value`, or None where it is not finite, which JSON cannot hold."""
    return value if math.isfinite(value) else None


def as_plain(metrics: dict[str, float]) -> dict[str, Any]:
    """Return metrics as JSON values."""
    return {name: finite_or_none(value) for name, value in metrics.items()}
