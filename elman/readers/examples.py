"""Raw examples, how files of them are read, and what becomes of those that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from elman.errors import DataError, UsageError
from elman.storage import write_file

_SHOWN = 80
EMPTY = ""
"""x of a line without anything on it, where each line is to get an answer: that answer is an empty line."""

Purpose = Literal["train", "whole", "measure", "remeasure", "predict"]
"""What data is read for. "train": to train on some of it; "whole": all of it is for one thing, whatever its times;
"measure": a trained model on it; "remeasure": a model on what it was trained on; "predict": answers."""


@dataclass(frozen=True)
class Example:
    """One example as it stands in a file: the pair x^(i), y^(i).

    Args:
        where: Where it stands, "train.csv:17".
        x: What a model reads.
        y: What it is to say; None where nobody said it.
        group: Name of what it belongs to (a speaker, a patient); examples of one group stay in one part of the data.
        part: "train", "validation" or "test" where the file says so.
        id: What the file calls it; None where it has no name.
    """

    where: str
    x: Any
    y: Any = None
    group: str | None = None
    part: str | None = None
    id: str | None = None


class Rejects:
    """Examples that cannot be used: the first one ends the reading, or each is kept, counted and left out.

    Args:
        skip: Leave them out; otherwise the first is an error.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.rows: list[dict[str, str]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def refuse(self, where: str, problem: str, hint: str | None = None) -> None:
        """Note an example that cannot be used.

        Args:
            where: Where it stands, "train.csv:17".
            problem: "text must not be empty; got nothing".
            hint: What to do about it.

        Raises:
            DataError: examples are not to be skipped.
        """
        if not self.skip:
            raise DataError(f"{where}: {problem}", hint or "leave such examples out with --on-error skip")
        self.rows.append({"where": where, "problem": problem})

    def take(self, where: str, error: DataError) -> None:
        """Note an example by the error that it raised.

        Raises:
            DataError: that error, when examples are not to be skipped.
        """
        if not self.skip:
            raise error
        self.rows.append({"where": where, "problem": error.message.removeprefix(f"{where}: ")})

    def write(self, path: Path) -> None:
        """Write one JSON line for each to a file.

        Raises:
            StorageError: it cannot be written.
        """
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows]
        write_file(path, [line.encode("utf-8", "backslashreplace") for line in lines])


@dataclass(frozen=True)
class Reading:
    """How files of examples are read.

    Args:
        rejects: Who takes what cannot be used.
        form: Name of a format; "auto" goes by the name of the file.
        encoding: Of text files.
        columns: Columns that hold something under another name, {"text": "review", "group": "author"}.
        labelled: Whether every example must say its y.
        taken: Gets the columns that data itself says by their usual names, where it is read to train.
        notes: Gets what people should know of data that can be used all the same.
        purpose: What for. Columns of parts and groups must be there where it is training; groups have no meaning
            elsewhere, parts none for predictions.
        asked: Of the columns, those named for this reading, and "format" where it is; the others are of the data that a
            model was trained on.
        folder: Where the paths in a manifest count from; without it, from the manifest's own folder.
    """

    rejects: Rejects = field(default_factory=Rejects)
    form: str = "auto"
    encoding: str = "utf-8"
    columns: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = True
    taken: dict[str, str] = field(default_factory=dict, kw_only=True)
    notes: list[str] = field(default_factory=list, kw_only=True)
    purpose: Purpose = "train"
    asked: frozenset[str] = frozenset()
    folder: Path | None = None

    def named(self, manifest: Path, name: object) -> Path:
        """Return the file or folder that a manifest calls by a name."""
        return (manifest.parent if self.folder is None else self.folder) / str(name)

    def column(self, name: str) -> str:
        """Return the name of the column that holds `name`."""
        return self.columns.get(name, name)

    def known_columns(self, *names: str) -> None:
        """Refuse a column for something that a reader does not look for.

        Raises:
            UsageError: there is one.
        """
        for name in self.columns:
            if name not in names:
                known = f"must be for one of {', '.join(names)}" if names else "has no effect on data without columns"
                raise UsageError(f"column: {known}; got {name!r}")

    def refuse_columns(self, form: str) -> None:
        """Refuse columns for data of a form that has none; not those of training, which was of another form.

        Raises:
            UsageError: there is one.
        """
        for name in self.columns:
            if self.purpose == "train" or name in self.asked:
                raise UsageError(f"column: has no effect on format {form}, which has no columns; got {name!r}")


def is_empty(example: Example) -> bool:
    """Return whether an example is an empty line."""
    return isinstance(example.x, str) and example.x == EMPTY


def shown(value: object) -> str:
    """Return a value as errors show it: short and quoted."""
    text = str(value)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
