"""A run that is killed anywhere and resumed ends with the same bytes as one that was left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from elman.training.checkpoint import Checkpoints
from elman.training.metrics_log import read_records
from tests.training.faults import run_jobs
from tests.training.tiny_problem import TinyProblem, run_tiny

OPTIONS: dict[str, Any] = {"steps": 6, "evaluate_every": 3, "checkpoint_every": 4}
STEPWISE: dict[str, Any] = {"steps": 11, "evaluate_every": 4, "checkpoint_every": 1, "log_every": 3}


def final_bytes(run: Path, steps: int) -> dict[str, bytes]:
    last = f"checkpoints/step-{steps:09d}"
    names = ["model.safetensors", "config.json", "metrics.json", "metrics.jsonl"]
    names += [f"{last}/{name}" for name in ("model.safetensors", "optimizer.safetensors", "trainer.json")]
    return {name: (run / name).read_bytes() for name in names}


def newest_step(run: Path) -> int:
    if not (run / "checkpoints").exists():
        return 0
    path = Checkpoints(run / "checkpoints", print).newest()
    return 0 if path is None else int(path.name[5:14])


def litter(run: Path) -> list[str]:
    return [str(path) for path in run.rglob("*") if ".tmp" in path.name or "replaced" in path.name]


def calls_of(path: Path, kind: str, options: dict[str, Any]) -> int:
    statuses, said = run_jobs([{"path": str(path), "kind": kind, "action": "COUNT", "at": 0, "options": options}])
    assert statuses == [0], said
    return int((path / "count").read_text())


def test_a_kill_at_any_system_call_loses_no_checkpoint_and_no_byte(quick_path: Path) -> None:
    calls = calls_of(quick_path / "whole", "any", OPTIONS)
    wanted = final_bytes(quick_path / "whole", 6)
    runs = [quick_path / f"killed-{at}" for at in range(1, calls + 1)]
    kill = [
        {"path": str(run), "kind": "any", "action": "KILL", "at": at, "options": OPTIONS}
        for at, run in enumerate(runs, 1)
    ]
    assert set(run_jobs(kill)[0]) == {-9}
    steps = [newest_step(run) for run in runs]
    # Later kills never leave an older state: an old checkpoint goes only once a newer one is there to stay.
    assert steps == sorted(steps)
    assert set(steps) == {0, 3, 4, 6}
    statuses, said = run_jobs([{"path": str(run), "options": OPTIONS} for run in runs])
    assert set(statuses) == {0}, said
    for run in runs:
        assert final_bytes(run, 6) == wanted
        assert litter(run) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 2},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "asgd", "average_trigger": 0},
        {"precision": "bf16"},
        {"schedule": "step", "learning_rate": 0.9},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "adamw",
)
def test_a_kill_in_any_step_changes_no_byte(quick_path: Path, changes: dict[str, Any]) -> None:
    options = {**STEPWISE, **changes}
    batches = calls_of(quick_path / "whole", "batch", options)
    wanted = final_bytes(quick_path / "whole", 11)
    runs = [quick_path / f"killed-{at}" for at in range(1, batches + 1)]
    kill = [
        {"path": str(run), "kind": "batch", "action": "KILL", "at": at, "options": options}
        for at, run in enumerate(runs, 1)
    ]
    assert set(run_jobs(kill)[0]) == {-9}
    # A resumed run goes on from the step before the kill: it does not get its equal bytes by starting again.
    assert newest_step(runs[-1]) == 10
    statuses, said = run_jobs([{"path": str(run), "options": options} for run in runs])
    assert set(statuses) == {0}, said
    assert all(final_bytes(run, 11) == wanted for run in runs)


def test_signals_let_the_step_finish_and_resuming_changes_no_byte(quick_path: Path) -> None:
    options = {**STEPWISE, "checkpoint_every": 100}
    calls_of(quick_path / "whole", "batch", options)
    wanted = final_bytes(quick_path / "whole", 11)
    cases = [
        ("batch", 2, "TERM", 143),
        ("batch", 7, "INT", 130),
        ("evaluate", 1, "TERM", 143),
        ("evaluate", 2, "INT", 130),
    ]
    jobs = [
        {"path": str(quick_path / f"{kind}-{at}"), "kind": kind, "action": action, "at": at, "options": options}
        for kind, at, action, _ in cases
    ]
    assert run_jobs(jobs)[0] == [code for *_, code in cases]
    assert newest_step(quick_path / "batch-2") == 2
    assert newest_step(quick_path / "batch-7") == 7
    assert newest_step(quick_path / "evaluate-1") == 4
    assert len(read_records(quick_path / "evaluate-1" / "metrics.jsonl")) == 2  # training only, no half evaluation
    for job in jobs:
        assert run_jobs([{"path": job["path"], "options": options}])[0] == [0]
        assert final_bytes(Path(job["path"]), 11) == wanted


def test_a_second_signal_exits_at_once(quick_path: Path) -> None:
    job = {
        "path": str(quick_path / "run"),
        "kind": "batch",
        "action": "TERM2",
        "at": 3,
        "options": {"checkpoint_every": 1},
    }
    assert run_jobs([job])[0] == [143]
    assert newest_step(quick_path / "run") == 2  # step 3 was not finished


@pytest.mark.parametrize(("kind", "action"), [("write", "ENOSPC"), ("fsync", "EIO"), ("rename", "EROFS")])
def test_a_failing_file_system_is_one_clear_error_and_damages_nothing(quick_path: Path, kind: str, action: str) -> None:
    calls = calls_of(quick_path / "whole", kind, OPTIONS)
    wanted = final_bytes(quick_path / "whole", 6)
    runs = [quick_path / f"failed-{at}" for at in range(1, calls + 1, 3)]
    fail = [
        {"path": str(run), "kind": kind, "action": action, "at": 1 + 3 * number, "options": OPTIONS}
        for number, run in enumerate(runs)
    ]
    statuses, said = run_jobs(fail)
    assert set(statuses) == {74}
    errors = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {error["error"] for error in errors} == {"StorageError"}
    assert all(str(quick_path) in error["text"] and "bytes are free" in error["text"] for error in errors)
    steps = [newest_step(run) for run in runs]
    assert steps == sorted(steps)
    assert all(litter(run) == [] for run in runs)
    statuses, said = run_jobs([{"path": str(run), "options": OPTIONS} for run in runs])
    assert set(statuses) == {0}, said
    assert all(final_bytes(run, 6) == wanted for run in runs)


def test_a_file_size_limit_of_the_system_names_the_bytes_needed(quick_path: Path) -> None:
    run = quick_path / "run"
    run_tiny(run, steps=1)
    needed = (run / "checkpoints/step-000000001/optimizer.safetensors").stat().st_size
    statuses, said = run_jobs(
        [{"path": str(run), "largest_file": needed - 1, "options": {"steps": 2, "evaluate_every": 9}}]
    )
    assert statuses == [74]
    assert f"needs {needed} bytes" in said
    assert newest_step(run) == 1
    assert litter(run) == []


def test_a_run_without_checkpoint_starts_again_with_an_empty_log(quick_path: Path) -> None:
    run_tiny(quick_path / "whole")
    run = quick_path / "run"
    run_tiny(run)
    shutil.rmtree(run / "checkpoints")
    run_tiny(run, resume=True)
    assert final_bytes(run, 12) == final_bytes(quick_path / "whole", 12)


def test_a_finished_run_resumes_to_itself_and_with_a_larger_budget_goes_on(quick_path: Path) -> None:
    run_tiny(quick_path / "run")
    before = final_bytes(quick_path / "run", 12)
    problem = TinyProblem()
    run_tiny(quick_path / "run", resume=True, problem=problem)
    assert final_bytes(quick_path / "run", 12) == before
    assert problem.carries == []
    assert run_tiny(quick_path / "run", resume=True, steps=14).steps == 14


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(quick_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_tiny(quick_path / name, seed=seed)
    a, b, c = (final_bytes(quick_path / name, 12) for name in "abc")
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]
