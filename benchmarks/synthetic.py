"""Which cells solve the copy and adding problems at T = 200, parity and a^n b^n under a stated budget?

    python -m benchmarks.synthetic                        # default cells and budget, about 20 minutes on one core
    python -m benchmarks.synthetic --cells lstm,gru --minutes 5
    python -m benchmarks.synthetic --steps 500            # a budget of optimiser steps, for exactly repeatable rows

Every finished pair of cell and problem is written to the result file at once; running the same command again goes
on with the pairs that are missing. A row counts only for the settings it was made with: other settings, new row.
A name followed by `@chrono` starts with the biases of Tallec and Ollivier 2018: forget gates whose time constants
are spread over 1..T.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import elman
from benchmarks.problems import PROBLEMS, Adding, Batch, Copy, Counting, Parity, Problem, Score

RESULTS = Path(__file__).parent / "results" / "synthetic.json"
CELLS = ("rnn", "rnn_relu", "indrnn", "lstm", "lstm@chrono", "gru_reset_after", "gru_reset_after@chrono", "mgu")
CHRONO = {  # gates whose bias rises (+1, keeps the state) or falls (-1, lets the input in) with the time constant
    "lstm": {"b_f": 1, "b_i": -1},
    "lstm_notes": {"b_f": 1, "b_u": -1},
    "gru": {"b_u": -1},
    "gru_reset_after": {"b_z": 1},
    "mgu": {"b_f": -1},
    "janet": {"b_f": 1},
}
EVALUATION_SEED = 1_000_003


@dataclass(frozen=True)
class Settings:
    """What a row depends on besides cell and problem.

    Attributes:
        minutes: Training time per cell for a T = 200 problem; parity and a^n b^n get a quarter. None: `steps` rules.
        steps: Optimiser steps per cell and problem; None: `minutes` rules.
        hidden_size: H of the one recurrent layer.
        batch_size: Sequences per step.
        learning_rate: Of Adam; the gradient norm is clipped at 1.
        seed: Of weights and data.
        length: T of copy (delay) and adding.
    """

    minutes: float | None = 1.0
    steps: int | None = None
    hidden_size: int = 64
    batch_size: int = 32
    learning_rate: float = 3e-3
    seed: int = 0
    length: int = 200


class ReadOut(nn.Module):
    """One recurrent layer and a linear read-out of every step: (B, T, I) to (B, T, output_size)."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, output_size: int, seed: int, engine: str) -> None:
        super().__init__()
        self.layer = elman.Recurrent(cell, input_size=input_size, hidden_size=hidden_size, seed=seed, engine=engine)
        generator = torch.Generator().manual_seed(seed)
        self.readout = nn.Linear(self.layer.output_size, output_size)
        with torch.no_grad():
            bound = 1 / math.sqrt(self.layer.output_size)
            self.readout.weight.uniform_(-bound, bound, generator=generator)
            self.readout.bias.zero_()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the read-out of every step."""
        y, _ = self.layer(x, lengths=lengths)
        outputs: Tensor = self.readout(y)
        return outputs


def start_with_chrono_biases(model: ReadOut, cell: str, length: int, seed: int) -> None:
    """Set gate biases to +-ln(uniform 1..length), so that time constants are spread over the sequence."""
    if cell not in CHRONO:
        raise SystemExit(f"synthetic: '{cell}@chrono' needs one of {', '.join(CHRONO)}; got '{cell}'")
    spread = torch.rand(model.layer.hidden_size, generator=torch.Generator().manual_seed(seed)) * (length - 2) + 1
    with torch.no_grad():
        for name, sign in CHRONO[cell].items():
            model.layer.weights[name].copy_(sign * spread.log())


def build(name: str, problem: Problem, settings: Settings, engine: str) -> ReadOut:
    """Return the model of one row."""
    cell, _, variant = name.partition("@")
    if variant not in ("", "chrono"):
        raise SystemExit(f"synthetic: the part behind '@' must be 'chrono'; got '{name}'")
    model = ReadOut(cell, problem.input_size, settings.hidden_size, problem.output_size, settings.seed, engine)
    if variant:
        start_with_chrono_biases(model, cell, settings.length, settings.seed)
    return model


def train_steps(
    model: ReadOut, problem: Problem, settings: Settings, stop: Callable[[int], bool], watch: Callable[[int], bool]
) -> int:
    """Train until `stop(step)` or until `watch(step)` says solved; return the steps taken."""
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    step = 0
    while not stop(step):
        batch = problem.batch(settings.batch_size, generator)
        loss = problem.loss(model(batch.x, batch.lengths), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        step += 1
        if step % 50 == 0 and watch(step):
            break
    return step


@torch.no_grad()
def evaluate(model: ReadOut, problem: Problem) -> Score:
    """Return the score on 256 fresh examples, the same for every cell (a^n b^n: every n of the training range)."""
    batch = evaluation_batch(problem)
    return problem.score(model(batch.x, batch.lengths), batch)


def evaluation_batch(problem: Problem) -> Batch:
    """Return the batch that `evaluate` uses."""
    if isinstance(problem, Counting):
        return problem.every()
    return problem.batch(256, torch.Generator().manual_seed(EVALUATION_SEED))


@torch.no_grad()
def beyond(model: ReadOut, problem: Problem) -> dict[str, float]:
    """Return how the model does on longer sequences than it was trained on, where the problem has a meaning there."""
    if isinstance(problem, Counting):
        batch = problem.every(4 * problem.largest)
        return {"counts_to": problem.counts_to(model(batch.x, batch.lengths), batch)}
    if isinstance(problem, Parity):
        longer = Parity(steps=4 * problem.steps)
        batch = evaluation_batch(longer)
        return {f"accuracy_at_{longer.steps}": longer.score(model(batch.x), batch).accuracy or 0.0}
    return {}


def run_row(name: str, problem: Problem, settings: Settings, engine: str) -> dict[str, Any]:
    """Train one cell on one problem and return its row for the result file."""
    model = build(name, problem, settings, engine)
    start = time.perf_counter()
    limit = math.inf if settings.minutes is None else 60 * settings.minutes * budget_share(problem)
    most = math.inf if settings.steps is None else settings.steps
    curve: list[tuple[int, float]] = []

    def watch(step: int) -> bool:
        score = evaluate(model, problem)
        curve.append((step, score.loss))
        return problem.solved(score)

    steps = train_steps(
        model, problem, settings, lambda step: step >= most or time.perf_counter() - start > limit, watch
    )
    seconds = time.perf_counter() - start
    score = evaluate(model, problem)
    return {
        "cell": name,
        "problem": problem.name,
        "solved": problem.solved(score),
        "loss": score.loss if math.isfinite(score.loss) else None,
        "accuracy": score.accuracy,
        "chance": problem.chance,
        "criterion": problem.criterion,
        "steps": steps,
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "engine": model.layer.engine,
        "curve": curve,
        **beyond(model, problem),
        "settings": asdict(settings),
    }


def budget_share(problem: Problem) -> float:
    """Return the part of `minutes` a problem gets: one for T = 200 problems, a quarter for the short ones."""
    return 1.0 if isinstance(problem, Copy | Adding) else 0.25


def same_row(row: dict[str, Any], name: str, problem: str, settings: Settings) -> bool:
    """Return whether `row` is the result of this cell, problem and settings."""
    return row["cell"] == name and row["problem"] == problem and row["settings"] == asdict(settings)


def load_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows already in the result file."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def save_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the result file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "elman": elman.__version__,
        "threads": torch.get_num_threads(),
    }
    document = json.dumps({"machine": machine, "rows": rows}, indent=1)
    document = (
        document.replace("[\n     ", "[").replace(",\n     ", ", ").replace("\n    ]", "]")
    )  # curves on few lines
    temporary = path.with_suffix(".tmp")
    temporary.write_text(document + "\n", encoding="utf-8")
    os.replace(temporary, path)


def entry(row: dict[str, Any] | None) -> str:
    """Return the table cell of one row: verdict, what was reached and after how many steps."""
    if row is None:
        return "not run"
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.4f}" if row["loss"] < 1e3 else f"{row['loss']:.0e}"
    accuracy = "" if row["accuracy"] is None else f", {100 * row['accuracy']:.1f} %"
    return f"{'**solved**' if row['solved'] else 'no'} ({loss}{accuracy}; {row['steps']} steps)"


def table(rows: list[dict[str, Any]], names: Sequence[str], problems: Sequence[Problem], settings: Settings) -> str:
    """Return the Markdown table: one line a cell, one column a problem, chance levels in the heading."""
    lines = ["| cell | " + " | ".join(f"{p.name} (chance {p.chance:.4f})" for p in problems) + " |"]
    lines.append("|---|" + "---|" * len(problems))
    for name in names:
        found = [next((r for r in rows if same_row(r, name, p.name, settings)), None) for p in problems]
        lines.append(f"| {name} | " + " | ".join(entry(row) for row in found) + " |")
    lines += ["", budget_sentence(settings), ""]
    lines += [f"- {problem.name}: solved means {problem.criterion}." for problem in problems]
    return "\n".join(lines)


def budget_sentence(settings: Settings) -> str:
    """Return the budget in words."""
    if settings.minutes is None:
        budget = f"{settings.steps} optimiser steps"
    else:
        budget = f"{60 * settings.minutes:g} s for copy and adding, {15 * settings.minutes:g} s for parity and anbn"
        budget += f", at most {settings.steps} steps" if settings.steps else ""
    return (
        f"Budget per cell: {budget}; one layer of {settings.hidden_size} units, Adam {settings.learning_rate:g}, "
        f"batches of {settings.batch_size}, gradient norm clipped at 1, seed {settings.seed}."
    )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthetic", description=(__doc__ or "").split("\n")[0])
    default = Settings()
    parser.add_argument("--cells", default=",".join(CELLS), help="comma-separated names, each with or without @chrono")
    parser.add_argument("--problems", default=",".join(PROBLEMS), help="comma-separated: copy, adding, parity, anbn")
    parser.add_argument(
        "--minutes", type=float, help=f"budget per cell and T = 200 problem (default {default.minutes})"
    )
    parser.add_argument("--steps", type=int, help="budget in optimiser steps; alone, it replaces the minutes")
    parser.add_argument("--length", type=int, default=default.length, help="T of copy and adding (default 200)")
    parser.add_argument("--hidden-size", type=int, default=default.hidden_size, help="units (default 64)")
    parser.add_argument("--batch-size", type=int, default=default.batch_size, help="sequences per step (default 32)")
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate, help="of Adam (default 0.003)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of weights and data (default 0)")
    parser.add_argument("--engine", default="auto", help="engine of the layers (default auto)")
    parser.add_argument("--threads", type=int, default=1, help="threads torch may use (default 1)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="result file (default benchmarks/results/synthetic.json)"
    )
    return parser.parse_args(argv)


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings a command line asks for."""
    minutes = options.minutes if options.minutes or options.steps else Settings().minutes
    return Settings(
        minutes=minutes,
        steps=options.steps,
        hidden_size=options.hidden_size,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        length=options.length,
    )


def chosen_problems(names: str, length: int) -> list[Problem]:
    """Return the problems of a comma-separated list, copy and adding at `length`."""
    known: dict[str, Problem] = {**PROBLEMS, "copy": Copy(delay=length), "adding": Adding(steps=length)}
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"synthetic: problems must be among {', '.join(known)}; got '{unknown[0]}'")
    return [known[name] for name in names.split(",")]


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, save each row as soon as it is there, print the table."""
    options = arguments(argv)
    torch.set_num_threads(options.threads)
    settings, names = settings_of(options), options.cells.split(",")
    problems = chosen_problems(options.problems, options.length)
    rows = load_rows(options.output)
    for problem in problems:
        for name in names:
            if any(same_row(row, name, problem.name, settings) for row in rows):
                continue
            rows.append(run_row(name, problem, settings, options.engine))
            save_rows(options.output, rows)
            print(f"{problem.name:8} {name:24} {entry(rows[-1])}", file=sys.stderr, flush=True)
    print(table(rows, names, problems, settings))


if __name__ == "__main__":
    main()
