"""Recipes: options of a task in a TOML file, checked like those of the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from elman.errors import DataError, MissingInputError, StorageError, UsageError, nearest


def load_recipe(path: Path, known: frozenset[str]) -> dict[str, Any]:
    """Read a recipe.

    Args:
        path: A TOML file; tables only group options, their names do not count.
        known: Names of options, with underscores.

    Returns:
        Option names to values.

    Raises:
        MissingInputError, StorageError: there is no such file, or it cannot be read.
        DataError: it is not TOML.
        UsageError: it has an option that does not exist; with the nearest.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: must be a recipe (TOML); there is no such file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be TOML; {error}") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    found: dict[str, Any] = {}
    for name, value in values.items():
        for key, item in value.items() if isinstance(value, dict) and name != "init" else [(name, value)]:
            if key not in known:
                raise UsageError(
                    f"{path}: unknown option {key!r}{nearest(key, known)}", f"options: {', '.join(sorted(known))}"
                )
            found[key] = item
    return found
