"""Settings of the process: made before torch loads, and never over what the user has set."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from elman.cli import main
from elman.cli.process import others_run, settle_process
from elman.tasks import TASKS


def spin_count(environment: dict[str, str]) -> str:
    script = "import os; from elman.cli import main; main(['--version']); print(os.environ.get('GOMP_SPINCOUNT'))"
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    run = subprocess.run(
        [sys.executable, "-c", script], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return run.stdout.splitlines()[-1]


def test_waiting_threads_spin_as_long_as_the_user_says() -> None:
    assert spin_count({}) in ("1000", "10000")
    assert spin_count({"GOMP_SPINCOUNT": "7"}) == "7"
    assert spin_count({"OMP_WAIT_POLICY": "active"}) == "None"


def test_threads_spin_for_less_beside_other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([2, 3, 1])
    statistics = tmp_path / "stat"

    def look(_: float) -> None:
        statistics.write_text(f"cpu 1 2\nprocs_running {next(counts)}\nprocs_blocked 9\n", encoding="ascii")

    monkeypatch.setattr("time.sleep", look)
    assert not others_run(statistics)  # at the third look nobody was there
    counts = iter([2] * 99)
    assert others_run(statistics)
    assert not others_run(tmp_path / "none")
    for running, spins in ((True, "1000"), (False, "10000")):
        for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
            monkeypatch.setenv(name, "")  # remembers what was there
            monkeypatch.delenv(name)
        monkeypatch.setattr("elman.cli.process.others_run", lambda running=running: running)
        settle_process()
        assert os.environ["GOMP_SPINCOUNT"] == spins


def test_the_allocator_is_left_alone_when_the_user_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("no library may be opened")

    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setattr("ctypes.CDLL", refuse)
    settle_process()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the count of page faults of Linux and sets glibc's malloc")
def test_blocks_of_any_size_are_kept_between_steps() -> None:
    """Pages are met for the first time in the first steps; 40 MiB are more than malloc can be told to keep by size."""
    script = """
        import resource
        from elman.cli.process import settle_process
        settle_process()
        import torch
        def faults():
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        def step():
            torch.ones(10 << 20)
        for _ in range(30):  # until blocks lie where they fit
            step()
        before = faults()
        for _ in range(10):
            step()
        print(faults() - before)
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=kept, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 10_240  # pages of one block; ten new ones would cost ten times as many


@pytest.mark.parametrize("task", ["tagging", "music", "text-classification"])
def test_a_model_is_loaded_without_the_compiler_of_torch(task: str, tmp_path: Path) -> None:
    """To import it takes longer than to load most models and answer."""
    folder = tmp_path / "example"
    words = shlex.split(TASKS[task].example(folder)[0])[3:]
    data = str(folder / words[0])
    assert main(["train", task, data, "-o", f"{folder}/m", "--steps", "1", "--hidden-size", "4", "-q"]) == 0
    script = f"""
        import sys
        from elman.cli import main
        code = main(["predict", {f"{folder}/m"!r}, {data!r}])
        print(code, "torch._dynamo" in sys.modules)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 False"
