"""`elman evaluate` and `elman predict`: a trained model of any task on data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elman.cli.options import checked, options_of
from elman.cli.output import finite, note, table, write_json, write_line
from elman.cli.precision import accept, checked_precision, precision_options
from elman.cli.reading import as_given, as_path
from elman.cli.verbs import json_option, refuse
from elman.errors import DataError, UsageError, counted
from elman.readers.examples import is_empty
from elman.readers.options import ReadingOptions
from elman.runtime.text_model import PrecisionLoss, TextModel
from elman.search_options import SearchOptions
from elman.storage import make_folder, parse_json, storing, write_file
from elman.storage import write_json as write_json_file

if TYPE_CHECKING:
    from elman.readers import Example, Reading
    from elman.tasks.supervised import Answer, SupervisedTask
    from elman.tasks.supervised_model import SupervisedModel

MODEL = click.argument("model", type=click.Path(path_type=Path))
OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for answers (predictions.jsonl) and pictures."
)
REJECTS = "rejects.jsonl"
WRITTEN = "written.json"
_MOST_TOLD = 5


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
            loaded.search(**search)
            how = loaded.reading(chosen | files_beside(loaded, beside))
            judged = loaded.judge(path, how, part)
            name_stdin(how, data, path)
            tell_skipped(how, output)
            for remark in filter(None, (judged.note, *how.notes, *loaded.remarks(judged.examples))):
                note(as_given(f"note: {remark}", data, path))
            metrics: dict[str, Any] = {**judged.metrics, **loaded.task.notes(), **count_skipped(how)}
            metrics |= {"part": judged.part} if judged.part != "all" else {}
            if output is not None:
                rows = documents(loaded.task, judged.examples, judged.answers, (data, path))
                keep(loaded, judged.examples, rows, how, output, metrics)
        else:
            refuse_for_texts(model, chosen | search | beside | ({} if part is None else {"part": part}), output)
            metrics = loaded.evaluate(path) if narrow == "float32" else narrowed(loaded, path, narrow, loss_bound)
    found = {"model": str(model), "data": data, **metrics}
    write_json(found) if as_json else write_line(table([[name, _number(value)] for name, value in found.items()]))


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
    loaded.search(**search)
    with as_path(data, folders=True) as path:
        how = loaded.reading(chosen, labelled=False)
        found = loaded.read(path, how)
        examples, answers = loaded.answer([example for example in found if not is_empty(example)], how)
        if not examples:
            raise DataError(f"{data}: must hold at least one example; got none that can be used")
        name_stdin(how, data, path)
        rows = documents(loaded.task, examples, answers, (data, path))
        if output is not None:
            keep(loaded, examples, rows, how, output)
    tell_skipped(how, output)
    if as_json:
        return write_json({"model": str(model), "answers": rows})
    return write_line(as_given("\n".join(shown_lines(loaded, found, examples, rows)), data, path))


def shown_lines(
    model: SupervisedModel, found: Sequence[Example], examples: Sequence[Example], rows: Sequence[Answer]
) -> list[str]:
    """Return a line for people about each row of answers, and an empty one for each empty line of what was found."""
    colour = sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    lines = [model.task.show(model, e.x, row, colour=colour) for e, row in zip(examples, rows, strict=True)]
    if not any(map(is_empty, found)):
        return lines
    said = {example.where: line for example, line in zip(examples, lines, strict=True)}
    return [said.get(e.where, "") for e in found if is_empty(e) or e.where in said]


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


def name_stdin(how: Reading, data: str, path: Path) -> None:
    """Let what was refused be of stdin, not of the path where that is kept."""
    how.rejects.rows[:] = [{k: as_given(text, data, path) for k, text in row.items()} for row in how.rejects.rows]


def tell_skipped(how: Reading, output: Path | None) -> None:
    """Say on stderr how many examples were skipped, and where to read why, or why."""
    if not len(how.rejects):
        return
    told = "" if output is None else f"; see {output / REJECTS}"
    note(f"note: {counted(len(how.rejects), 'example')} skipped{told}")
    if output is None:
        for row in how.rejects.rows[:_MOST_TOLD]:
            note(f"  {row['where']}: {row['problem']}")
        if len(how.rejects) > _MOST_TOLD:
            note(f"  and {len(how.rejects) - _MOST_TOLD:,} more; -o FOLDER keeps all in {REJECTS}")


def count_skipped(how: Reading) -> dict[str, int]:
    """Return how many examples were skipped; nothing where none was."""
    return {"skipped": len(how.rejects)} if len(how.rejects) else {}


def documents(
    task: SupervisedTask[Any], examples: Sequence[Example], answers: Sequence[Answer], file: tuple[str, Path]
) -> list[Answer]:
    """Return a row for each answer: where its example stands, what was read, the answer, and the truth where known.

    Args:
        task: The task.
        examples: What was read.
        answers: One for each.
        file: The data as the user gave it, and the path that was read.
    """
    rows = []
    for example, answer in zip(examples, answers, strict=True):
        told = {"where": example.where, **task.told(example)}
        told |= {name: as_given(value, *file) for name, value in told.items() if isinstance(value, str)}
        rows.append(told | answer | ({} if example.y is None else {"truth": task.truth(example.y)}))
    return rows


def keep(
    model: SupervisedModel,
    examples: Sequence[Example],
    answers: Sequence[Answer],
    how: Reading,
    folder: Path,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write rows of answers, rejects, metrics and pictures into a folder; say which pictures there are.

    What `keep` wrote there before is removed first, by the list that it leaves: no picture of other answers stays.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(folder)
    remove_written(folder)
    lines = [json.dumps(finite(row), ensure_ascii=False) + "\n" for row in answers]
    files = [folder / "predictions.jsonl"]
    write_file(files[0], [line.encode("utf-8", "backslashreplace") for line in lines])
    if len(how.rejects):
        files.append(folder / REJECTS)
        how.rejects.write(files[-1])
    if metrics is not None:
        files.append(folder / "metrics.json")
        write_json_file(files[-1], finite(metrics))
    for picture in model.task.draw(model, examples, answers, folder):
        files.append(picture)
        note(f"drawn: {picture}")
    write_json_file(folder / WRITTEN, {"files": [file.name for file in files]})


def remove_written(folder: Path) -> None:
    """Remove the files of earlier answers that a folder lists as such.

    Raises:
        StorageError: one cannot be removed.
        ModelFileError: the list is damaged.
    """
    listed = folder / WRITTEN
    if not listed.is_file():
        return
    with storing(listed):
        found = parse_json(listed.read_bytes(), str(listed))
        names = found.get("files", []) if isinstance(found, dict) else []
        for name in names:
            if isinstance(name, str) and Path(name).name == name:  # never outside the folder
                (folder / name).unlink(missing_ok=True)


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
