"""What a checkpoint holds: model, optimiser, where training stands and the carried state; all without pickle."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from elman.config import first_problem
from elman.errors import ModelFileError
from elman.model_folder import WEIGHTS
from elman.storage import read_json, write_json
from elman.tensor_file import DTYPES, check_expected, read_entries, read_tensors, write_tensors
from elman.tensor_header import Entry
from elman.training.optimizers import (
    OPTIONAL,
    AveragedSGD,
    averaged_weights,
    optimizer_state,
    restore_optimizer,
    slots_of,
)
from elman.training.problem import Carry, Problem

OPTIMIZER, CARRY, TRAINER, CLOCK = "optimizer.safetensors", "carry.safetensors", "trainer.json", "clock.json"
Count = Annotated[int, Field(ge=0)]
Kept = TypeVar("Kept")
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


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

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    step: Count = 0
    epoch: Count = 0
    batch: Count = 0
    skipped: Count = 0
    bad_in_a_row: Count = 0
    losses: list[float | None] = field(default_factory=list)
    evaluated_step: Annotated[int, Field(ge=-1)] = -1
    best_score: Annotated[list[float], Field(min_length=1, max_length=2)] | None = None
    best_step: Count | None = None
    best_metrics: dict[str, Any] = field(default_factory=dict)
    last_metrics: dict[str, Any] = field(default_factory=dict)
    since_best: Count = 0
    decays: Count = 0
    averaging: bool = False
    nats: float = 0.0
    items: Count = 0
    steps: Count = 0
    learning_rate: float = 0.0
    gradient_norm: float | None = None
    metrics_bytes: Count = 0


@dataclass(frozen=True)
class Clock:
    """What the clock adds to a checkpoint: seconds trained and length of timing.jsonl."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    seconds: Annotated[float, Field(ge=0)] = 0.0
    timing_bytes: Count = 0


@dataclass(frozen=True)
class Trainer:
    """What trainer.json holds: where training stands, and the optimiser's plain numbers by "slot/parameter"."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    state: TrainingState
    optimizer: dict[str, Annotated[int, Field(ge=1)]]


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
        ModelFileError: the checkpoint belongs to another model, or holds what no training wrote.
    """
    restore_weights(folder, problem.model)
    trainer, clock = _read(folder / TRAINER, Trainer), _read(folder / CLOCK, Clock)
    state = trainer.state
    if state.batch >= (count := problem.batches_per_epoch(state.epoch)):
        raise ModelFileError(f"{folder / TRAINER}: batch must be less than the {count} of an epoch; got {state.batch}")
    _check_slots(folder, read_entries(folder / OPTIMIZER), trainer.optimizer, problem.model, optimizer)
    restore_optimizer(optimizer, problem.model, read_tensors(folder / OPTIMIZER), trainer.optimizer)
    if isinstance(optimizer, AveragedSGD):
        optimizer.averaging = state.averaging
        optimizer.swap()
    carry = read_tensors(folder / CARRY) if (folder / CARRY).exists() else None
    return Snapshot(state, clock, _beside(carry, problem.model))


def _read(path: Path, kind: type[Kept]) -> Kept:
    """Return what a JSON file holds as an instance of a dataclass."""
    try:
        # As JSON once more: where types are strict, only that gives a dataclass from a table.
        return TypeAdapter(kind).validate_json(json.dumps(read_json(path)))
    except ValidationError as error:
        raise ModelFileError(f"{path}: must say where training stands; {first_problem(error)}") from None


def _beside(carry: dict[str, Tensor] | None, model: nn.Module) -> Carry:
    """Move a carried state to where the model is."""
    device = next(model.parameters()).device
    return None if carry is None else {name: value.to(device) for name, value in carry.items()}


def restore_weights(folder: Path, model: nn.Module) -> None:
    """Load the weights of a checkpoint or model folder into a model that has exactly these parameters."""
    expected = model.state_dict()
    model.load_state_dict(read_tensors(folder / WEIGHTS, expected))


def _check_slots(
    folder: Path,
    entries: Mapping[str, Entry],
    numbers: Mapping[str, int],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Refuse a state that is not this optimiser's of this model: torch's kernels would write beyond what it holds."""
    parameters, slots = dict(model.named_parameters()), slots_of(optimizer)
    found: dict[str, set[str]] = {}
    for key in (*entries, *numbers):
        slot, _, name = key.partition("/")
        entry, kind = entries.get(key), slots.get(slot)
        fits = name in parameters and kind is not None and (entry is None) == (kind == "count")
        if fits and entry is not None:
            like = parameters[name]
            wanted = (tuple(like.shape), like.dtype) if kind == "tensor" else ((), torch.float32)
            fits = (entry.shape, DTYPES[entry.code]) == wanted
        if not fits:
            shape = "" if entry is None else f" of shape {entry.shape} and type {entry.code}"
            path = folder / (TRAINER if entry is None else OPTIMIZER)
            raise ModelFileError(f"{path}: must hold the optimiser of this model; got {key[:200]!r}{shape}")
        found.setdefault(name, set()).add(slot)
    whole = {slot for slot in slots if slot not in OPTIONAL}
    for name, there in found.items():
        if missing := sorted(whole - there):
            raise ModelFileError(f"{folder / OPTIMIZER}: must hold {missing[0]}/{name}; got none")
        if ("average" in there) != ("averaged" in there):
            raise ModelFileError(f"{folder / OPTIMIZER}: an average of {name!r} must have its count; got one alone")


def finite_or_none(value: float) -> float | None:
    """Return `value`, or None where it is not finite, which JSON cannot hold."""
    return value if math.isfinite(value) else None


def as_plain(metrics: dict[str, float]) -> dict[str, Any]:
    """Return metrics as JSON values."""
    return {name: finite_or_none(value) for name, value in metrics.items()}
