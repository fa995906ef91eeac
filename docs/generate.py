"""Write the reference pages that are computed: every cell with its way back, every option of the command line.

Usage: python docs/generate.py FOLDER     (make docs uses docs/reference)
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from elman.cells import cells
from elman.cli import application
from elman.equations import Cell
from elman.equations.drawing import svg

SIZE = 128


def cells_page(folder: Path) -> str:
    """Return the page of the catalogue; drawings are written beside it."""
    lines = [
        "# Cells",
        "",
        "Generated from `elman/cells.py`; the ways back are derived. Forward and backward count the operations",
        f"of one step of one sequence, for {SIZE} inputs and {SIZE} units.",
        "",
        "| cell | states | parameters | products in the loop | forward | backward |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(cell) for cell in cells.values()]
    for cell in cells.values():
        drawing = f"{cell.name}.svg"
        (folder / drawing).write_text(svg(cell), encoding="utf-8")
        lines += ["", *entry(cell, drawing)]
    return "\n".join(lines) + "\n"


def row(cell: Cell) -> str:
    """Return the line of the overview."""
    sizes = dict.fromkeys(cell.free_sizes, SIZE)
    count = sum(rows * (columns[0] if columns else 1) for rows, *columns in cell.parameters(SIZE, SIZE, sizes).values())
    cost = cell.flops(SIZE, SIZE, sizes)
    numbers = f"{count:,} | {cell.schedule.recurrent_products} | {cost['forward']:,} | {cost['backward']:,}"
    return f"| [{cell.name}](#{cell.name.lower()}) | {', '.join(cell.states)} | {numbers} |"


def entry(cell: Cell, drawing: str) -> Iterator[str]:
    """Yield the lines about one cell."""
    yield f"## {cell.name}"
    yield f"\n{cell.source[0].upper()}{cell.source[1:]}."
    if cell.init:
        yield "\nStarts with " + ", ".join(f"{name} = {value}" for name, value in cell.init.items()) + "."
    yield f"\n```text\n{cell.plain()}\n```"
    yield f"\n![{cell.name}, unrolled]({drawing})"
    yield f"\nThe way back:\n\n```text\n{cell.backward_plain()}\n```"
    yield f"\nLaTeX:\n\n```latex\n{cell.latex()}\n```"


def command_line_page() -> str:
    """Return the page of all verbs with their arguments and options."""
    lines = ["# Command line", "", "Generated from the commands themselves. Data goes to stdout, the rest to stderr."]
    for path, command in commands(application, ("elman",)):
        lines += ["", *command_entry(path, command)]
    return "\n".join(lines) + "\n"


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the command and all below it, each with its words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{name} is listed and does not exist"
            yield from commands(below, (*path, name))


def command_entry(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """Yield the lines about one command."""
    context = click.Context(command, info_name=" ".join(path), max_content_width=1000)
    yield f"## {' '.join(path)}"
    yield f"\n```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    yield "\n" + inspect.cleandoc(command.help or "").replace("\b\n", "")
    # Arguments without a text of their own stand in the usage line already.
    found = (parameter.get_help_record(context) for parameter in command.get_params(context))
    records = [record for record in found if record and record[1]]
    if records:
        yield "\n| option | meaning |\n|---|---|"
        yield from (f"| `{option}` | {meaning} |" for option, meaning in map(escaped, records))


def escaped(record: tuple[str, str]) -> tuple[str, str]:
    """Return a help record whose bars and angle brackets a Markdown table shows as they are."""
    option, meaning = (" ".join(text.split()).replace("|", r"\|") for text in record)
    return option, meaning.replace("<", "&lt;")


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.md").write_text(cells_page(folder), encoding="utf-8")
    (folder / "command-line.md").write_text(command_line_page(), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    main(Path(sys.argv[1]))
