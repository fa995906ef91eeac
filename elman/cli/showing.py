"""`elman tasks`: what can be trained; `elman example`: small data to try a task on."""

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
