"""`elman tasks`: what can be trained; `elman example` and `elman data`: made-up and public data to try a task on."""

from __future__ import annotations

from pathlib import Path

import click

from elman.cli.output import note, table, write_json, write_line
from elman.cli.verbs import json_option
from elman.errors import UsageError, nearest
from elman.storage import make_folder


@click.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks that `elman train` knows."""
    from elman.tasks import TASKS

    rows = [{"name": task.name, "summary": task.summary, "shape": task.shape} for task in TASKS.values()]
    if as_json:
        return write_json(rows)
    write_line(table([["TASK", "WHAT IT LEARNS", "SHAPE"], *(list(row.values()) for row in rows)]))
    return note("`elman example TASK` writes small generated data to try one on")


@click.command()
@click.argument("task")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="New or empty folder.  [default: TASK's name and -example]"
)
def example(task: str, output: Path | None) -> None:
    """Write a small generated example for TASK, and show the commands to try on it."""
    from elman.tasks import TASKS

    if task not in TASKS:
        raise UsageError(
            f"elman example: task must be one of {', '.join(TASKS)}; got {task!r}{nearest(task, TASKS)}",
            "`elman tasks` lists them",
        )
    folder = output or Path(f"{task}-example")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: must be a new or empty folder; got something in it", "choose another with -o")
    make_folder(folder)
    commands = TASKS[task].example(folder)
    note(f"written to {folder}; try:")
    write_line("\n".join([f"cd {folder}", *commands]))


@click.command()
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the files.  [default: NAME]")
@json_option
def data(name: str | None, output: Path | None, as_json: bool) -> None:
    """List well-known public data, or fetch the set NAME; every file is checked to the byte."""
    from elman.data_sets import SETS, fetch

    if name is None:
        if output is not None:
            raise UsageError("elman data: --output has an effect with NAME only; got none", "name one of the sets")
        rows = [[s.name, s.task, s.summary, s.licence] for s in SETS.values()]
        if as_json:
            return write_json([dict(zip(("name", "task", "summary", "licence"), row, strict=True)) for row in rows])
        return write_line(table([["NAME", "TASK", "WHAT IT IS", "LICENCE"], *rows]))
    if name not in SETS:
        raise UsageError(
            f"elman data: set must be one of {', '.join(SETS)}; got {name!r}{nearest(name, SETS)}",
            "`elman data` lists them",
        )
    files = [str(path) for path in fetch(SETS[name], output or Path(name))]
    note(f"licence: {SETS[name].licence}")
    return write_json({"name": name, "files": files}) if as_json else write_line("\n".join(files))
