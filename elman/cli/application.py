"""The command `elman`: its verbs, and `main`, which turns whatever happens into an exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

import elman
from elman.cli import (
    completing,
    demonstrating,
    diagnosing,
    doctoring,
    equations,
    inspecting,
    predicting,
    showing,
    training,
    using,
)
from elman.cli.failures import Terminated, report
from elman.cli.output import finish
from elman.cli.process import settle_process
from elman.cli.verbs import DEBUG, Group, Settings, attach_debug

EPILOG = "Data goes to stdout, progress and errors to stderr. `elman VERB --help` documents a verb."


@click.group(
    cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.version_option(elman.__version__, message="elman %(version)s")
def application() -> None:
    """Recurrent sequence models from their equations: train, sample, score, look inside."""


for _command in (
    training.train,
    training.resume,
    using.sample,
    using.score,
    predicting.evaluate,
    predicting.predict,
    inspecting.inspect,
    showing.tasks,
    showing.example,
    showing.data,
    equations.cells,
    equations.explain,
    diagnosing.diagnose,
    doctoring.doctor,
    demonstrating.demo,
    completing.completion,
):
    application.add_command(_command)
attach_debug(application)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `elman` and return its exit code; errors are written to stderr, without a traceback unless --debug is given.

    Args:
        arguments: The words after `elman`; those of the process if None.

    Returns:
        0 done, 1 failure, 2 usage, 65 bad data, 66 no input, 69 missing extra, 74 I/O, 75 busy, 130 and 143 signals,
        141 when the reader of stdout went away.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    settings = Settings(debug=DEBUG in words)
    settle_process()
    try:
        with _termination():
            result = application.main(words, prog_name="elman", standalone_mode=False, obj=settings)
            finish()
        return result if isinstance(result, int) else 0
    except BaseException as error:  # noqa: BLE001  (the outermost place; every error becomes words and a code)
        return report(error, settings.debug)


@contextmanager
def _termination() -> Iterator[None]:
    """Make SIGTERM unwind the stack like an exception, so that locks and temporary files go."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
