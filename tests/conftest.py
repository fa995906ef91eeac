"""What every test gets: one thread, fixed seeds, settings left as found, the public data if there is any."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

# Read when the libraries start: before torch and matplotlib are imported, here and in the processes that tests start.
# One thread: what tests compute is small, and threads that wait for each other on a busy machine make it slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("elman", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("elman")


@pytest.fixture(autouse=True)
def settled_torch() -> Iterator[None]:
    """Give each test the same torch: threads, default type, anomaly mode off, seed; whatever ran before it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == torch.float32, "the test left another default dtype behind"
    assert torch.is_grad_enabled(), "the test left gradients switched off"


@pytest.fixture(autouse=True)
def same_folder() -> Iterator[None]:
    """Fail a test that leaves the process in another working folder than it found."""
    before = Path.cwd()
    yield
    after = Path.cwd()
    os.chdir(before)
    assert after == before, f"the test left the process in {after}"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public data sets that ELMAN_DATA names; without the variable the test is skipped.

    With the variable set nothing is skipped: a folder or file that is missing makes the test fail.
    """
    named = os.environ.get("ELMAN_DATA")
    if not named:
        pytest.skip("ELMAN_DATA is not set")
    folder = Path(named)
    assert folder.is_dir(), f"ELMAN_DATA must name a folder; got {named!r}"
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the data sets, so that `-m data` and `-m 'not data'` choose it."""
    for item in items:
        if "data_folder" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Turn the skip of a data test into a failure where the data sets are said to be there."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.skipped and item.get_closest_marker("data") and os.environ.get("ELMAN_DATA"):
        report.outcome = "failed"
        report.longrepr = f"skipped although ELMAN_DATA is set: {report.longrepr}"
