"""A run knows its data to the byte: files, what manifests name, and what options name beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elman.tasks import TASKS
from elman.tasks.options import SupervisedOptions
from elman.tasks.supervised import SupervisedTask


def written(folder: Path) -> Path:
    """Manifests of a file, a folder of two files, and something that is not there; and two files beside."""
    (folder / "frames").mkdir()
    for name in ("one.bin", "frames/a.png", "frames/b.png", "beside.txt", "other.csv"):
        (folder / name).write_text(name, encoding="ascii")
    (folder / "data.csv").write_text("path,label\none.bin,x\nframes,y\nmissing.bin,x\n", encoding="ascii")
    return folder / "data.csv"


def changed(task: str, data: Path, file: Path, **options: Any) -> set[str]:
    """Which fingerprints change when a byte of a file does."""
    config = TASKS[task].config(**options)
    before = TASKS[task].fingerprints(data, config)
    assert before == TASKS[task].fingerprints(data, config)
    file.write_bytes(file.read_bytes() + b"!")
    after = TASKS[task].fingerprints(data, config)
    assert set(before) == set(after)
    return {name for name in before if before[name] != after[name]}


MANIFESTS = [name for name, task in TASKS.items() if isinstance(task, SupervisedTask) and task.manifests]


@pytest.mark.parametrize("task", MANIFESTS)
@pytest.mark.parametrize("file", ["one.bin", "frames/b.png"])
def test_files_that_a_manifest_names_are_data(task: str, file: str, tmp_path: Path) -> None:
    assert changed(task, written(tmp_path), tmp_path / file) == {"train"}


@pytest.mark.parametrize("part", ["validation", "test"])
def test_each_part_has_its_own(part: str, tmp_path: Path) -> None:
    data = written(tmp_path)
    (tmp_path / "held.tsv").write_text("path\tlabel\nframes/a.png\tx\n", encoding="ascii")
    assert changed("video", data, tmp_path / "frames/b.png", **{part: tmp_path / "held.tsv"}) == {"train"}
    assert changed("video", data, tmp_path / "frames/a.png", **{part: tmp_path / "held.tsv"}) == {"train", part}


def test_the_column_and_the_form_of_a_manifest_are_those_of_the_options(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "list.txt").write_text("clip,label\none.bin,x\n", encoding="ascii")
    options = {"format": "csv", "column": {"path": "clip"}}
    assert changed("video", tmp_path / "list.txt", tmp_path / "one.bin", **options) == {"train"}


BESIDE = [
    (name, option)
    for name, task in TASKS.items()
    if issubclass(task.config, SupervisedOptions)
    for option in task.config.beside
]


@pytest.mark.parametrize(("task", "option"), BESIDE)
def test_files_that_options_name_beside_the_data_are_data(
    task: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(tmp_path)
    monkeypatch.chdir(tmp_path)
    part = option.rpartition("_")[0]  # validation_target goes with validation
    further = {part: "other.csv"} if part else {}
    assert changed(task, data, tmp_path / "beside.txt", **{option: "beside.txt"}, **further) == {option}
    kept = getattr(TASKS[task].config(**{option: "beside.txt"}, **further), option)
    assert kept == tmp_path / "beside.txt", "found again from any folder"


def test_every_path_of_the_options_is_data() -> None:
    """An option that names a file and is in no fingerprint would let a run go on with another file."""
    for task in TASKS.values():
        paths = {name for name, field in task.config.model_fields.items() if "Path" in str(field.annotation)}
        known = {"validation", "test", *(getattr(task.config, "beside", ()))}
        assert paths == known, task.name


def test_files_behind_a_link_to_a_folder_are_data(tmp_path: Path) -> None:
    for name in ("data/good/a.txt", "elsewhere/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("text", encoding="ascii")
    (tmp_path / "data" / "bad").symlink_to(tmp_path / "elsewhere")
    assert changed("text-classification", tmp_path / "data", tmp_path / "elsewhere" / "b.txt") == {"train"}
