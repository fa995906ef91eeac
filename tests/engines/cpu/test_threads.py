"""Threads of the engine: torch's own, two callers at once, children of a fork, flags of the processor; and the memory
it keeps between calls.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import elman
from elman.engines.cpu import CpuEngine
from elman.errors import UsageError
from elman.plans.native import available, engine, most_threads

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class OnThreads(elman.Recurrent):
    """A layer on the engine with a number of threads, whatever the work is worth."""

    threads = 1

    def _engine(self, cell: elman.Cell, steps: int | None, x: torch.Tensor) -> CpuEngine:
        return CpuEngine(threads=self.threads)


def layer(threads: int, cell: str | elman.Cell = "lstm", sizes: tuple[int, int] = (24, 40)) -> OnThreads:
    run = OnThreads(elman.cells[cell] if isinstance(cell, str) else cell, *sizes, seed=0)
    run.threads = threads
    return run


def sequences(batch: int = 24, steps: int = 30) -> torch.Tensor:
    return torch.randn(batch, steps, 24, generator=torch.Generator().manual_seed(1))


def in_a_process(code: str) -> str:
    """Run code in a fresh interpreter that has imported what this file has; return what it printed."""
    head = "import os, signal, sys, threading, torch, elman\nfrom elman.engines.cpu import CpuEngine\n"
    source = head + "from tests.engines.cpu.test_threads import *\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@LINUX
def test_the_threads_are_those_of_torch() -> None:
    """A second pool would wait for the processors on which torch's threads spin after each of its operations."""
    code = """
        torch.set_num_threads(2)
        torch.randn(512, 512) @ torch.randn(512, 512)
        torch.ones(1 << 22).exp()
        before = len(os.listdir("/proc/self/task"))
        layer(2)(sequences())
        print(before, len(os.listdir("/proc/self/task")), native_shares())
    """
    before, after, shares = in_a_process(code).split()
    if shares == "True":
        assert before == after


def native_shares() -> bool:
    """Whether torch's OpenMP is one that the engine can use."""
    return bool(engine.share_openmp())


def test_the_number_of_threads_changes_no_bit_of_a_training_step() -> None:
    found = []
    for threads in (1, 2, 3):
        run = layer(threads)
        y, state = run(sequences())
        (y.square().sum() + state.c.sum()).backward()
        found.append([y.detach(), *(p.grad for p in run.parameters())])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_callers_at_once_get_the_bits_of_callers_in_turn() -> None:
    runs, x = [layer(2, cell) for cell in ("lstm", "gru", "lstm", "rnn")], sequences()
    wanted = [run(x)[0] for run in runs]
    found: list[list[torch.Tensor]] = [[] for _ in runs]

    def call(n: int) -> None:
        for _ in range(20):
            found[n].append(runs[n](x)[0].detach())

    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values, value in zip(found, wanted, strict=True):
        assert len(values) == 20
        assert all(torch.equal(v, value) for v in values)


@LINUX
def test_a_call_lets_other_threads_of_python_run() -> None:
    """Without the GIL released the other thread would stand still during the call, which takes hundreds of its naps."""
    run, x = layer(1, sizes=(256, 256)), torch.randn(64, 200, 256)
    done, naps = threading.Event(), [0]

    def nap() -> None:
        while not done.wait(0.0005):
            naps[0] += 1

    with torch.no_grad():
        run(x[:1, :2])
        helper = threading.Thread(target=nap)
        helper.start()
        before = naps[0]
        run(x)
        during = naps[0] - before
        done.set()
        helper.join()
    assert during > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("threads_of_child", [1, 2])
def test_a_child_of_a_fork_computes_the_same_bits(threads_of_child: int) -> None:
    """The runtime's threads do not live on in a child, which must not wait for them. torch itself would: as in the
    workers of its DataLoader, its own operations are left one thread.
    """
    code = f"""
        torch.set_num_threads(2)
        x = sequences()
        wanted = layer(2)(x)[0].detach()
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            same = torch.equal(layer({threads_of_child})(x)[0], wanted)
            os._exit(0 if same else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.equal(layer(2)(x)[0], wanted))
    """
    assert in_a_process(code) == "0 True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_may_be_the_first_to_call_the_engine() -> None:
    """torch's threads were at work before the fork, and the engine was not: it must know of the fork all the same."""
    code = """
        torch.set_num_threads(2)
        torch.ones(1 << 22).exp()
        run, x = layer(2), sequences()
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            y = run(x)[0]
            os._exit(0 if bool(y.isfinite().all()) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert in_a_process(code) == "0"


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1.5", "\N{SUPERSCRIPT TWO}", "100000"])
def test_a_number_of_threads_is_a_number(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_THREADS", asked)
    with pytest.raises(UsageError, match=f"ELMAN_THREADS: must be a whole number from 1 to 4096; got {asked!r}"):
        most_threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_the_memory_that_other_threads_take() -> None:
    """A lock that a thread of the parent holds would stay locked in the child, where that thread is not."""
    code = """
        engine.set_idle_limit(0)  # blocks come from the system and go back to it under the lock
        one, counts = torch.ones(1, 1, 1), torch.ones(1, dtype=torch.int64)
        done = threading.Event()

        def call():
            engine.compare_back("scalar", one, one, one[0, 0], counts, one, *(torch.empty(1) for _ in range(3)), 1)

        def calls():
            while not done.is_set():
                call()

        helpers = [threading.Thread(target=calls) for _ in range(2)]
        for helper in helpers:
            helper.start()
        end = 0
        for _ in range(60):
            child = os.fork()
            if child == 0:
                signal.alarm(10)  # the end of a child that waits
                call()
                os._exit(0)
            end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if end:
                break
        done.set()
        print(end)
    """
    assert in_a_process(code) == "0"


@pytest.mark.parametrize("threads", [1, 2])
def test_subnormal_numbers_are_zero_inside_and_stay_numbers_outside(threads: int) -> None:
    """Derivatives that fade out would be computed in microcode; the caller's flags come back."""
    tiny = 1e-39
    run = layer(threads, elman.Cell("h<t> = w * h<t-1> + x<t>"), (32, 32))
    with torch.no_grad():
        run.weights["w"].fill_(1.0)
        y, _ = run(torch.full((16, 4, 32), tiny))
    assert not y.any()
    assert float(torch.tensor(tiny) * 0.5) > 0
    assert float(ctypes.c_float(tiny).value) * 0.5 > 0


@pytest.fixture
def limit() -> Iterator[int]:
    """The bound on what the engine keeps, brought back to what it was."""
    before = engine.idle_limit()
    yield before
    engine.set_idle_limit(before)


def test_what_is_kept_between_calls_has_a_bound(limit: int) -> None:
    run, x = layer(1, sizes=(64, 128)), torch.randn(32, 100, 64, requires_grad=True)

    def step() -> None:
        run(x)[0].sum().backward()
        x.grad = None
        run.zero_grad()

    step()
    assert 0 < engine.idle_bytes() <= limit
    engine.set_idle_limit(1 << 20)
    assert engine.idle_bytes() <= 1 << 20
    step()
    assert engine.idle_bytes() <= 1 << 20
    engine.set_idle_limit(0)
    step()
    assert engine.idle_bytes() == 0


def test_what_calls_took_is_given_back(limit: int) -> None:
    run, x = layer(1), sequences()

    def step() -> None:
        y, state = run(x)
        (y.sum() + state.c.sum()).backward()
        run.zero_grad()

    step()
    before = engine.taken_bytes()
    for _ in range(5):
        step()
    assert engine.taken_bytes() == before
