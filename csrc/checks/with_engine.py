"""Runs pytest on an engine built elsewhere: `python csrc/checks/with_engine.py MODULE ARGUMENTS_OF_PYTEST...`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

NAME = "elman._engine"


def load(path: Path) -> None:
    """Put the module in the place where the package looks for its engine.

    Args:
        path: The compiled module.
    """
    spec = importlib.util.spec_from_file_location(NAME, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"with_engine: must be given a compiled module; got {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    load(Path(sys.argv[1]))
    raise SystemExit(pytest.main(sys.argv[2:]))
