"""`elman tasks`: what can be trained."""

from __future__ import annotations

import click

from elman.cli.output import table, write_json, write_line
from elman.cli.verbs import json_option


@click.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks that `elman train` knows."""
    from elman.tasks import TASKS

    if as_json:
        return write_json([{"name": task.name, "summary": task.summary} for task in TASKS.values()])
    return write_line(table([["TASK", "WHAT IT LEARNS"], *([task.name, task.summary] for task in TASKS.values())]))
