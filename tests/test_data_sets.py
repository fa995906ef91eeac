"""Public data is fetched from a local server, checked to the byte, and refused when it is something else."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from elman import data_sets
from elman.cli import main
from elman.data_sets import SETS, DataSet, fetch
from elman.errors import DataError, StorageError
from elman.tasks import TASKS

CONTENT = b"to be or not to be\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a folder that holds play.txt."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "play.txt").write_bytes(CONTENT)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/"
        found.shutdown()
        thread.join()


def plays(base: str, sha256: str = hashlib.sha256(CONTENT).hexdigest(), name: str = "play.txt") -> DataSet:
    return DataSet("plays", "language-model", "a play", "public domain", base, {name: sha256})


def test_files_come_whole_and_are_kept(server: str, tmp_path: Path) -> None:
    (path,) = fetch(plays(server), tmp_path / "here")
    assert path == tmp_path / "here" / "play.txt" and path.read_bytes() == CONTENT
    (tmp_path / "served" / "play.txt").unlink()
    assert fetch(plays(server), tmp_path / "here") == [path]  # it is there already: nothing is asked for


def test_what_is_something_else_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"play\.txt: must have the SHA-256 0{16}"):
        fetch(plays(server, "0" * 64), tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_what_stands_there_under_the_same_name_stays(server: str, tmp_path: Path) -> None:
    mine = tmp_path / "play.txt"
    mine.write_text("a play of mine", encoding="ascii")
    with pytest.raises(DataError, match=r"play\.txt: must be the file that is to be fetched, or none; got another"):
        fetch(plays(server), tmp_path)
    assert mine.read_text(encoding="ascii") == "a play of mine"
    mine.unlink()
    mine.mkdir()
    with pytest.raises(DataError, match="got a folder"):
        fetch(plays(server), tmp_path)


@pytest.mark.parametrize("wrong", ["a missing file", "a silent address"])
def test_what_does_not_answer_is_told(wrong: str, server: str, tmp_path: Path) -> None:
    wanted = plays(server, name="none.txt") if wrong == "a missing file" else plays("http://127.0.0.1:9/")
    why = "404" if wrong == "a missing file" else "Connection refused"
    with pytest.raises(StorageError, match=f"must answer; got [^(]*{why}"):
        fetch(wanted, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_folder_that_cannot_be_written_is_told_as_such(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "tmp1"))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)
    with pytest.raises(StorageError, match=r"play\.txt: must be writable, .*Permission denied"):
        fetch(plays(server), tmp_path)


def test_the_command_fetches_and_lists(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(data_sets.SETS, "plays", plays(server))
    assert main(["data", "plays", "-o", str(tmp_path / "here"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(tmp_path / "here" / "play.txt")]
    assert main(["data"]) == 0
    assert "public domain" in capsys.readouterr().out
    assert main(["data", "playz"]) == 2
    assert "did you mean 'plays'?" in capsys.readouterr().err
    assert main(["data", "-o", str(tmp_path)]) == 2


def test_every_set_names_a_task_and_its_files() -> None:
    for name, data in SETS.items():
        assert data.name == name and data.task in TASKS
        assert data.base.startswith("https://") and data.base.endswith("/")
        assert data.files and all(len(bytes.fromhex(value)) == 32 for value in data.files.values())


@pytest.mark.parametrize(
    ("name", "folder"), [("sst", "sst"), ("names", "names/names"), ("nottingham", "nottingham"), ("wnut17", "wnut17")]
)
def test_hashes_are_those_of_the_public_files(name: str, folder: str, data_folder: Path) -> None:
    for file, sha256 in SETS[name].files.items():
        assert hashlib.sha256((data_folder / folder / file).read_bytes()).hexdigest() == sha256
