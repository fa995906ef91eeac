"""`elman evaluate` and `elman predict`: a trained model of any task on data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elman.cli.answers import count_skipped, documents, keep, name_stdin, shown_lines, tell_skipped
from elman.cli.options import checked, flag_of, options_of
from elman.cli.output import note, table, write_json, write_line
from elman.cli.precision import accept, checked_precision, precision_options
from elman.cli.reading import as_given, as_path, counted_from
from elman.cli.verbs import json_option, refuse
from elman.errors import DataError, UsageError
from elman.readers.examples import is_empty
from elman.readers.options import ReadingOptions
from elman.runtime.text_model import PrecisionLoss, TextModel
from elman.search_options import SearchOptions

if TYPE_CHECKING:
    from elman.readers import Reading
    from elman.tasks.supervised_model import SupervisedModel

MODEL = click.argument("model", type=click.Path(path_type=Path))
OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for answers (predictions.jsonl) and pictures."
)


@click.command()
@MODEL
@click.argument("data")
@OUTPUT
@click.option(
    "--target", type=click.Path(path_type=Path), help="File whose line n is what line n of DATA becomes (translation)."
)
@click.option("--labels", type=click.Path(path_type=Path), help="Table with the labels of DATA, a FASTA file (dna).")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test", "all"]),
    help="Part of DATA to measure; without it the test, where DATA says which examples are of it, else all.",
)
@precision_options
@json_option
def evaluate(
    model: Path,
    data: str,
    output: Path | None,
    target: Path | None,
    labels: Path | None,
    part: str | None,
    precision: str | None,
    loss_bound: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure MODEL on labelled DATA (- for stdin): loss in nats and the metrics of its task."""
    from elman.tasks import load, task_of
    from elman.tasks.supervised_model import SupervisedModel

    loaded = load(model)
    narrow = checked_precision(precision, loss_bound)
    beside = {name: file for name, file in (("target", target), ("labels", labels)) if file is not None}
    chosen, search = given_options("elman evaluate", options)
    with as_path(data, folders=True) as path:
        if precision is not None and not isinstance(loaded, TextModel):
            raise UsageError(f"--precision: has no effect on {model}, which is of {task_of(model).name}")
        if isinstance(loaded, SupervisedModel):
            if "n_best" in search and output is None:
                raise UsageError(
                    "--n-best: has no effect where no answers are kept", "keep them in a folder: -o FOLDER"
                )
            set_search("elman evaluate", loaded, search)
            how = counted_from(data, loaded.reading(chosen | files_beside(loaded, beside)))
            metrics = judged(loaded, (data, path), how, part, output)
        else:
            refuse_for_texts(model, chosen | search | beside | ({} if part is None else {"part": part}), output)
            metrics = loaded.evaluate(path) if narrow == "float32" else narrowed(loaded, path, narrow, loss_bound)
    found = {"model": str(model), "data": data, **metrics}
    write_json(found) if as_json else write_line(table([[name, _number(value)] for name, value in found.items()]))


def judged(
    model: SupervisedModel, file: tuple[str, Path], how: Reading, part: str | None, output: Path | None
) -> dict[str, Any]:
    """Return the metrics of a model on labelled data; say what should be known of it, keep answers where asked to.

    Args:
        model: The model.
        file: The data as the user gave it, and the path to read.
        how: How it is read.
        part: Which part of it is measured.
        output: Folder for answers; None keeps none.
    """
    found = model.judge(file[1], how, part)
    name_stdin(how, *file)
    tell_skipped(how, output)
    for remark in filter(None, (found.note, *how.notes, *model.remarks(found.examples))):
        note(as_given(f"note: {remark}", *file))
    metrics = {**found.metrics, **model.task.notes(), **count_skipped(how)}
    if output is not None:
        rows = documents(model.task, found.examples, found.answers, file)
        keep(model, found.examples, rows, how, output, metrics)
    return metrics


@click.command()
@MODEL
@click.argument("data", default="-")
@OUTPUT
@json_option
def predict(model: Path, data: str, output: Path | None, as_json: bool, **options: Any) -> None:
    """Show what MODEL says of every example of DATA (- for stdin)."""
    from elman.tasks import load, task_of
    from elman.tasks.supervised_model import SupervisedModel

    loaded = load(model)
    if not isinstance(loaded, SupervisedModel):
        raise UsageError(
            f"elman predict: {model} must answer examples; it is a {task_of(model).name}",
            "use elman sample or elman score",
        )
    chosen, search = given_options("elman predict", options)
    set_search("elman predict", loaded, search)
    with as_path(data, folders=True) as path:
        how = counted_from(data, loaded.reading(chosen, labelled=False))
        found = loaded.read(path, how)
        examples, answers = loaded.answer([example for example in found if not is_empty(example)], how)
        if not examples:
            given = "stdin" if data == "-" else data
            raise DataError(f"{given}: must hold at least one example; got none that can be used")
        name_stdin(how, data, path)
        rows = documents(loaded.task, examples, answers, (data, path))
        if output is not None:
            keep(loaded, examples, rows, how, output)
    tell_skipped(how, output)
    if as_json:
        return write_json({"model": str(model), "answers": rows})
    return write_line(as_given("\n".join(shown_lines(loaded, found, examples, rows)), data, path))


for _command in (evaluate, predict):
    _command.params += [*options_of(ReadingOptions), *options_of(SearchOptions)]


def given_options(where: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of reading and of searching that were given, checked.

    Raises:
        UsageError: lists those that cannot be used.
    """
    reading, problems = checked(ReadingOptions, options)
    search, more = checked(SearchOptions, options)
    refuse(where, problems + more, f"see: {where} --help")
    assert reading is not None and search is not None
    return reading.model_dump(exclude_unset=True), search.model_dump(exclude_unset=True)


def set_search(where: str, model: SupervisedModel, search: Mapping[str, Any]) -> None:
    """Set how a model searches for answers.

    Raises:
        UsageError: an option that the answers of its task do not obey, or one that does not fit the others.
    """
    idle = [flag_of(name) for name in search if name not in model.task.searching]
    refuse(where, [f"{flag} has no effect on a model of {model.task.name}" for flag in idle])
    model.search(**search)


def files_beside(model: SupervisedModel, files: dict[str, Path]) -> dict[str, Path]:
    """Return options of reading that name files beside the data.

    Raises:
        UsageError: the model's task reads no such file.
    """
    idle = [name for name in files if name not in model.setting.config.beside]
    refuse("elman evaluate", [f"--{name} has no effect on a model of {model.task.name}" for name in idle])
    return files


def refuse_for_texts(model: Path, chosen: Mapping[str, Any], output: Path | None) -> None:
    """Refuse options of reading examples and of keeping answers for a language model, which has neither.

    Raises:
        UsageError: one was given.
    """
    idle = ["--output"] * (output is not None) + ["--" + name.replace("_", "-") for name in chosen]
    refuse("elman evaluate", [f"{name} has no effect on the language model {model}" for name in idle])


def narrowed(model: Any, path: Path, precision: str, loss_bound: float | None) -> dict[str, Any]:
    """Return the metrics of a language model in a precision, unless it loses too much.

    Raises:
        UsageError: it does.
    """
    found: dict[str, Any] = model.evaluate(path, precision=precision)
    accept(
        PrecisionLoss(precision, found["precision_loss"], found["precision_loss_error"], found["tokens"]), loss_bound
    )
    return found


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
