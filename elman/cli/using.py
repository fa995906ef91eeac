"""`elman sample` and `elman score`: what a model writes, and how probable a language model finds a text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import BaseModel, ConfigDict, Field, model_validator

from elman.cli.options import configured, flag_of, options_of
from elman.cli.output import write_json, write_line
from elman.cli.precision import BOUND_HELP, PRECISION_HELP, accept, checked_precision, precision_options
from elman.cli.verbs import json_option, refuse
from elman.errors import DataError, UsageError
from elman.readers.fasta import fasta_text, is_fasta
from elman.readers.small_text import check_input, read_text

MODEL = click.argument("model", type=click.Path(path_type=Path))
LINES_LIMIT = 64 << 20


class SamplingConfig(BaseModel):
    """Options of `elman sample`; each task takes some of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    length: int = Field(500, ge=1, le=10_000_000, description="tokens to write, at most; of music, steps")
    samples: int = Field(1, ge=1, le=10_000, description="how many samples, drawn in one batch")
    prompt: str = Field("", description="text to go on from; of music, a file")
    temperature: float = Field(1.0, gt=0, le=1000, description="divides the logits: below 1 bolder, above 1 wilder")
    top_k: int | None = Field(None, ge=1, description="draw among the k most probable tokens")
    top_p: float | None = Field(None, gt=0, le=1, description="draw among the most probable tokens that make up p")
    greedy: bool = Field(False, description="always take the most probable token")
    stop: tuple[str, ...] = Field((), description="end a text before this string; repeat for several")
    seed: int = Field(0, ge=0, lt=2**63, description="seed; sample i depends on it and on i only")
    precision: Literal["float32", "bf16", "int8"] = Field("float32", description=PRECISION_HELP)
    loss_bound: float | None = Field(None, ge=0, description=BOUND_HELP)
    label: str | None = Field(None, description="class to write for; without it all classes in turn")
    tempo: float = Field(120.0, ge=4, le=10_000, description="beats a minute of music")
    output: Path | None = Field(None, description="folder for files of music; else MODEL's name and -samples")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> SamplingConfig:
        if self.loss_bound is not None and self.precision == "float32":
            raise ValueError("loss_bound has an effect with precision bf16 or int8 only")
        if not self.greedy:
            return self
        drawing = [("temperature", self.temperature != 1.0), ("top_k", self.top_k), ("top_p", self.top_p)]
        drawing.append(("seed", self.seed != 0))
        if names := [flag_of(name) for name, given in drawing if given]:
            raise ValueError(f"greedy draws nothing, so {', '.join(names)} would have no effect")
        return self


@click.command()
@MODEL
@json_option
def sample(model: Path, as_json: bool, **options: Any) -> None:
    """Write something new with MODEL: text to stdout, music into a folder."""
    config = configured(SamplingConfig, options, "elman sample")
    from elman.tasks import load, task_of

    task = task_of(model)
    if not task.sampling:
        raise UsageError(
            f"elman sample: {model} must be a model that writes; it is of {task.name}", "use elman predict"
        )
    idle = [flag_of(name) for name in sorted(config.model_fields_set - set(task.sampling))]
    refuse("elman sample", [f"{flag} has no effect on a model of {task.name}" for flag in idle])
    # Samples of several classes differ: a task that has them says how many it can write.
    if config.greedy and config.samples != 1 and "label" not in task.sampling:
        raise UsageError("elman sample: --greedy draws nothing, so --samples would write the same text again")
    values = config.model_dump(include=set(task.sampling))
    if "output" in task.sampling:
        values["output"] = config.output or Path(f"{model.resolve().name}-samples")
    loaded: Any = load(model)
    bound = values.pop("loss_bound", None)
    if config.precision != "float32":
        accept(loaded.precision_loss(config.precision), bound)
    samples = loaded.sample(**values)
    if as_json:
        return write_json({"model": str(model), "config": config.model_dump(mode="json"), "samples": samples})
    if len(samples) == 1 or not isinstance(samples[0], str):
        return write_line("\n".join(map(_line, samples)))
    return write_line("\n".join(f"--- sample {number} ---\n{text}" for number, text in enumerate(samples, 1)))


def _line(sample: Any) -> str:
    """A sample for people: its text, its class and text, or its files."""
    if isinstance(sample, str):
        return sample
    return "\n".join(sample["files"]) if "files" in sample else f"{sample['label']}\t{sample['text']}"


sample.params += options_of(SamplingConfig)
next(option for option in sample.params if option.name == "output").opts.append("-o")


@click.command()
@MODEL
@click.argument("file", default="-")
@click.option("--steps", is_flag=True, help="Show P(y<t> | y<1..t-1>) of every token.")
@precision_options
@json_option
def score(model: Path, file: str, steps: bool, precision: str | None, loss_bound: float | None, as_json: bool) -> None:
    """Give the probability of every line of FILE (- for stdin), or sequence of FASTA, under MODEL, in nats."""
    chosen = checked_precision(precision, loss_bound)
    lines = io.StringIO(_text_of(file), newline=None)  # as training reads them: U+2028 ends no line
    sentences = [line.rstrip("\n") for line in lines if line.strip()]
    if not sentences:
        raise DataError(f"{'stdin' if file == '-' else file}: must have at least one line of text; got none")
    require_language_model("elman score", model, "use elman predict or elman evaluate")
    from elman.tasks.language_model import load

    loaded = load(model)
    if chosen != "float32":
        accept(loaded.precision_loss(chosen, sentences), loss_bound)
    scored = loaded.score(sentences, chosen)
    rows = [_scored(item, steps) for item in scored]
    if as_json:
        return write_json({"model": str(model), "sentences": rows})
    return write_line("\n".join(_score_lines(rows)))


def require_language_model(where: str, model: Path, hint: str) -> None:
    """Refuse a model of another task.

    Raises:
        UsageError: it is of another task.
        MissingInputError, ModelFileError: there is no model, or it is damaged.
    """
    from elman.tasks import task_of

    task = task_of(model)
    if task.name != "language-model":
        raise UsageError(f"{where}: {model} must be a language model; it is of {task.name}", hint)


def _text_of(file: str) -> str:
    """The text of a file, or of stdin for "-"; of a FASTA file by its name, a sequence a line, as training reads it."""
    if not is_fasta(Path(file)):
        return read_text(file, LINES_LIMIT)
    check_input(Path(file))
    held, letters = [], 0
    for piece in fasta_text(Path(file)):
        held.append(piece)
        letters += len(piece)
        if letters > LINES_LIMIT:
            raise DataError(f"{file}: must have sequences of at most {LINES_LIMIT} letters in all; got more")
    return "".join(held)


def _score_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["LOG PROBABILITY\tTOKENS\tPERPLEXITY\tTEXT"]
    for row in rows:
        lines.append(f"{row['log_probability']:.4f}\t{row['tokens']}\t{row['perplexity']:.4g}\t{row['text']}")
        lines += [f"  {step['probability']:.6f}\t{step['token']!r}" for step in row.get("steps", [])]
    return lines


def _scored(item: Any, steps: bool) -> dict[str, Any]:
    row = {name: getattr(item, name) for name in ("text", "log_probability", "tokens", "perplexity", "unknown")}
    if steps:
        row["steps"] = [{"token": token, "probability": value} for token, value in item.steps]
    return row
