"""An engine that was built from other sources than those that lie here is refused; no call falls back silently."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from elman.errors import UsageError
from elman.layers import Recurrent
from elman.plans import native

pytestmark = pytest.mark.skipif(not native.SOURCES.is_dir(), reason="an installation without the engine's sources")


@pytest.fixture(params=[{"SOURCE_DIGEST": "0" * 64}, {}], ids=["other", "older"])
def _stale(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(**request.param)
    monkeypatch.setattr(native, "engine", other)
    monkeypatch.setattr(native, "STALE", native.is_stale(other))


@pytest.mark.skipif(native.engine is None, reason="the engine was not built")
def test_engine_says_what_it_was_built_from() -> None:
    """The same number, computed by CMake and in Python."""
    assert native.digest_of(native.SOURCES) == native.engine.SOURCE_DIGEST
    assert native.available()


@pytest.mark.usefixtures("_stale")
def test_stale_engine_is_refused_before_it_is_called() -> None:
    x = torch.zeros(1, 2, 3)
    for engine in ("auto", "cpu"):
        with pytest.raises(UsageError, match="built from the sources in csrc") as refused:
            Recurrent("gru", 3, 4, engine=engine)(x)
        assert "pip install -e ." in str(refused.value)
    Recurrent("gru", 3, 4, engine="torch")(x)


def test_stale_engine_does_not_keep_the_package_from_being_imported() -> None:
    code = """
        import sys, types
        sys.modules["elman._engine"] = types.ModuleType("elman._engine")
        import elman, elman.errors, torch
        x = torch.zeros(1, 2, 3)
        elman.Recurrent("gru", 3, 4, engine="torch")(x)
        try:
            elman.Recurrent("gru", 3, 4)(x)
        except elman.errors.UsageError as error:
            print(error)
    """
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "got one that was built from others" in done.stdout


@pytest.mark.usefixtures("_stale")
def test_installation_without_sources_has_nothing_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "SOURCES", tmp_path / "csrc")
    assert not native.is_stale(native.engine)


def test_every_source_counts(tmp_path: Path) -> None:
    copy = tmp_path / "csrc"
    shutil.copytree(native.SOURCES, copy)
    seen = {native.digest_of(copy)}
    assert seen == {native.digest_of(native.SOURCES)}
    for name in ("plan.h", "module.cc", "targets/scalar.cc", "CMakeLists.txt"):
        (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
        seen.add(native.digest_of(copy))
    (copy / "another.h").touch()
    seen.add(native.digest_of(copy))
    assert len(seen) == 6
    (copy / "README.md").write_text("words", encoding="utf-8")
    (copy / "checks" / "run.py").write_text("no part of the engine", encoding="utf-8")
    assert native.digest_of(copy) in seen
