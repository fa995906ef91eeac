"""`elman completion`: the script that makes a shell complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from elman.cli.output import write_line

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    bash: add `eval "$(elman completion bash)"` to ~/.bashrc. zsh: the same in ~/.zshrc. fish: `elman completion fish >
    ~/.config/fish/completions/elman.fish`.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    write_line(kind(context.find_root().command, {}, "elman", "_ELMAN_COMPLETE").source())
