"""What all verbs share: --debug and --json, unknown words answered with the nearest, several problems told at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from elman.errors import UsageError, nearest

DEBUG = "--debug"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass
class Settings:
    """What the whole command was told: whether to show tracebacks."""

    debug: bool = False


class Group(click.Group):
    """A command with subcommands; an unknown one is answered with the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the first word names.

        Raises:
            UsageError: there is no such subcommand.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            raise UsageError(
                f"{ctx.command_path}: command must be one of {', '.join(known)}; got {name!r}{nearest(name, known)}",
                f"see: {ctx.command_path} --help",
            )
        return super().resolve_command(ctx, args)


def _note_debug(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).debug = True


def attach_debug(command: click.Command) -> None:
    """Give a command, and every command below it, the option --debug."""
    help_text = "Show the traceback of an error."
    command.params.append(click.Option([DEBUG], is_flag=True, expose_value=False, callback=_note_debug, help=help_text))
    if isinstance(command, click.Group):
        for child in command.commands.values():
            attach_debug(child)


def json_option(function: Decorated) -> Decorated:
    """Give a verb the option --json."""
    return click.option("--json", "as_json", is_flag=True, help="Write one JSON document to stdout.")(function)


def refuse(where: str, problems: Sequence[str], hint: str | None = None) -> None:
    """Raise a UsageError that lists all problems, one a line; do nothing when there is none."""
    if len(problems) == 1:
        raise UsageError(f"{where}: {problems[0]}", hint)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UsageError(f"{where}: {len(problems)} options cannot be used as given{lines}", hint)
