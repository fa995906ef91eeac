"""`elman diagnose`: how gradients flow back through a trained model, or through a cell as it starts."""

from __future__ import annotations

from pathlib import Path

import click

from elman.cli.output import note, write_json, write_line
from elman.cli.using import require_language_model
from elman.cli.verbs import json_option, refuse
from elman.readers.cells import read_cell


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--cell", metavar="CELL", help="A cell at its start instead of a model: name, file or equations.")
@click.option(
    "--text", type=click.Path(path_type=Path), help="Text that MODEL reads; without it, what it writes itself."
)
@click.option("--steps", type=click.IntRange(2, 100_000), default=200, show_default=True, help="Steps looked back.")
@click.option("--input-size", type=click.IntRange(1, 65_536), default=None, help="With --cell.  [default: 16]")
@click.option("--hidden-size", type=click.IntRange(1, 65_536), default=None, help="With --cell.  [default: 64]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of weights and input.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw gradient norm against lag as PNG.")
@json_option
def diagnose(
    model: Path | None,
    cell: str | None,
    text: Path | None,
    steps: int,
    input_size: int | None,
    hidden_size: int | None,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show how gradients flow back through MODEL, a language model, and what to do if they vanish or explode."""
    problems = []
    if (model is None) == (cell is None):
        problems.append("give either a MODEL or --cell; got " + ("none" if cell is None else "both"))
    if cell is None:
        sizes = (("--input-size", input_size), ("--hidden-size", hidden_size))
        problems += [f"{option} is for --cell; a model has its own" for option, value in sizes if value is not None]
    if cell is not None and text is not None:
        problems.append("--text is for a MODEL; a cell by itself reads random numbers")
    refuse("elman diagnose", problems)
    from elman.diagnosis import Diagnosis, diagnose_cell
    from elman.tasks.language_model_diagnosis import diagnose_model

    found: Diagnosis
    if cell is not None:
        found = diagnose_cell(read_cell(cell), input_size or 16, hidden_size or 64, steps, seed)
    else:
        assert model is not None
        require_language_model("elman diagnose", model, "elman diagnose --cell NAME shows a cell as it starts")
        found = diagnose_model(model, text, steps=steps, seed=seed)
    if plot is not None:
        note(f"drawn: {found.plot(plot)}")
    write_json(found.to_dict()) if as_json else write_line(found.table())
