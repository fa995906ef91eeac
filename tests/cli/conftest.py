"""What tests of the command line share: `elman` run in this process, a corpus, and folders that must not change."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from elman.cli import main

SENTENCE = "the quick brown fox jumps over the lazy dog and the dog sleeps on.\n"


class Outcome(NamedTuple):
    """What a run of `elman` left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Elman = Callable[..., Outcome]


@pytest.fixture
def elman(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Elman:
    """Run `elman` in this process: elman("cells", "gru", stdin=b"")."""

    def run(*words: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A text of 20 kB."""
    path = tmp_path / "corpus.txt"
    path.write_text(SENTENCE * 300, encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its bytes, and every folder with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def undamaged(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Call it once everything is in place: what tmp_path holds then must be there, unchanged, when the test ends."""
    before: list[dict[str, bytes | None]] = []
    yield lambda: before.append(contents(tmp_path))
    assert before, "the test did not say when everything was in place"
    after = contents(tmp_path)
    changed = {name for name, data in before[-1].items() if after.get(name, b"gone") != data}
    assert not changed, f"damaged: {sorted(changed)}"
