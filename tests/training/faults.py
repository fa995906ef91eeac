"""Run training in forked children that die, or whose file system fails, at a chosen call.

As a script it reads jobs from stdin and prints how they ended: torch is imported once, and forking happens in a process
without threads.
"""

from __future__ import annotations

import atexit
import errno
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

SYSTEM_CALLS = ("fsync", "rename", "replace", "write", "pwrite", "mkdir", "rmdir", "unlink", "ftruncate")
ROOT = Path(__file__).resolve().parents[2]


class Trap:
    """Counts calls and acts at the one wanted: "KILL", "TERM", "INT", "TERM2" (twice) or an errno's name."""

    def __init__(self, action: str, at: int) -> None:
        self.action, self.at, self.count = action, at, 0

    def __call__(self) -> None:
        self.count += 1
        if self.count != self.at:
            return
        if self.action in ("KILL", "TERM", "INT"):
            os.kill(os.getpid(), getattr(signal, f"SIG{self.action}"))
        elif self.action == "TERM2":
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.action != "COUNT":
            number = getattr(errno, self.action)
            raise OSError(number, os.strerror(number))

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self()
            return function(*arguments, **options)

        return wrapped


def arm(kind: str, action: str, at: int) -> Trap:
    """Set a trap: `kind` is a system call, "any" of them, or a method of the tiny problem."""
    from tests.training.tiny_problem import TinyProblem

    trap = Trap(action, at)
    for name in SYSTEM_CALLS if kind == "any" else (kind,):
        place: Any = os if name in SYSTEM_CALLS else TinyProblem
        setattr(place, name, trap.before(getattr(place, name)))
    return trap


def child(job: dict[str, Any]) -> int:
    """Run one job in this process and return its exit code."""
    from elman.errors import ElmanError
    from tests.training.tiny_problem import run_tiny

    if "largest_file" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], job["largest_file"]))
    trap = arm(job["kind"], job["action"], job["at"]) if "kind" in job else None
    try:
        path = Path(job["path"])
        run_tiny(path, resume=(path / "run.json").exists(), **job.get("options", {}))
    except ElmanError as error:
        sys.stderr.write(json.dumps({"error": type(error).__name__, "text": str(error)}) + "\n")
        return error.exit_code
    except SystemExit as stop:
        return int(stop.code or 0)
    if trap is not None and trap.action == "COUNT":
        Path(job["path"], "count").write_text(str(trap.count))
    return 0


def serve() -> None:
    """Answer each line of stdin, a list of jobs, with one line: their exit statuses and what they wrote to stderr."""
    import torch

    from tests.training.tiny_problem import run_tiny

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run_tiny(Path(folder), steps=1)  # so that no child pays for torch's late imports
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as said:
            statuses = [forked(job, said.fileno()) for job in json.loads(line)]
            said.seek(0)
            sys.stdout.write(json.dumps([statuses, said.read()]) + "\n")
            sys.stdout.flush()


def forked(job: dict[str, Any], said: int) -> int:
    """Run a job in a fork; return its exit status, negative for a signal."""
    if (pid := os.fork()) == 0:
        code = 99
        try:
            os.dup2(said, 2)
            code = child(job)
        except Exception:  # noqa: BLE001  (whatever it is, the parent reads it)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class FaultServer:
    """The process that runs jobs."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.training.faults"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, jobs: list[dict[str, Any]]) -> tuple[list[int], str]:
        """Run jobs one after the other; return exit statuses (negative: killed by that signal) and what they said."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        statuses, said = json.loads(self.process.stdout.readline())
        return statuses, said

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=60)


@functools.cache
def server() -> FaultServer:
    """Return the server, started on first use and ended with the tests."""
    started = FaultServer()
    atexit.register(started.close)
    return started


def run_jobs(jobs: list[dict[str, Any]]) -> tuple[list[int], str]:
    """See `FaultServer.run`."""
    return server().run(jobs)


if __name__ == "__main__":
    serve()
