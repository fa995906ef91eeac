"""`elman train` and `elman resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elman.cli.options import checked, is_table, options_of
from elman.cli.output import write_json
from elman.cli.reading import as_path
from elman.cli.verbs import Group, attach_debug, json_option, refuse
from elman.errors import MissingInputError
from elman.storage import nearest_beside

if TYPE_CHECKING:
    from elman.tasks import Task

QUIET = click.option("-q", "--quiet", is_flag=True, help="Show errors and warnings only.")


class Tasks(Group):
    """`elman train`: one subcommand a task, made when it is asked for, since tasks import torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all tasks."""
        from elman.tasks import TASKS

        return list(TASKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command that trains a task, with the options of the task and of training."""
        from elman.tasks import TASKS

        return make_command(TASKS[cmd_name]) if cmd_name in TASKS else None


@click.group(cls=Tasks)
def train() -> None:
    """Train a model on your data."""


def make_command(task: Task) -> click.Command:
    """Return `elman train TASK`; its options are the fields of the task's two configs."""

    @click.command(task.name, help=f"Train a model on DATA (- for stdin): {task.summary}; {task.shape}.")
    @click.argument("data")
    @click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        help="Run folder; it becomes the model folder.  [default: DATA's name and -model]",
    )
    @click.option("--config", "recipe", metavar="FILE", help="Recipe (TOML) with values of the options below.")
    @QUIET
    @json_option
    def command(data: str, output: Path | None, recipe: str | None, quiet: bool, as_json: bool, **options: Any) -> None:
        from elman.cli.runs import Order, begin

        config, training = resolve(task, options, recipe)
        with as_path(data, folders=True) as path:
            chosen = output or default_output(data)
            result = begin(Order(task, path, chosen, config, training, quiet, keeps_data=data == "-"))
        if as_json:
            write_json(result)

    command.params += [*options_of(task.config), *options_of(task.training)]
    if "bidirectional" not in task.config.model_fields:
        command.params.append(_no_way_back(task))
    attach_debug(command)
    return command


def _no_way_back(task: Task) -> click.Option:
    """The option --bidirectional of a task whose layers must not read from the end: it says why."""

    def refused(_context: click.Context, _option: click.Parameter, given: bool) -> None:
        from elman.architectures.direction import must_not_see_the_future

        must_not_see_the_future(task.name, "what the model is to say next", given)

    return click.Option(["--bidirectional"], is_flag=True, hidden=True, expose_value=False, callback=refused)


def default_output(data: str) -> Path:
    """Return the run folder for data, in the working folder."""
    return Path("stdin-model" if data == "-" else f"{Path(data).resolve().stem}-model")


def resolve(task: Task, options: dict[str, Any], recipe: str | None) -> tuple[Any, Any]:
    """Return the configs of task and training: options over recipe over defaults.

    Raises:
        UsageError: lists every value of both that is outside its range or contradicts another.
    """
    from elman.config import load_recipe

    fields = {**task.config.model_fields, **task.training.model_fields}
    tables = frozenset(name for name, info in fields.items() if is_table(info))
    written = load_recipe(Path(recipe), frozenset(fields), tables) if recipe else {}
    config, problems = checked(task.config, options, written, recipe or "")
    training, more = checked(task.training, options, written, recipe or "")
    refuse(f"elman train {task.name}", problems + more, f"see: elman train {task.name} --help")
    return config, training


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@QUIET
@json_option
def resume(run: Path, quiet: bool, as_json: bool) -> None:
    """Go on with the training in the folder RUN, exactly where its newest whole checkpoint stands."""
    if not run.is_dir():
        got = "a file" if run.exists() else f"none{nearest_beside(run, folders=True)}"
        raise MissingInputError(f"{run}: run folder must exist; got {got}")
    from elman.cli.runs import go_on

    result = go_on(run, quiet)
    if as_json:
        write_json(result)
