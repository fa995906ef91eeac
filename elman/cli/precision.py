"""`--precision` and `--loss-bound`: what weights of a precision lose is measured, told, and refused past a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from elman.cli.output import note
from elman.errors import UsageError
from elman.runtime.stepper import PRECISIONS
from elman.runtime.text_model import PrecisionLoss

LOSS_BOUND = 0.01
PRECISION_HELP = "of the weights of a language model; less is faster"
BOUND_HELP = f"most nats per token that the precision may lose against float32; without it {LOSS_BOUND}"

Command = TypeVar("Command", bound=Callable[..., Any])


def precision_options(command: Command) -> Command:
    """Add both options to a command."""
    bound = click.option("--loss-bound", type=click.FloatRange(min=0), help=BOUND_HELP.capitalize() + ".")
    precision = click.option("--precision", type=click.Choice(PRECISIONS), help=PRECISION_HELP.capitalize() + ".")
    return precision(bound(command))


def checked_precision(precision: str | None, loss_bound: float | None) -> str:
    """Return the precision asked for.

    Raises:
        UsageError: a bound would have no effect.
    """
    if loss_bound is not None and precision in (None, "float32"):
        raise UsageError("--loss-bound: has an effect with --precision bf16 or int8 only")
    return precision or "float32"


def accept(found: PrecisionLoss, loss_bound: float | None) -> None:
    """Tell what a precision loses, and refuse more than the bound.

    Raises:
        UsageError: it loses more.
    """
    note(str(found))
    found.check(LOSS_BOUND if loss_bound is None else loss_bound)
