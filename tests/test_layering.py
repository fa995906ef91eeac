"""Imports go one way: each module knows only what stands above it in the list, and equations know no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "elman"

# Top to bottom. A module imports from lines above its own and from its own folder; neighbours do not know each other.
ORDER = """
errors
equations storage seeds sampling
plans cells config randomness tensor_header
tensor_file model_config
model_folder engines search_options
data_sets readers
codecs heads
layers
decoding metrics
architectures
training diagnosis bridges
runtime
tasks torch
cli serve studio
__main__
"""
RANK = {name: rank for rank, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
WITHOUT_TORCH = (
    "equations",
    "cells",
    "errors",
    "storage",
    "seeds",
    "sampling",
    "plans",
    "runtime",
    "tensor_header",
    "model_config",
)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def unit(path: Path) -> str:
    """Return the file or folder of the package that a file belongs to: "layers" for elman/layers/stack.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything that a source imports, at any depth and for types only, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full; got a relative one"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def faults(own: str, source: str) -> list[str]:
    """Return a line for each import that `own` must not have."""
    found = []
    for line, name in imported(source):
        root, _, rest = name.partition(".")
        known = rest.split(".")[0]
        if root == "torch" and own in WITHOUT_TORCH:
            found.append(f"line {line}: {own} imports torch")
        if root != "elman" or not known or known in ("__version__", own):
            continue
        if known not in RANK:
            found.append(f"line {line}: {name} has no place in the list, or is to be imported from its own module")
        elif RANK[known] >= RANK[own]:
            found.append(f"line {line}: {own} imports {name}, which stands below or beside it")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_stands_above_it(path: Path) -> None:
    assert unit(path) in RANK, f"{unit(path)} needs a place in the list"
    assert faults(unit(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("equations", "import torch"),
        ("equations", "def late():\n    from torch.nn import Module"),
        ("cells", "from elman.layers import Recurrent"),
        ("layers", "import elman.tasks.language_model"),
        ("training", "from elman import tasks"),
        ("training", "from elman.diagnosis import diagnose"),
        ("engines", "from elman import Cell"),
        ("tasks", "if TYPE_CHECKING:\n    from elman.cli import main"),
    ],
)
def test_forbidden_import_is_found(own: str, source: str) -> None:
    assert len(faults(own, source)) == 1


def test_allowed_imports_are_not_found() -> None:
    source = (
        "import torch, elman\nfrom elman import __version__\nfrom elman.equations import Cell\nimport elman.layers.x"
    )
    assert faults("layers", source) == []


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_import_loads_no_torch(name: str) -> None:
    check = f"import sys, elman.{name}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or f"import elman.{name} loads torch"
