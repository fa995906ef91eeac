"""The run folder: one process at a time, written once, tied to its data; and its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elman.errors import BusyError, DataError, MissingInputError, ModelFileError, UsageError
from elman.storage import BLOCK
from elman.training import RunFolder
from elman.training.metrics_log import JsonLines, read_records

HOLD = """
import sys
from elman.training import RunFolder
RunFolder.open(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def create(path: Path) -> RunFolder:
    return RunFolder.create(path, task="tiny", config={"seed": 3, "steps": 4}, data={"sha256": "aa", "bytes": 10})


def test_every_folder_that_a_run_makes_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("elman.storage.sync_folder", synced.append)
    create(tmp_path / "year" / "month" / "run").close()
    assert {tmp_path, tmp_path / "year", tmp_path / "year" / "month"} <= set(synced)


def test_a_second_process_is_told_who_holds_the_folder_and_gets_it_when_that_one_dies(tmp_path: Path) -> None:
    create(tmp_path / "run").close()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=rf"process {holder.pid} on host \S+") as caught:
            RunFolder.open(tmp_path / "run")
        assert caught.value.exit_code == 75
        with pytest.raises(BusyError):
            create(tmp_path / "run")
        holder.kill()
    RunFolder.open(tmp_path / "run").close()


def test_run_json_holds_what_is_needed_to_repeat_the_run_and_is_written_once(tmp_path: Path) -> None:
    with create(tmp_path / "run"):
        pass
    text = (tmp_path / "run/run.json").read_text()
    described = json.loads(text)
    assert described["config"] == {"seed": 3, "steps": 4}
    assert described["seed"] == 3
    assert described["data"] == {"sha256": "aa", "bytes": 10}
    assert {"elman", "python", "torch", "cpu_capability", "threads"} <= set(described["environment"])
    with RunFolder.open(tmp_path / "run") as run:
        assert run.description == described
    with pytest.raises(UsageError, match="elman resume"):
        create(tmp_path / "run")
    assert (tmp_path / "run/run.json").read_text() == text


def test_a_folder_with_a_model_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a model"):
        create(tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="got a file"):
        create(tmp_path / "file")


def test_changed_data_is_refused_by_name(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.check_data({"sha256": "aa", "bytes": 10})
        with pytest.raises(DataError, match=r"'sha256' was 'aa'; got 'bb'"):
            run.check_data({"sha256": "bb", "bytes": 10})
        with pytest.raises(DataError, match="'bytes' was 10; got None"):
            run.check_data({"sha256": "aa"})


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        RunFolder.open(tmp_path)
    for text, reason in (("[]", "describe a run"), ('{"format_version": 2}', "newer Elman"), ("{", "JSON")):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ModelFileError, match=reason):
            RunFolder.open(tmp_path)


def test_a_log_is_cut_back_without_being_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "log.jsonl", list[int]()
    pread = os.pread

    def counted(handle: int, size: int, begin: int) -> bytes:
        asked.append(size)
        return pread(handle, size, begin)

    line = b'"' + b"x" * (3 * BLOCK // 2) + b'"\n'
    path.write_bytes(10 * line + line[:-9])
    monkeypatch.setattr(os, "pread", counted)
    with JsonLines(path) as log:
        assert log.truncate(len(line) * 11) == len(line)
        assert log.size == 10 * len(line)
    assert asked == [BLOCK, BLOCK]


def test_a_log_is_cut_back_to_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path) as log:
        log.append({"step": 1})
        size = log.size
        log.append({"step": 2, "loss": float("nan")})
        assert log.truncate(size) == 0
        assert read_records(path) == [{"step": 1}]
        log.append({"step": 2})
        os.truncate(path, log.size - 3)
        assert read_records(path) == [{"step": 1}]  # the torn line is left out
        assert log.truncate(size + 14) == 14
        assert log.size == size
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ModelFileError, match=r"log\.jsonl:2"):
        read_records(path)
