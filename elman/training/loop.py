"""The training loop: one straight function, and the few steps it is made of."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from elman.training.config import TrainingConfig
from elman.training.problem import Problem
from elman.training.progress import Reporter, SilentReporter
from elman.training.run_folder import RunFolder
from elman.training.session import Session, TrainingResult
from elman.training.signals import Interrupted, StopSignals

_SOFT_PAUSE = 1  # omp_pause_soft of OpenMP 5.0, section 3.2.44


def train(
    problem: Problem,
    config: TrainingConfig,
    run: RunFolder,
    *,
    resume: bool | Path = False,
    reporter: Reporter | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingResult:
    """Train a problem's model within its budget and leave the best model in the run folder.

    Everything is a function of configuration, data and seed, so a run that was killed and resumed ends with the same
    weights, optimiser state and metrics.jsonl, byte for byte, on the same machine, versions and thread count. This
    holds for budgets in steps and epochs; with `minutes` the learning rate and the end depend on the clock.

    Args:
        problem: The task: model, batches, loss, evaluation.
        config: Options.
        run: The run folder, held by this process.
        resume: False starts a new run; True continues from the newest complete checkpoint, from the start if there is
            none; a path continues from exactly that checkpoint.
        reporter: Who is told; None for nobody.
        clock: Seconds, monotonic.

    Returns:
        The result; the model has the best weights, and the run folder is a model folder.

    Raises:
        DivergedError: `max_bad_steps` steps in a row had a loss or gradient that is not finite.
        StorageError: a checkpoint could not be written; the ones before are untouched.
        ModelFileError: the checkpoint named by `resume` is damaged or belongs to another model.
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written; an exit with code 130 or 143.
        UsageError: the device is not here.
    """
    reporter = reporter if reporter is not None else SilentReporter()
    problem.model.to(config.chosen_device())
    with (
        numerics(config),
        StopSignals() as signals,
        reporter,
        Session(problem, config, run, reporter, clock) as session,
    ):
        session.begin(resume)
        while True:
            if session.evaluation_is_due():
                session.evaluate(signals)
            if session.checkpoint_is_due():
                session.checkpoint()
            if signals.received is not None or session.reason_to_stop() is not None:
                break
            session.step()
        if signals.received is None and not session.is_evaluated():
            session.evaluate(signals)
        session.checkpoint()
        if signals.received is not None:
            reporter.note(f"stopped at step {session.state.step}; continue with: elman resume {run.path}")
            raise Interrupted(signals.received)
        return session.finish()


@contextmanager
def numerics(config: TrainingConfig) -> Iterator[None]:
    """Set threads and flush denormal numbers to zero inside the block (they make some products ten times slower)."""
    threads, flushing = torch.get_num_threads(), flushes_denormals()
    _flush_denormals(True)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _flush_denormals(flushing)


def _flush_denormals(flush: bool) -> None:
    """Set the mode of this thread and of the threads that help it.

    The mode belongs to a thread, and torch sets that of the calling one only; OpenMP's threads inherit it when they
    start, so those that wait for work are ended, and the next parallel operation starts new ones.
    """
    torch.set_flush_denormal(flush)
    for library in (Path(torch.__file__).parent / "lib").glob("libgomp*"):
        ctypes.CDLL(str(library)).omp_pause_resource_all(_SOFT_PAUSE)


def flushes_denormals() -> bool:
    """Return whether this thread flushes denormal numbers to zero."""
    return float(torch.full((1,), 1e-20, dtype=torch.float32) * 1e-20) == 0.0
