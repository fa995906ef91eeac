"""`elman demo`: a minute of training on the English inside Python, with perplexity before and after and samples."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from elman.cli.demo_text import demo_text
from elman.cli.output import write_json, write_line
from elman.cli.training import QUIET
from elman.cli.verbs import json_option

SAMPLES, LENGTH, TEMPERATURE = 3, 100, 0.6
# Subwords and short segments: of what was tried, this reads most like English after a minute on two slow cores.
SIZES: dict[str, Any] = {
    "level": "subword",
    "vocabulary_size": 500,
    "layers": 1,
    "hidden_size": 192,
    "embedding_size": 96,
    "dropout": 0.2,
    "streams": 16,
    "sequence_length": 24,
}
# So small a model gains nothing from a second thread, and loses much when something else runs beside it.
PACE = {"learning_rate": 6e-3, "warmup_steps": 20, "evaluate_every": 200, "epochs": 12, "threads": 1}


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Keep run and text in this new folder.")
@click.option(
    "--seconds", type=click.FloatRange(1, 86_400), default=65.0, show_default=True, help="Time of training, at most."
)
@click.option("--cell", default="lstm", show_default=True, help="Name of a cell, a file of equations, or equations.")
@QUIET
@json_option
def demo(output: Path | None, seconds: float, cell: str, quiet: bool, as_json: bool) -> None:
    """Train on the English of Python's own documentation, for about a minute; needs no file and no network."""
    with _folder(output) as folder:
        found = demonstrate(folder, seconds, cell, quiet)
    if output is None:
        del found["folder"]
    write_json(found) if as_json else write_line(_report(found))


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    if output is not None:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="elman-demo-") as folder:
        yield Path(folder) / "run"


def demonstrate(folder: Path, seconds: float, cell: str, quiet: bool) -> dict[str, Any]:
    """Train a small model of subwords in `folder` and return perplexities and samples."""
    from elman.cli.runs import Order, begin
    from elman.tasks import TASKS
    from elman.tasks.language_model import LanguageModelConfig, LanguageModelTraining, load

    config = LanguageModelConfig.model_validate({"cell": cell, **SIZES})
    training = LanguageModelTraining.model_validate({"minutes": seconds / 60, **PACE})
    with tempfile.TemporaryDirectory(prefix="elman-demo-text-") as place:
        text = Path(place) / "text.txt"
        text.write_text(demo_text(), encoding="utf-8")
        task = TASKS["language-model"]
        order = Order(task, text, folder, config, training, quiet, keeps_data=True, measures_before=True)
        result = begin(order)
    samples = load(folder).sample(length=LENGTH, samples=SAMPLES, temperature=TEMPERATURE)
    after = result["best"]
    return {
        "text": "the English of pydoc_data.topics",
        "cell": cell,
        "steps": result["steps"],
        "seconds": result["seconds"],
        "perplexity_before": result["before"]["perplexity"],
        "perplexity_after": after["perplexity"],
        "loss": after["loss"],
        "samples": samples,
        "folder": str(folder),
    }


def _report(found: dict[str, Any]) -> str:
    before, after = found["perplexity_before"], found["perplexity_after"]
    lines = [
        f"perplexity before: {before:.4g} per subword, on text that the {found['cell']} is not trained on",
        f"perplexity after:  {after:.4g}, in {found['steps']:,} steps and {found['seconds']:.0f} s",
        *(f"\nsample {number}:\n{text.strip()}" for number, text in enumerate(found["samples"], 1)),
    ]
    return "\n".join(lines)
