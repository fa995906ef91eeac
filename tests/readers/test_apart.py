"""A decoder in a process of its own: what it answers, and what becomes of files that crash, hang or silence it."""

from __future__ import annotations

from pathlib import Path

import pytest

from elman.errors import DataError, MissingExtraError, MissingInputError
from elman.readers.apart import Apart

PROGRAM = """
import json, os, signal, sys, time
for line in sys.stdin.buffer:
    path = json.loads(line)
    text = open(path).read()
    if text == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "exit":
        sys.exit(3)
    if text == "hang":
        time.sleep(60)
    if text == "half":
        sys.stdout.buffer.write(b'{"bytes": 100}\\n' + b"x" * 10)
        sys.stdout.buffer.flush()
        os.kill(os.getpid(), signal.SIGABRT)
    facts = {"error": "must be better"} if text == "bad" else {"process": os.getpid()}
    data = b"" if "error" in facts else text.encode() * 1000
    sys.stdout.buffer.write(json.dumps({**facts, "bytes": len(data)}).encode() + b"\\n" + data)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    for text in ("good", "bad", "crash", "exit", "hang", "half"):
        (tmp_path / text).write_text(text)
    (tmp_path / "empty").touch()
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad", "must be better"),
        ("crash", "must be decodable; the decoder ended with SIGSEGV"),
        ("exit", "must be decodable; the decoder ended with exit code 3"),
        ("half", "must be decodable; the decoder ended with SIGABRT"),
        ("empty", "must hold something; the file is empty"),
    ],
)
def test_a_file_that_breaks_the_decoder_costs_itself_alone(name: str, message: str, program: Path) -> None:
    with Apart(program, "json", "audio") as apart:
        first, data = apart.decode(program.parent / "good")
        assert data == b"good" * 1000
        with pytest.raises(DataError, match=f"^{program.parent / name}: {message}$"):
            apart.decode(program.parent / name)
        again, data = apart.decode(program.parent / "good")
        assert data == b"good" * 1000
        assert (again["process"] == first["process"]) == (name in ("bad", "empty"))


def test_a_decoder_that_hangs_is_ended(program: Path) -> None:
    apart = Apart(program, "json", "audio", seconds=0.5)
    with apart, pytest.raises(DataError, match="ended with SIGKILL"):
        apart.decode(program.parent / "hang")


def test_what_is_no_file_is_refused_before_it_is_asked_for(program: Path) -> None:
    with Apart(program, "json", "audio") as apart:
        for name, found in (("none", "none"), (".", "a folder")):
            with pytest.raises(MissingInputError, match=f"file must exist; got {found}"):
                apart.decode(program.parent / name)


def test_a_library_that_is_missing_is_told_with_its_extra(program: Path) -> None:
    with pytest.raises(MissingExtraError, match="nosuch must be installed") as caught:
        Apart(program, "nosuch", "video")
    assert caught.value.hint == "pip install 'elman[video]'"
