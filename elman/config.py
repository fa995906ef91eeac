"""Options: what every class of them has; and recipes, options of a task in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from elman.errors import DataError, MissingInputError, StorageError, UsageError, nearest

FullPath = Annotated[Path, AfterValidator(Path.absolute)]
"""A path that is found again from any folder: a run may be resumed from another one than where it began."""


class Options(BaseModel):
    """Frozen options, checked on construction; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a truth value where none is asked for: it would be taken for 0 or 1."""
        if isinstance(value, bool) and not _takes_truth(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("must be neither true nor false")
        return value

    def differs(self, name: str) -> bool:
        """Return whether an option is another than its default: saved options hold all of them, given or not."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)


def _takes_truth(annotation: Any) -> bool:
    return annotation is bool or any(_takes_truth(part) for part in get_args(annotation))


def first_problem(error: ValidationError) -> str:
    """Return the first thing that pydantic found wrong with values, and where: "layers: Input should be ..."."""
    wrong = error.errors()[0]
    where = ": ".join(map(str, wrong["loc"]))[:80]
    said = wrong["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def load_recipe(path: Path, known: frozenset[str], tables: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Read a recipe.

    Args:
        path: A TOML file; tables only group options, their names do not count unless they are those of `tables`.
        known: Names of options, with underscores.
        tables: Those of them whose value is a table.

    Returns:
        Option names to values.

    Raises:
        MissingInputError, StorageError: there is no such file, or it cannot be read.
        DataError: it is not TOML.
        UsageError: it has options that do not exist, all of them told with the nearest; or one twice.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: must be a recipe (TOML); there is no such file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be TOML; {error}") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    unknown = [f"unknown option {key!r}{nearest(key, known)}" for key, _ in _flat(values, tables) if key not in known]
    if unknown:
        raise UsageError(f"{path}: {'; '.join(unknown)}", f"options: {', '.join(sorted(known))}")
    found: dict[str, Any] = {}
    for key, value in _flat(values, tables):
        if key in found:
            raise UsageError(f"{path}: option {key!r} must be given once; got it in two tables")
        found[key] = value
    return found


def _flat(values: dict[str, Any], tables: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield options, those of tables without the tables' names."""
    for name, value in values.items():
        yield from value.items() if isinstance(value, dict) and name not in tables else [(name, value)]
