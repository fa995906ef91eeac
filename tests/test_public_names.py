"""What `elman` and its modules offer: every listed name exists, is documented, and is what it says."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import elman

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(elman.__path__, prefix="elman.")
    if not found.name.endswith("__main__")
)


def public(module: object) -> list[str]:
    """Return the names that a module defines for others: `__all__`, or what it defines itself without underscore."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    own = vars(module)
    return [n for n, v in own.items() if not n.startswith("_") and getattr(v, "__module__", "") == own["__name__"]]


@pytest.mark.parametrize("name", elman.__all__)
def test_listed_name_of_the_package_exists(name: str) -> None:
    assert getattr(elman, name) is not None


def test_package_lists_what_the_documentation_uses() -> None:
    assert {"Bidirectional", "Cell", "Recurrent", "Stack", "State", "cells"} <= set(elman.__all__)
    assert len(set(elman.__all__)) == len(elman.__all__)


def test_star_import_gives_the_listed_names() -> None:
    names: dict[str, object] = {}
    exec("from elman import *", names)
    assert set(elman.__all__) <= set(names)


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Reccurent'"):
        _ = elman.Reccurent


@pytest.mark.parametrize("name", MODULES)
def test_module_and_its_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert inspect.getdoc(module), f"{name} has no docstring"
    for public_name in public(module):
        value = getattr(module, public_name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public_name} has no docstring"


def test_catalogue_stays_the_catalogue_whatever_is_imported_first() -> None:
    """`elman.cells` names a module and the catalogue in it; users mean the catalogue, in every order of imports."""
    for first in (
        "pass",
        "import elman.cells",
        "from elman.cells import cells",
        "import elman.layers",
        "import elman.cli",
    ):
        check = f"import elman\n{first}\nfrom elman import cells\nassert elman.cells['gru'] == cells['gru']"
        done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"after {first!r}: {done.stderr}"
