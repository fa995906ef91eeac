"""`elman train`."""

from __future__ import annotations

import click

from elman.cli.verbs import Group


class Tasks(Group):
    """`elman train`: one subcommand a task, made when it is asked for, since tasks import torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all tasks."""
        from elman.tasks import TASKS

        return list(TASKS)


@click.group(cls=Tasks)
def train() -> None:
    """Train a model on your file."""
