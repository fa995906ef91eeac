"""A training run from the command line: folder, data, the lines that say what was chosen, training, its result."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from elman.cli.output import note
from elman.equations.notation import declared_name
from elman.errors import MissingExtraError, ModelFileError, UsageError, counted
from elman.plans.native import BF16_UNITS, available, target
from elman.readers.cells import equations_of, is_file_name, read_cell
from elman.storage import storing
from elman.tasks import TASKS, Task
from elman.tasks.language_model_task import STORES
from elman.tasks.supervised_problem import REJECTS
from elman.tasks.task import TaskProblem
from elman.training import RunFolder, TrainingConfig, TrainingResult, reporter_for
from elman.training import train as run_training
from elman.training.checkpoint import Checkpoints, step_of
from elman.training.curves import as_text, save_png
from elman.training.gradients import at_precision
from elman.training.run_folder import LOCK, RUN

KEPT = "text.txt"


@dataclass(frozen=True)
class Order:
    """What `elman train` was asked for.

    Args:
        task: The task.
        data: Training data, a file or folder.
        output: Run folder, new or empty.
        config: Options of the task.
        training: Options of training.
        quiet: Say nothing but errors.
        keeps_data: Copy the data, a file, into the run folder, since it does not stay where it is.
        measures_before: Measure the model before training, too.
    """

    task: Task
    data: Path
    output: Path
    config: Any
    training: TrainingConfig
    quiet: bool = False
    keeps_data: bool = False
    measures_before: bool = False


def begin(order: Order) -> dict[str, Any]:
    """Train anew and return the result for JSON.

    Nothing is left of a run whose options or data are refused.
    """
    config = with_equations(order.config)
    refuse_used(order.output)
    data = order.task.fingerprints(order.data, config)
    for folder in filter(None, (order.data, config.validation, config.test)):
        refuse_inside(order.output, folder)
    path = (order.output / KEPT if order.keeps_data else order.data).resolve()
    values = {
        "task": config.model_dump(mode="json"),
        "training": order.training.model_dump(mode="json"),
        "file": KEPT if order.keeps_data else str(path),  # with the folder of the run, if that is moved
        "seed": order.training.seed,
    }
    with new_run(order.output, task=order.task.name, config=values, data=data) as run:
        if order.keeps_data:
            with storing(path):
                shutil.copyfile(order.data, path)
        problem = order.task.problem(path, config, order.training.seed, run.path)
        left_out = [name for name, value in config if value is None]
        run.settle(task=problem.config.model_dump(mode="json", include=set(left_out), exclude_none=True))
    with run:
        before = measured(problem, order.quiet) if order.measures_before else {}
        result = carry_out(problem, order.training, run, resume=False, quiet=order.quiet)
    return {**result, **before}


def measured(problem: TaskProblem, quiet: bool) -> dict[str, Any]:
    """Return the validation metrics of the model as it is, as "before"."""
    problem.model.eval()
    with torch.no_grad():
        metrics = problem.evaluate()
    if not quiet:
        note(f"before training: {in_words(metrics)}")
    return {"before": metrics}


def in_words(metrics: Mapping[str, Any]) -> str:
    """Return metrics as a line, "loss 1.5  accuracy 0.8"; None, as log and result say it, is a number nobody knows."""
    metrics = {name: math.nan if value is None else value for name, value in metrics.items()}
    return "  ".join(
        f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value:,}" for name, value in metrics.items()
    )


def with_equations(config: Any) -> Any:
    """Return the config with the equations in place of a file's name, so that the run needs the file no more."""
    if config.cell == "-":
        raise UsageError("--cell: must be a name, a file or equations; got -")
    read_cell(config.cell)
    written = equations_of(config.cell)
    if written is None:
        return config
    if is_file_name(config.cell) and declared_name(written) is None:
        name = re.sub(r"[^\w.-]", "_", Path(config.cell).stem)
        written = f"name: {name}\n{written}"
    return config.model_copy(update={"cell": written})


def refuse_used(folder: Path) -> None:
    """Refuse a folder that holds something else than a run; of runs, `RunFolder.create` tells more."""
    names = sorted(path.name for path in folder.iterdir() if not _is_left_behind(path)) if folder.is_dir() else []
    if names and not {RUN, "config.json"} & set(names):
        raise UsageError(
            f"{folder}: run folder must be new or empty; got one that holds {names[0]!r}", "choose another with -o"
        )


def _is_left_behind(path: Path) -> bool:
    """Whether a file is of a run that was killed before it had a run.json."""
    if path.name.startswith(".tmp-"):
        return True
    return path.name == LOCK and path.is_file() and (not path.stat().st_size or path.read_bytes()[:8] == b"process ")


def refuse_inside(output: Path, data: Path) -> None:
    """Refuse a run folder inside a folder of data: its files would be read as data, and change it for `elman resume`.

    Raises:
        UsageError: it is one.
    """
    if data.is_dir() and output.resolve().is_relative_to(data.resolve()):
        raise UsageError(
            f"{output}: run folder must lie outside the data; got one inside {data}", "choose another with -o"
        )


@contextmanager
def new_run(folder: Path, *, task: str, config: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Make a run folder; if the block fails, remove it again."""
    existed = folder.exists()
    run = RunFolder.create(folder, task=task, config=config, data=data)
    try:
        yield run
    except BaseException:
        with run:  # held until the end: a run that begins here meanwhile would lose its files
            discard(folder, existed)
        raise


def discard(folder: Path, existed: bool) -> None:
    """Remove what `new_run` and the data of a run put into a folder, and the folder if it was not there before."""
    shutil.rmtree(folder / STORES, ignore_errors=True)
    for name in (RUN, KEPT, LOCK, REJECTS):
        (folder / name).unlink(missing_ok=True)
    if not existed and not any(folder.iterdir()):
        folder.rmdir()


def go_on(folder: Path, quiet: bool) -> dict[str, Any]:
    """Resume a run and return the result for JSON.

    Raises:
        MissingInputError: no run, or its text is gone.
        ModelFileError: run.json is damaged.
        DataError: the text has changed.
        BusyError: another process works in the folder.
    """
    with RunFolder.open(folder) as run:
        task, config, training, file = described(run)
        problem = task.problem(file, config, training.seed, run.path)
        run.check_data(problem.data)
        before = newest_step(run.path)
        result = carry_out(problem, training, run, resume=True, quiet=quiet)
        if result["steps"] == before:
            note(nothing_left(task.name, file, training, result["reason"]))
        return result


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest whole checkpoint of a run; None when there is none."""
    path = Checkpoints(folder / "checkpoints", lambda _: None).newest()  # training warns of damaged ones
    return None if path is None else step_of(path)


def nothing_left(task: str, file: Path, training: TrainingConfig, reason: str) -> str:
    """Return what to say of a run that had ended, and how to train for longer."""
    budget = next(name for name in ("epochs", "steps", "minutes") if getattr(training, name) is not None)
    more = f"elman train {task} {shlex.quote(str(file))} --{budget} {2 * getattr(training, budget):g} -o NEW"
    return (
        f"nothing is left to train: this run ended after {reason}. For more, train anew with a larger budget and the "
        f"other options as they were: {more}"
    )


def described(run: RunFolder) -> tuple[Task, Any, TrainingConfig, Path]:
    """Return what run.json says was asked for."""
    name, values = run.description.get("task"), run.description["config"]
    if not isinstance(name, str) or name not in TASKS:
        raise ModelFileError(f"{run.path / RUN}: task must be one of {', '.join(TASKS)}; got {str(name)[:40]!r}")
    task = TASKS[name]
    try:
        return task, task.config(**values["task"]), task.training(**values["training"]), run.path / values["file"]
    except (ValidationError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200]
        raise ModelFileError(f"{run.path / RUN}: config must be one of {name}; got {first}") from error


def carry_out(
    problem: TaskProblem, training: TrainingConfig, run: RunFolder, *, resume: bool, quiet: bool
) -> dict[str, Any]:
    """Say what was chosen, train, draw the curves, say how it ended; return the result for JSON."""
    if not quiet:
        with at_precision(problem.model, training):
            lines = [*problem.summary(), plan(training, run.path), *gain_of_bf16(training)]
        for line in lines:
            note(line)
    result = run_training(problem, training, run, resume=resume, reporter=reporter_for(quiet))
    if not quiet:
        note(ending(result))
    draw_curves(run.path, quiet)
    return {**as_document(result), **tested(problem, quiet)}


def gain_of_bf16(training: TrainingConfig) -> list[str]:
    """Return the line about what bfloat16 would gain here; none where it runs or is not multiplied."""
    unit = BF16_UNITS.get(target()) if available() else None
    if training.precision == "bf16" or unit is None:
        return []
    return [f"this processor has {unit.name}: --precision bf16 would be faster, {unit.gain:g} times for an LSTM of 512"]


def tested(problem: TaskProblem, quiet: bool) -> dict[str, Any]:
    """Return the metrics of the best weights on the test text, as "test"; nothing where none was given."""
    problem.model.eval()
    metrics = problem.test()
    if metrics and not quiet:
        note(f"test: {in_words(metrics)}")
    return {"test": metrics} if metrics else {}


def plan(training: TrainingConfig, folder: Path) -> str:
    """Return the line about budget, optimiser, threads and folder."""
    budgets = [
        counted(value, name)
        for name, value in (("epoch", training.epochs), ("step", training.steps), ("minute", training.minutes))
        if value is not None
    ]
    threads = training.threads or torch.get_num_threads()
    return (
        f"training: {' or '.join(budgets)}; {training.optimizer} at {training.learning_rate:g}, "
        f"{training.schedule} schedule, {training.precision} on {training.chosen_device()}; "
        f"{counted(threads, 'thread')}, seed {training.seed}; run folder {folder}"
    )


def ending(result: TrainingResult) -> str:
    """Return the line about how a run ended."""
    return (
        f"done after {result.reason}: {result.steps} steps, {result.seconds:.0f} s; best at step {result.best_step}: "
        f"{in_words(result.best)}; model in {result.folder}"
    )


def draw_curves(folder: Path, quiet: bool) -> None:
    """Draw curves.png into the run folder and show the curves as text."""
    try:
        save_png(folder)
    except MissingExtraError as error:
        note(f"no picture of the curves: {error.message}")
    if not quiet:
        note(as_text(folder))


def as_document(result: TrainingResult) -> dict[str, Any]:
    """Return a result as JSON values."""
    return {**dataclasses.asdict(result), "folder": str(result.folder)}
