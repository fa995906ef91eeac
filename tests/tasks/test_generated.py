"""Generated examples: a part of the data must not hold what another part does."""

from __future__ import annotations

from pathlib import Path

import pytest

from elman.cli import main


@pytest.mark.parametrize(
    ("task", "pattern", "count"),
    [("translation", "*.t*", 4000), ("captioning", "**/*.png", 1200), ("music", "**/*.mid", 160)],
)
def test_no_example_is_there_twice(task: str, pattern: str, count: int, tmp_path: Path) -> None:
    assert main(["example", task, "-o", str(tmp_path)]) == 0
    files = [path.read_bytes() for path in sorted(tmp_path.glob(pattern))]
    if task == "translation":
        files = [line.partition(b"\t")[0] for file in files for line in file.splitlines()]
    assert len(files) == len(set(files)) == count
