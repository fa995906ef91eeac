"""Progress on stderr: a live display on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


@dataclass(frozen=True)
class StepReport:
    """What a reporter hears after every step.

    Args:
        step: Steps done.
        epoch: Epochs done, with the fraction of the current one.
        loss: Mean nats per item since the last record.
        gradient_norm: Norm before clipping.
        learning_rate: The rate of this step.
        items_per_second: Items per second since training began or was resumed.
        unit: What items are called, "tokens".
        fraction: Budget used, in [0, 1].
        seconds_left: Estimated seconds to the end of the budget; None while unknown.
        skipped: Steps skipped so far.
    """

    step: int
    epoch: float
    loss: float
    gradient_norm: float
    learning_rate: float
    items_per_second: float
    unit: str
    fraction: float
    seconds_left: float | None
    skipped: int


class Reporter(Protocol):
    """Who is told how training goes; used as a context manager around it."""

    def __enter__(self) -> Reporter:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display."""

    def step(self, report: StepReport) -> None:
        """Hear about a step."""

    def evaluated(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        """Hear about an evaluation."""

    def note(self, text: str) -> None:
        """Hear something worth a line."""

    def warn(self, text: str) -> None:
        """Hear about something wrong that training survives."""


class SilentReporter:
    """Shows nothing but warnings, which it keeps in `warnings`."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def __enter__(self) -> SilentReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def step(self, report: StepReport) -> None:
        """Show nothing."""

    def evaluated(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def warn(self, text: str) -> None:
        """Keep the warning."""
        self.warnings.append(text)


class PlainReporter:
    """One line every few seconds, without colours or cursor movement.

    Args:
        stream: Where to; None for stderr.
        seconds: Least time between two lines about steps.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.seconds = seconds
        self._shown = -math.inf

    def __enter__(self) -> PlainReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def step(self, report: StepReport) -> None:
        """Write a line when the last one is old enough."""
        now = time.monotonic()
        if now - self._shown >= self.seconds:
            self._shown = now
            self.note(step_line(report))

    def evaluated(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        """Write a line."""
        self.note(evaluation_line(step, metrics, best))

    def note(self, text: str) -> None:
        """Write a line."""
        print(text, file=self.stream, flush=True)

    def warn(self, text: str) -> None:
        """Write a line that begins with "warning"."""
        self.note(f"warning: {text}")


class RichReporter:
    """A live line with a bar on a terminal; evaluations and notes scroll above it."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console if console is not None else Console(stderr=True)
        columns = (BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        self._task: TaskID = self._progress.add_task("starting", total=1.0)

    def __enter__(self) -> RichReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=report.fraction, description=step_line(report))

    def evaluated(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        """Print a line above the bar."""
        self.note(evaluation_line(step, metrics, best))

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, markup=False)

    def warn(self, text: str) -> None:
        """Print a line in yellow above the bar."""
        self.console.print(f"warning: {text}", style="yellow", highlight=False, markup=False)


def reporter_for(quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """Return the reporter that suits a stream (stderr by default): live on a terminal, plain lines otherwise."""
    stream = stream if stream is not None else sys.stderr
    if quiet:
        return SilentReporter()
    return RichReporter(Console(file=stream)) if stream.isatty() else PlainReporter(stream)


def step_line(report: StepReport) -> str:
    """Return a step as one line: loss in nats (and perplexity, of tokens), speed, gradient norm, rate, time left."""
    parts = [f"step {report.step}", f"epoch {report.epoch:.2f}", f"loss {report.loss:.4f}"]
    if report.unit == "tokens":
        parts.append(f"perplexity {perplexity_text(report.loss)}")
    parts += [
        f"{report.items_per_second:,.0f} {report.unit}/s",
        f"gradient {report.gradient_norm:.3g}",
        f"rate {report.learning_rate:.3g}",
    ]
    if report.skipped:
        parts.append(f"{report.skipped} skipped")
    if report.seconds_left is not None:
        parts.append(f"{duration(report.seconds_left)} left")
    return "  ".join(parts)


def evaluation_line(step: int, metrics: Mapping[str, float], best: bool) -> str:
    """Return an evaluation as one line."""
    text = "  ".join(f"{name} {_number(name, value)}" for name, value in metrics.items())
    return f"step {step}  validation  {text}{'  (best)' if best else ''}"


def _number(name: str, value: float) -> str:
    if name == "perplexity":
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def perplexity_text(loss: float) -> str:
    """Return exp(loss) as text; a loss too large for it gives "inf"."""
    return f"{math.exp(loss):.4g}" if loss < 700 else "inf" if loss == loss else "nan"


def duration(seconds: float) -> str:
    """Return seconds as "45 s", "3:07" or "2:05:09"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
