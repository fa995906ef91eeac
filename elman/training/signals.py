"""Signals: the first SIGINT or SIGTERM lets the step finish and be saved, the second one exits at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")
WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SystemExit):
    """Training was stopped by a signal after a checkpoint; the code is 128 + the signal's number (130 or 143)."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class _EvaluationCut(BaseException):
    """Raised by the handler inside `unless_stopped`, and never seen outside of it."""


class StopSignals:
    """Watches for signals while in its block; `received` is the first one, or None.

    Outside the main thread Python allows no handlers: there signals keep their meaning.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._cuts = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in WATCHED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h\n")  # a live display may have hidden the cursor
                sys.stderr.flush()
            # Safe at any instant: whatever is on disk is whole, by the checkpoint protocol.
            os._exit(128 + number)
        self.received = number
        if self._cuts:
            raise _EvaluationCut

    def unless_stopped(self, work: Callable[[], Result]) -> Result | None:
        """Return `work()`, or None when a signal came before or during it; only for work without effects."""
        try:
            self._cuts = True
            return work() if self.received is None else None
        except _EvaluationCut:
            return None
        finally:
            self._cuts = False
