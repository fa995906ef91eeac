"""A checkpoint counts only while its manifest matches; older ones go only after a newer one is durable."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from elman.errors import ModelFileError, StorageError
from elman.model_folder import read_model_folder
from elman.tensor_file import read_tensors, write_tensors
from elman.training import RunFolder, TrainingConfig, train
from elman.training.checkpoint import MANIFEST, Checkpoints, seal, verify
from tests.training.tiny_problem import CONFIG, TinyProblem, run_tiny


def write_two_files(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(range(100)))
    (folder / "b.txt").write_text("text\n")


@pytest.fixture
def checkpoints(quick_path: Path) -> Checkpoints:
    warnings: list[str] = []
    made = Checkpoints(quick_path / "checkpoints", warnings.append)
    made.warnings = warnings  # type: ignore[attr-defined]
    return made


def flip(position: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / "a.bin").read_bytes())
        data[position] ^= 1
        (folder / "a.bin").write_bytes(data)

    return damage


def rewrite_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "first bit": (flip(0), "a.bin"),
    "last bit": (flip(99), "a.bin"),
    "shorter by one": (lambda folder: os.truncate(folder / "a.bin", 99), "99 are there"),
    "longer by one": (lambda folder: os.truncate(folder / "a.bin", 101), "101 are there"),
    "emptied": (lambda folder: os.truncate(folder / "b.txt", 0), "b.txt"),
    "file deleted": (lambda folder: (folder / "b.txt").unlink(), "b.txt"),
    "file added": (lambda folder: (folder / "c.txt").write_text(""), "c.txt"),
    "file is a link": (
        lambda folder: ((folder / "b.txt").rename(folder.parent / "b"), (folder / "b.txt").symlink_to("../b")),
        "regular file",
    ),
    "manifest deleted": (lambda folder: (folder / MANIFEST).unlink(), MANIFEST),
    "manifest cut": (lambda folder: os.truncate(folder / MANIFEST, 40), "JSON"),
    "manifest empty": (lambda folder: os.truncate(folder / MANIFEST, 0), "JSON"),
    "manifest of another kind": (lambda folder: (folder / MANIFEST).write_text("[]"), "manifest"),
    "manifest too deep": (lambda folder: (folder / MANIFEST).write_text("[" * 10**5), "nested"),
    "manifest names a path": (rewrite_manifest(lambda m: m["files"][0].update(name="../x")), "files"),
    "manifest lists a name twice": (
        lambda folder: (folder / MANIFEST).write_text('{"format_version": 1, "format_version": 1}'),
        "twice",
    ),
}
to_newer_format = rewrite_manifest(lambda m: m.update(format_version=2, names="of which this Elman knows nothing"))


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_with_the_reason_and_the_next_is_used(
    checkpoints: Checkpoints, name: str
) -> None:
    damage, reason = DAMAGES[name]
    older, newer = checkpoints.save(1, write_two_files), checkpoints.save(2, write_two_files)
    assert checkpoints.newest() == newer
    damage(newer)
    with pytest.raises(ModelFileError, match=reason.replace(".", r"\.")):
        verify(newer)
    assert checkpoints.newest() == older
    [warning] = checkpoints.warnings  # type: ignore[attr-defined]
    assert newer.name in warning
    assert reason in warning


def test_resume_warns_and_uses_the_checkpoint_before_and_still_ends_with_the_same_bytes(quick_path: Path) -> None:
    run_tiny(quick_path / "whole", keep=20)
    run_tiny(quick_path / "run", keep=20)
    weights = quick_path / "run/checkpoints/step-000000012/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    problem = TinyProblem()
    run_tiny(quick_path / "run", keep=20, resume=True, problem=problem)
    assert len(problem.carries) == 1  # one step, from 11 to 12
    for name in ("model.safetensors", "metrics.jsonl", "checkpoints/step-000000012/optimizer.safetensors"):
        assert (quick_path / "run" / name).read_bytes() == (quick_path / "whole" / name).read_bytes()


def test_a_damaged_checkpoint_named_by_path_is_an_error_never_replaced_by_another(quick_path: Path) -> None:
    run_tiny(quick_path / "run", keep=20)
    chosen = quick_path / "run/checkpoints/step-000000008"
    os.truncate(chosen / "optimizer.safetensors", 10)
    with RunFolder.open(quick_path / "run") as run, pytest.raises(ModelFileError, match=r"optimizer\.safetensors"):
        train(TinyProblem(), TrainingConfig(**CONFIG), run, resume=chosen)


@pytest.mark.parametrize("step", [5, 8, 12])
@pytest.mark.parametrize("chosen", [None, 5])
def test_a_checkpoint_of_a_newer_elman_is_refused_by_name_and_never_removed(
    quick_path: Path, step: int, chosen: int | None
) -> None:
    run_tiny(quick_path / "run", keep=20)
    checkpoints = quick_path / "run/checkpoints"
    newer = checkpoints / f"step-{step:09d}"
    to_newer_format(newer)
    before = sorted(checkpoints.rglob("*"))
    resume = True if chosen is None else checkpoints / f"step-{chosen:09d}"
    with RunFolder.open(quick_path / "run") as run, pytest.raises(ModelFileError, match=f"{newer.name}.*newer Elman"):
        train(TinyProblem(), TrainingConfig(**{**CONFIG, "steps": 14, "keep": 1}), run, resume=resume)
    assert sorted(checkpoints.rglob("*")) == before


def test_a_checkpoint_of_a_newer_elman_does_not_make_way(checkpoints: Checkpoints) -> None:
    to_newer_format(checkpoints.save(2, write_two_files))
    for use in (checkpoints.newest, lambda: checkpoints.save(2, write_two_files)):
        with pytest.raises(ModelFileError, match="newer Elman"):
            use()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000000002"]


def test_resuming_from_an_older_checkpoint_by_path_leaves_the_later_ones_behind(quick_path: Path) -> None:
    run_tiny(quick_path / "run", keep=20)
    with RunFolder.open(quick_path / "run") as run:
        config = TrainingConfig(**{**CONFIG, "steps": 6, "keep": 20})
        train(TinyProblem(), config, run, resume=quick_path / "run/checkpoints/step-000000005")
    names = sorted(path.name for path in (quick_path / "run/checkpoints").iterdir())
    assert names == [f"step-{step:09d}" for step in range(1, 7)]


def test_retention_keeps_the_newest_and_the_best(checkpoints: Checkpoints) -> None:
    for step in range(1, 8):
        checkpoints.save(step, write_two_files)
        checkpoints.retire(step, keep=2, best=min(step, 3))
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == ["step-000000003", "step-000000006", "step-000000007"]


def test_saving_a_step_again_never_leaves_the_run_without_a_checkpoint(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(1, write_two_files)
    found = []
    rename = os.rename

    def spying_rename(source: Path, target: Path) -> None:
        rename(source, target)
        found.append(checkpoints.newest() is not None)

    monkeypatch.setattr(os, "rename", spying_rename)
    checkpoints.save(1, lambda folder: write_two_files(folder))
    checkpoints.retire(1, keep=1, best=None)
    assert found == [True] * 3  # old aside, new in place, old away
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000000001"]


def test_a_file_system_that_renames_no_folder_is_refused_before_training(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def refusing(source: Path, target: Path) -> None:
        if os.path.isdir(source):  # noqa: PTH112
            raise OSError(errno.ENOSYS, "Function not implemented")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refusing)
    problem = TinyProblem()
    with pytest.raises(
        StorageError, match=r"got Function not implemented[^!]*hint: train into a folder of a file system"
    ):
        run_tiny(quick_path / "run", problem=problem)
    assert problem.carries == [] and list((quick_path / "run/checkpoints").iterdir()) == []


def test_a_failure_while_writing_leaves_nothing_behind(checkpoints: Checkpoints) -> None:
    def fail(folder: Path) -> None:
        write_two_files(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device"):
        checkpoints.save(1, fail)
    assert list(checkpoints.folder.iterdir()) == []


class Disk:
    """Watches system calls and knows which names and bytes a power cut would lose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dirty: set[str] = set()
        self.uncommitted: set[str] = set()
        self.lost: list[str] = []
        for name in ("write", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
            original = getattr(os, name)
            monkeypatch.setattr(os, name, self.watched(name, original))

    def watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **options: Any) -> Any:
            path = os.fspath(Path(f"/proc/self/fd/{first}").readlink()) if isinstance(first, int) else os.fspath(first)
            getattr(self, name)(path, *rest)
            return original(first, *rest, **options)

        return call

    def write(self, path: str, _data: object) -> None:
        self.dirty |= {path, os.path.dirname(path)}  # noqa: PTH120

    def mkdir(self, path: str, *_: object) -> None:
        self.dirty.add(os.path.dirname(path))  # noqa: PTH120

    def fsync(self, path: str) -> None:
        self.dirty.discard(path)
        self.uncommitted = {name for name in self.uncommitted if os.path.dirname(name) != path}  # noqa: PTH120

    def rename(self, source: str, target: str | Path) -> None:
        if "/step-" in str(target) and ".tmp-" in source:
            self.lost += [f"{name} before commit" for name in self.dirty if name.startswith(os.fspath(source))]
            self.uncommitted.add(os.fspath(target))
        if "/step-" in source:
            self.lost += [f"{name} before retiring" for name in self.uncommitted]
        self.dirty.add(os.path.dirname(target))  # noqa: PTH120

    def replace(self, source: str, target: str | Path) -> None:
        if source in self.dirty:
            self.lost.append(f"{source} renamed before it was flushed")
        self.dirty.add(os.path.dirname(target))  # noqa: PTH120

    def unlink(self, path: str, **_: object) -> None:
        self.dirty.discard(path)

    rmdir = unlink


def test_a_power_cut_finds_every_committed_byte_on_the_disk(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    run_tiny(quick_path / "run", steps=6, keep=1)
    assert disk.lost == []
    assert not [name for name in disk.dirty if name.endswith("/run") or "config.json" in name]


def test_the_watch_for_power_cuts_finds_a_missing_flush(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    disk = Disk(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    run_tiny(quick_path / "run", steps=2, keep=1)
    assert disk.lost


def test_weights_that_are_not_finite_are_never_saved_nor_best_nor_a_reason_to_retire(quick_path: Path) -> None:
    class Poisoned(TinyProblem):
        def evaluate(self) -> dict[str, float]:
            self.evaluations += 1
            if self.evaluations == 2:
                self.model.b.data[0] = float("inf")  # type: ignore[index]
            return {"loss": 1 / self.evaluations}

    problem = Poisoned()
    result = run_tiny(quick_path / "run", problem=problem, steps=4, evaluate_every=2, checkpoint_every=9, keep=1)
    assert (result.best_step, result.best) == (2, {"loss": 1.0})
    assert [path.name for path in (quick_path / "run/checkpoints").iterdir()] == ["step-000000002"]
    assert all(bool(value.isfinite().all()) for value in problem.model.state_dict().values())


def rewritten(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def write(checkpoint: Path) -> None:
        values = json.loads((checkpoint / name).read_text())
        change(values)
        (checkpoint / name).write_text(json.dumps(values))

    return write


def other_slots(change: Callable[[str, Tensor], Tensor | None]) -> Callable[[Path], object]:
    def write(checkpoint: Path) -> None:
        path = checkpoint / "optimizer.safetensors"
        slots = {name: change(name, value) for name, value in read_tensors(path).items()}
        write_tensors(path, {name: value for name, value in slots.items() if value is not None})

    return write


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a list": (lambda folder: (folder / "trainer.json").write_text("[]"), "trainer.json: must say where training"),
    "an unknown name": (rewritten("trainer.json", lambda v: v["state"].update(new=1)), "new: "),
    "a text": (rewritten("trainer.json", lambda v: v["state"].update(step="6")), "state: step: "),
    "a length below 0": (rewritten("trainer.json", lambda v: v["state"].update(metrics_bytes=-5)), "metrics_bytes: "),
    "no losses": (rewritten("trainer.json", lambda v: v["state"].update(losses=None)), "losses: "),
    "beyond an epoch": (rewritten("trainer.json", lambda v: v["state"].update(batch=5)), "less than the 5 of an epoch"),
    "a clock of texts": (rewritten("clock.json", lambda v: v.update(seconds="1")), "clock.json: .*seconds: "),
    "a count": (rewritten("trainer.json", lambda v: v["optimizer"].update({"averaged/W": 1})), "got 'averaged/W'"),
    "no slot": (rewritten("trainer.json", lambda v: v["optimizer"].update(W=1)), "trainer.json: .* got 'W'"),
    "scalars": (other_slots(lambda name, value: value.sum()), r"got 'exp_avg/W' of shape \(\) and type F32"),
    "doubles": (other_slots(lambda name, value: value.double()), "got 'exp_avg/W' of shape .* and type F64"),
    "a vector of steps": (other_slots(lambda n, v: v.reshape(1) if n == "step/W" else v), "got 'step/W' of shape"),
    "one slot less": (other_slots(lambda n, v: None if n == "exp_avg_sq/b" else v), "must hold exp_avg_sq/b; got none"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_whole_checkpoint_of_something_else_is_one_error(quick_path: Path, what: str) -> None:
    """Checkpoints may come from anybody: AdamW's kernel wrote beyond a moment of one number."""
    write, message = FOREIGN[what]
    run_tiny(quick_path / "run", steps=6)
    checkpoint = quick_path / "run/checkpoints/step-000000006"
    write(checkpoint)
    (checkpoint / MANIFEST).unlink()
    seal(checkpoint, 6)
    with pytest.raises(ModelFileError, match=message):
        run_tiny(quick_path / "run", steps=8, resume=True)


def test_averages_without_their_count_are_refused(quick_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "asgd", "average_trigger": 0}
    run_tiny(quick_path / "run", steps=2, **options)
    checkpoint = quick_path / "run/checkpoints/step-000000002"
    rewritten("trainer.json", lambda v: v["optimizer"].pop("averaged/W"))(checkpoint)
    (checkpoint / MANIFEST).unlink()
    seal(checkpoint, 2)
    with pytest.raises(ModelFileError, match="an average of 'W' must have its count"):
        run_tiny(quick_path / "run", steps=3, resume=True, **options)


MEMORY = """
import sys
from pathlib import Path

import torch

from elman.training import TrainingConfig
from elman.training.optimizers import averaged_weights, make_optimizer
from elman.training.snapshot import is_finite


def status(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(name)) / 1000


model = torch.nn.ParameterDict({name: torch.nn.Parameter(torch.ones(15_000_000)) for name in "ab"})
optimizer = make_optimizer(model, TrainingConfig(optimizer="asgd", average_trigger=0))
for parameter in model.values():
    parameter.grad = torch.ones_like(parameter)
optimizer.begin_averaging()
optimizer.step()
Path("/proc/self/clear_refs").write_text("5")  # the highest is counted from here
before = status("VmRSS")
assert is_finite(model, optimizer)
with averaged_weights(optimizer):
    pass
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="nobody counts memory here")
def test_what_goes_before_a_save_takes_no_more_memory_than_the_largest_tensor() -> None:
    said = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True).stdout
    assert float(said) < 60 + 20  # MB


def test_a_checkpoint_is_a_model_folder_with_modes_by_the_umask(quick_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run_tiny(quick_path / "run", steps=1)
    finally:
        os.umask(before)
    for path in (quick_path / "run").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path
    assert {"model.safetensors", "config.json"} <= {
        path.name for path in (quick_path / "run/checkpoints/step-000000001").iterdir()
    }


def test_the_run_folder_says_which_metrics_its_model_has(quick_path: Path) -> None:
    result = run_tiny(quick_path / "run")
    assert json.loads((quick_path / "run/metrics.json").read_text()) == {
        "step": result.best_step,
        "validation": result.best,
    }
    config, tensors = read_model_folder(quick_path / "run", TinyProblem().model.state_dict())
    assert config == {"model_type": "tiny"}
    assert set(tensors) == {"W", "b", "out"}
