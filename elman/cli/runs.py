"""A training run from the command line: folder, data, the lines that say what was chosen, training, its result."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from elman.cli.output import note
from elman.cli.reading import equations_of, read_cell
from elman.codecs.token_store import fingerprint
from elman.errors import MissingExtraError, ModelFileError, UsageError
from elman.storage import storing
from elman.tasks import TASKS, Task
from elman.tasks.language_model import LanguageModelConfig, LanguageModelProblem
from elman.training import RunFolder, TrainingConfig, TrainingResult, reporter_for
from elman.training import train as run_training
from elman.training.curves import as_text, save_png
from elman.training.run_folder import LOCK, RUN

TOKENS, KEPT = "tokens", "text.txt"


@dataclass(frozen=True)
class Order:
    """What `elman train` was asked for.

    Args:
        task: The task.
        text: Training text.
        output: Run folder, new or empty.
        config: Options of the task.
        training: Options of training.
        quiet: Say nothing but errors.
        keeps_text: Copy the text into the run folder, since it does not stay where it is.
        measures_before: Measure the model before training, too.
    """

    task: Task
    text: Path
    output: Path
    config: LanguageModelConfig
    training: TrainingConfig
    quiet: bool = False
    keeps_text: bool = False
    measures_before: bool = False


def begin(order: Order) -> dict[str, Any]:
    """Train anew and return the result for JSON.

    Nothing is left of a run whose options or data are refused.
    """
    config = with_equations(order.config)
    refuse_used(order.output)
    data = fingerprints(order.text, config)
    text = (order.output / KEPT if order.keeps_text else order.text).resolve()
    values = {
        "task": config.model_dump(mode="json"),
        "training": order.training.model_dump(mode="json"),
        "file": str(text),
        "seed": order.training.seed,
    }
    with new_run(order.output, task=order.task.name, config=values, data=data) as run:
        if order.keeps_text:
            with storing(text):
                shutil.copyfile(order.text, text)
        problem = LanguageModelProblem(text, config, order.training.seed, run.path / TOKENS)
    with run:
        before = measured(problem, order.quiet) if order.measures_before else {}
        result = carry_out(problem, order.training, run, resume=False, quiet=order.quiet)
    return {**result, **before}


def measured(problem: LanguageModelProblem, quiet: bool) -> dict[str, Any]:
    """Return the validation metrics of the model as it is, as "before"."""
    problem.model.eval()
    with torch.no_grad():
        metrics = problem.evaluate()
    if not quiet:
        note(f"before training: perplexity {metrics['perplexity']:.4g}")
    return {"before": metrics}


def with_equations(config: LanguageModelConfig) -> LanguageModelConfig:
    """Return the config with the equations in place of a file's name, so that the run needs the file no more."""
    if config.cell == "-":
        raise UsageError("--cell: must be a name, a file or equations; got -")
    read_cell(config.cell)
    written = equations_of(config.cell)
    return config if written is None else config.model_copy(update={"cell": written})


def fingerprints(text: Path, config: LanguageModelConfig) -> dict[str, Any]:
    """Return size and hash of each text, as run.json keeps them."""
    found = {"train": fingerprint(text)}
    for name, path in (("validation", config.validation), ("test", config.test)):
        if path is not None:
            found[name] = fingerprint(path)
    return found


def refuse_used(folder: Path) -> None:
    """Refuse a folder that holds something else than a run; of runs, `RunFolder.create` tells more."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if names and not {RUN, "config.json"} & set(names):
        raise UsageError(
            f"{folder}: run folder must be new or empty; got one that holds {names[0]!r}", "choose another with -o"
        )


@contextmanager
def new_run(folder: Path, *, task: str, config: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Make a run folder; if the block fails, remove it again."""
    existed = folder.exists()
    run = RunFolder.create(folder, task=task, config=config, data=data)
    try:
        yield run
    except BaseException:
        run.close()
        discard(folder, existed)
        raise


def discard(folder: Path, existed: bool) -> None:
    """Remove what `new_run` and the data of a run put into a folder, and the folder if it was not there before."""
    shutil.rmtree(folder / TOKENS, ignore_errors=True)
    for name in (RUN, KEPT, LOCK):
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
        config, training, file = described(run)
        problem = LanguageModelProblem(file, config, training.seed, run.path / TOKENS)
        run.check_data(problem.data)
        return carry_out(problem, training, run, resume=True, quiet=quiet)


def described(run: RunFolder) -> tuple[LanguageModelConfig, TrainingConfig, Path]:
    """Return what run.json says was asked for."""
    name, values = run.description.get("task"), run.description["config"]
    if name not in TASKS:
        raise ModelFileError(f"{run.path / RUN}: task must be one of {', '.join(TASKS)}; got {str(name)[:40]!r}")
    task = TASKS[name]
    try:
        return task.config(**values["task"]), task.training(**values["training"]), Path(values["file"])
    except (ValidationError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200]
        raise ModelFileError(f"{run.path / RUN}: config must be one of {name}; got {first}") from error


def carry_out(
    problem: LanguageModelProblem, training: TrainingConfig, run: RunFolder, *, resume: bool, quiet: bool
) -> dict[str, Any]:
    """Say what was chosen, train, draw the curves, say how it ended; return the result for JSON."""
    if not quiet:
        for line in [*problem.summary(), plan(training, run.path)]:
            note(line)
    result = run_training(problem, training, run, resume=resume, reporter=reporter_for(quiet))
    if not quiet:
        note(ending(result))
    draw_curves(run.path, quiet)
    return {**as_document(result), **tested(problem, quiet)}


def tested(problem: LanguageModelProblem, quiet: bool) -> dict[str, Any]:
    """Return the metrics of the best weights on the test text, as "test"; nothing where none was given."""
    problem.model.eval()
    metrics = problem.test()
    if metrics and not quiet:
        note(f"test: perplexity {metrics['perplexity']:.4g}, loss {metrics['loss']:.4f}, {metrics['tokens']:,} tokens")
    return {"test": metrics} if metrics else {}


def plan(training: TrainingConfig, folder: Path) -> str:
    """Return the line about budget, optimiser, threads and folder."""
    budgets = [
        f"{value:g} {name}"
        for name, value in (("epochs", training.epochs), ("steps", training.steps), ("minutes", training.minutes))
        if value is not None
    ]
    threads = training.threads or torch.get_num_threads()
    return (
        f"training: {' or '.join(budgets)}; {training.optimizer} at {training.learning_rate:g}, "
        f"{training.schedule} schedule, {training.precision}; {threads} threads, seed {training.seed}; run folder "
        f"{folder}"
    )


def ending(result: TrainingResult) -> str:
    """Return the line about how a run ended."""
    metrics = "  ".join(f"{name} {value:.5g}" for name, value in result.best.items() if isinstance(value, float))
    return (
        f"done after {result.reason}: {result.steps} steps, {result.seconds:.0f} s; best at step {result.best_step}: "
        f"{metrics}; model in {result.folder}"
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
