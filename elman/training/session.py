"""A training run in progress: what the loop's steps do to state, logs and checkpoints."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from elman.errors import DataError, DivergedError, MissingInputError, ModelFileError, UsageError, counted
from elman.storage import make_folder, remove_folder, storing, sync_file, sync_folder, write_json
from elman.training.checkpoint import Checkpoints, verify
from elman.training.config import TrainingConfig
from elman.training.gradients import StepOutcome, take_step
from elman.training.metrics_log import JsonLines
from elman.training.optimizers import (
    AveragedSGD,
    averaged_weights,
    averaging_is_due,
    make_optimizer,
    set_learning_rate,
)
from elman.training.problem import Carry, Problem
from elman.training.progress import Reporter, StepReport
from elman.training.run_folder import RunFolder, remove_litter
from elman.training.schedules import learning_rate, progress
from elman.training.selection import score
from elman.training.signals import StopSignals
from elman.training.snapshot import (
    Clock,
    TrainingState,
    as_plain,
    finite_or_none,
    is_finite,
    read_snapshot,
    restore_weights,
    write_snapshot,
)


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Args:
        steps: Optimiser steps done.
        epochs: Epochs done, with the fraction of the last one.
        seconds: Seconds trained, by the clock, over all resumed parts.
        reason: Why it ended: which budget, or patience.
        best_step: Step of the weights that were kept.
        best: Validation metrics of these weights.
        last: Validation metrics at the end.
        skipped: Steps skipped because something was not finite.
        folder: The run folder, now also a model folder.
    """

    steps: int
    epochs: float
    seconds: float
    reason: str
    best_step: int
    best: dict[str, Any]
    last: dict[str, Any]
    skipped: int
    folder: Path


class Session:
    """Problem, configuration, optimiser, state, logs and checkpoints of one call of `train`."""

    def __init__(
        self, problem: Problem, config: TrainingConfig, run: RunFolder, reporter: Reporter, clock: Callable[[], float]
    ) -> None:
        self.problem, self.config, self.run, self.reporter, self.clock = problem, config, run, reporter, clock
        self.optimizer = make_optimizer(problem.model, config)
        self.checkpoints = Checkpoints(run.path / "checkpoints", reporter.warn)
        self.metrics = JsonLines(run.path / "metrics.jsonl")
        self.timing = JsonLines(run.path / "timing.jsonl")
        self.state = TrainingState()
        self.carry: Carry = None
        self._saved_step: int | None = None
        self._started = clock()
        self._seconds_before = self._fraction_before = 0.0  # of the parts that this one resumes
        self._items = 0
        self._was_training = problem.model.training

    def __enter__(self) -> Session:
        self.problem.model.train()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.problem.model.train(self._was_training)
        with self.metrics, self.timing:  # closes both
            pass

    # Where training stands

    @property
    def seconds(self) -> float:
        """Seconds trained, over all resumed parts."""
        return self._seconds_before + self.clock() - self._started

    @property
    def batches(self) -> int:
        """Batches of the current epoch."""
        count = self.problem.batches_per_epoch(self.state.epoch)
        if count < 1:
            raise DataError(f"training data: must give at least one batch per epoch; got {count}")
        return count

    @property
    def epochs(self) -> float:
        """Epochs done, with the fraction of the current one."""
        state = self.state
        return state.epoch + (state.batch / self.batches if state.batch else 0.0)

    @property
    def fraction(self) -> float:
        """Budget used, in [0, 1]."""
        return progress(self.config, self.state.step, self.epochs, self.seconds)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the budget at the rate of this part; earlier ones may have run beside other work."""
        done = self.fraction - self._fraction_before
        return (self.seconds - self._seconds_before) * (1 - self.fraction) / done if done > 0 else None

    def reason_to_stop(self) -> str | None:
        """Return which budget is used up or that patience is, None to go on."""
        config, state = self.config, self.state
        if config.patience is not None and state.since_best >= config.patience:
            return f"no better validation {self.problem.selection} in {counted(state.since_best, 'evaluation')}"
        if config.steps is not None and state.step >= config.steps:
            return counted(config.steps, "step")
        if config.epochs is not None and state.epoch >= config.epochs:
            return counted(config.epochs, "epoch")
        if config.minutes is not None and self.seconds >= 60 * config.minutes:
            return counted(config.minutes, "minute")
        return None

    def is_evaluated(self) -> bool:
        """Return whether the current weights were evaluated."""
        return self.state.evaluated_step == self.state.step

    def evaluation_is_due(self) -> bool:
        """Return whether an evaluation belongs here and was not done yet."""
        state, every = self.state, self.config.evaluate_every
        if state.step == 0 or self.is_evaluated():
            return False
        return state.batch == 0 if every is None else state.step % every == 0

    def checkpoint_is_due(self) -> bool:
        """Return whether a checkpoint belongs here: after every evaluation, and as `checkpoint_every` says."""
        every = self.config.checkpoint_every
        regular = every is not None and self.state.step % every == 0
        return self.state.step > 0 and (self.is_evaluated() or regular)

    # What the loop does

    def begin(self, resume: bool | Path) -> None:
        """Start anew, or put everything back as it was at a checkpoint."""
        remove_litter(self.checkpoints.folder)
        self.checkpoints.refuse_newer()
        self.checkpoints.check_renames()
        path = self._checkpoint_to_resume(resume)
        clock = Clock()
        if path is not None:
            snapshot = read_snapshot(path, self.problem, self.optimizer)
            self.state, self.carry, clock = snapshot.state, snapshot.carry, snapshot.clock
            self._saved_step = self.state.step
            self.reporter.note(f"resumed from {path}")
        for log, size in ((self.metrics, self.state.metrics_bytes), (self.timing, clock.timing_bytes)):
            if lost := log.truncate(size):
                self.reporter.warn(f"{log.path} was shorter than at the checkpoint; {lost} bytes of records are lost")
        self._seconds_before, self._started = clock.seconds, self.clock()
        self._fraction_before = self.fraction
        self._begin_averaging_if_due()  # at once, where no trigger is waited for

    def _checkpoint_to_resume(self, resume: bool | Path) -> Path | None:
        if isinstance(resume, Path):
            verify(resume)
            return resume
        newest = self.checkpoints.newest()
        if newest is not None and not resume:
            raise UsageError(
                f"{self.run.path}: run folder must hold no checkpoint to start anew; got {newest.name}",
                f"continue it with: elman resume {self.run.path}",
            )
        return newest

    def step(self) -> None:
        """Take one optimiser step, or skip it, and log."""
        state, config = self.state, self.config
        rate = learning_rate(config, state.step, state.epoch, self.fraction, state.decays)
        set_learning_rate(self.optimizer, rate)
        batches = range(state.batch, min(state.batch + config.accumulate, self.batches))
        outcome = take_step(self.problem, config, self.optimizer, state.epoch, batches, self.carry)
        self._advance(outcome)
        if outcome.problem is not None:
            self._skip(outcome.problem)
        else:
            state.bad_in_a_row = 0
        self._log_step(outcome, rate)

    def _advance(self, outcome: StepOutcome) -> None:
        state = self.state
        self.carry = outcome.carry
        ended = state.batch + outcome.batches >= self.batches
        state.step, state.batch = state.step + 1, 0 if ended else state.batch + outcome.batches
        if ended:
            state.epoch, self.carry = state.epoch + 1, None
        state.nats, state.items, state.steps = state.nats + outcome.nats, state.items + outcome.items, state.steps + 1
        self._items += outcome.items

    def _skip(self, problem: str) -> None:
        state = self.state
        state.skipped, state.bad_in_a_row = state.skipped + 1, state.bad_in_a_row + 1
        if state.bad_in_a_row >= self.config.max_bad_steps:
            raise DivergedError(
                f"training: loss and gradient must be finite; got, in step {state.step} and as the last of"
                f" {state.bad_in_a_row} bad steps in a row, {problem}",
                "lower --learning-rate or clip harder with --clip-norm; checkpoints before this are undamaged",
            )
        self.reporter.warn(f"step {state.step} is skipped: {problem}")

    def _log_step(self, outcome: StepOutcome, rate: float) -> None:
        state = self.state
        self.reporter.step(
            StepReport(
                step=state.step,
                epoch=self.epochs,
                loss=self._mean_loss(),
                gradient_norm=outcome.gradient_norm,
                learning_rate=rate,
                items_per_second=self._items / max(1e-9, self.seconds - self._seconds_before),
                unit=self.problem.unit,
                fraction=self.fraction,
                seconds_left=self.seconds_left,
                skipped=state.skipped,
            )
        )
        state.learning_rate, state.gradient_norm = rate, finite_or_none(outcome.gradient_norm)
        if state.step % self.config.log_every == 0:
            self._record_steps()

    def _mean_loss(self) -> float:
        return self.state.nats / self.state.items if self.state.items else math.nan

    def _record_steps(self) -> None:
        """Write what happened since the last record; nothing when there is nothing."""
        state = self.state
        if state.steps == 0:
            return
        self.metrics.append(
            {
                "kind": "train",
                "step": state.step,
                "epoch": self.epochs,
                "loss": self._mean_loss(),
                "learning_rate": state.learning_rate,
                "gradient_norm": math.nan if state.gradient_norm is None else state.gradient_norm,
                "skipped": state.skipped,
            }
        )
        seconds = self.seconds
        speed = self._items / max(1e-9, seconds - self._seconds_before)
        self.timing.append({"step": state.step, "seconds": seconds, "items_per_second": speed})
        state.nats, state.items, state.steps = 0.0, 0, 0

    def evaluate(self, signals: StopSignals) -> None:
        """Evaluate, record, and keep the best; a signal cuts the evaluation short, and it is done again on resume."""
        self._record_steps()
        with averaged_weights(self.optimizer), self._evaluating():
            metrics = signals.unless_stopped(self.problem.evaluate)
        if metrics is None:
            return
        state, found = self.state, score(metrics, self.problem.selection)
        better = found is not None and (state.best_score is None or found < state.best_score)
        better = better and is_finite(self.problem.model, self.optimizer)
        self.metrics.append({"kind": "validation", "step": state.step, "epoch": self.epochs, **metrics, "best": better})
        self.reporter.evaluated(state.step, metrics, better)
        state.evaluated_step, state.last_metrics = state.step, as_plain(metrics)
        state.losses.append(finite_or_none(metrics["loss"]))
        self._saved_step = None  # a checkpoint of this step from before the evaluation is out of date
        if better:
            state.best_score, state.best_step, state.since_best = found, state.step, 0
            state.best_metrics = state.last_metrics
        else:
            state.since_best += 1
            self._react_to_worse()
        self._begin_averaging_if_due()

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        self.problem.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.problem.model.train()

    def _react_to_worse(self) -> None:
        if self.config.schedule == "step" and self.config.decay_after is None:
            self.state.decays += 1

    def _begin_averaging_if_due(self) -> None:
        optimizer, state = self.optimizer, self.state
        if not isinstance(optimizer, AveragedSGD) or optimizer.averaging:
            return
        losses = [math.inf if loss is None else loss for loss in state.losses]
        if averaging_is_due(losses, self.config.average_trigger):
            optimizer.begin_averaging()
            state.averaging = True
            self.reporter.note(f"step {state.step}  averaging of weights begins")

    def checkpoint(self) -> None:
        """Save where training stands and retire older checkpoints; weights that are not finite are never saved."""
        state = self.state
        if self._saved_step == state.step:
            return
        if not is_finite(self.problem.model, self.optimizer):
            self.reporter.warn(f"no checkpoint at step {state.step}: weights or optimiser state are not finite")
            return
        self.metrics.sync()
        self.timing.sync()
        state.metrics_bytes = self.metrics.size
        clock = Clock(self.seconds, self.timing.size)
        self.checkpoints.save(
            state.step, lambda folder: write_snapshot(folder, self.problem, self.optimizer, state, clock, self.carry)
        )
        self._saved_step = state.step
        self.checkpoints.retire(state.step, self.config.keep, state.best_step)

    def finish(self) -> TrainingResult:
        """Give the model its best weights, save it into the run folder, and return the result."""
        state = self.state
        seconds = self.seconds
        step = self._restore_best()
        best = state.best_metrics if step == state.best_step else state.last_metrics
        self._export({"step": step, "validation": best})
        return TrainingResult(
            steps=state.step,
            epochs=self.epochs,
            seconds=seconds,
            reason=self.reason_to_stop() or "stopped",
            best_step=step,
            best=dict(best),
            last=dict(state.last_metrics),
            skipped=state.skipped,
            folder=self.run.path,
        )

    def _restore_best(self) -> int:
        """Load the best checkpoint's weights, or keep the current ones when it is damaged; return their step."""
        if self.state.best_step is not None:
            path = self.checkpoints.path(self.state.best_step)
            try:
                verify(path)
                restore_weights(path, self.problem.model)
                return self.state.best_step
            except (ModelFileError, MissingInputError) as error:
                self.reporter.warn(f"the best weights cannot be read, the last ones are kept: {error.message}")
        if not is_finite(self.problem.model, self.optimizer):
            raise DivergedError(
                f"training: weights must be finite at the end; got others at step {self.state.step}",
                "lower --learning-rate or clip harder with --clip-norm",
            )
        if isinstance(self.optimizer, AveragedSGD):
            self.optimizer.swap()
        return self.state.step

    def _export(self, metrics: dict[str, Any]) -> None:
        """Make the run folder a model folder; every file is replaced whole, config.json last."""
        temporary = self.run.path / f".tmp-export-{os.getpid()}"
        try:
            make_folder(temporary)
            self.problem.save_model(temporary)
            write_json(temporary / "metrics.json", metrics)
            with storing(self.run.path):
                for path in sorted(temporary.iterdir(), key=lambda path: (path.name == "config.json", path.name)):
                    if path.name == "config.json":
                        sync_folder(self.run.path)  # the other names must be durable before the one that counts
                    sync_file(path)
                    os.replace(path, self.run.path / path.name)
            sync_folder(self.run.path)
        finally:
            remove_folder(temporary)
