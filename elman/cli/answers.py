"""Answers of a model for people and for other programs: lines, rows, and a folder that keeps those of one command."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.cli.output import finite, note
from elman.cli.reading import as_given
from elman.errors import counted
from elman.readers.examples import is_empty
from elman.storage import make_folder, parse_json, storing, write_file, write_json

if TYPE_CHECKING:
    from elman.readers import Example, Reading
    from elman.tasks.supervised import Answer, SupervisedTask
    from elman.tasks.supervised_model import SupervisedModel

REJECTS = "rejects.jsonl"
WRITTEN = "written.json"
_MOST_TOLD = 5


def documents(
    task: SupervisedTask[Any], examples: Sequence[Example], answers: Sequence[Answer], file: tuple[str, Path]
) -> list[Answer]:
    """Return a row for each answer: where its example stands, what was read, the answer, and the truth where known.

    Args:
        task: The task.
        examples: What was read.
        answers: One for each.
        file: The data as the user gave it, and the path that was read.
    """
    rows = []
    for example, answer in zip(examples, answers, strict=True):
        told = {"where": example.where, **task.told(example)}
        told |= {name: as_given(value, *file) for name, value in told.items() if isinstance(value, str)}
        rows.append(told | answer | ({} if example.y is None else {"truth": task.truth(example.y, answer)}))
    return rows


def shown_lines(
    model: SupervisedModel, found: Sequence[Example], examples: Sequence[Example], rows: Sequence[Answer]
) -> list[str]:
    """Return a line for people about each row of answers, and an empty one for each empty line of what was found."""
    colour = sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    lines = [model.task.show(model, e.x, row, colour=colour) for e, row in zip(examples, rows, strict=True)]
    if not any(map(is_empty, found)):
        return lines
    said = {example.where: line for example, line in zip(examples, lines, strict=True)}
    return [said.get(e.where, "") for e in found if is_empty(e) or e.where in said]


def keep(
    model: SupervisedModel,
    examples: Sequence[Example],
    answers: Sequence[Answer],
    how: Reading,
    folder: Path,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write rows of answers, rejects, metrics and pictures into a folder; say which pictures there are.

    What `keep` wrote there before is removed first, by the list that it leaves: no picture of other answers stays.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(folder)
    remove_written(folder)
    lines = [json.dumps(finite(row), ensure_ascii=False) + "\n" for row in answers]
    files = [folder / "predictions.jsonl"]
    write_file(files[0], [line.encode("utf-8", "backslashreplace") for line in lines])
    if len(how.rejects):
        files.append(folder / REJECTS)
        how.rejects.write(files[-1])
    if metrics is not None:
        files.append(folder / "metrics.json")
        write_json(files[-1], finite(metrics))
    with glyphs_told():
        pictures = model.task.draw(model, examples, answers, folder)
    for picture in pictures:
        files.append(picture)
        note(f"drawn: {picture}")
    write_json(folder / WRITTEN, {"files": [file.name for file in files]})


@contextmanager
def glyphs_told() -> Iterator[None]:
    """Say once which characters no font of the pictures has; matplotlib warns of each, several times."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    lacking = []
    for warning in caught:
        if found := re.match(r"Glyph (\d+) ", str(warning.message)):
            lacking.append(chr(int(found[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        shown = "".join(dict.fromkeys(lacking))
        short = shown if len(shown) <= _MOST_TOLD else shown[:_MOST_TOLD] + "..."
        note(f"note: no font for pictures here has {counted(len(shown), 'character')} of the texts, {short}: boxes")


def remove_written(folder: Path) -> None:
    """Remove the files of earlier answers that a folder lists as such.

    Raises:
        StorageError: one cannot be removed.
        ModelFileError: the list is damaged.
    """
    listed = folder / WRITTEN
    if not listed.is_file():
        return
    with storing(listed):
        found = parse_json(listed.read_bytes(), str(listed))
        names = found.get("files", []) if isinstance(found, dict) else []
        for name in names:
            if isinstance(name, str) and Path(name).name == name:  # never outside the folder
                (folder / name).unlink(missing_ok=True)


def name_stdin(how: Reading, data: str, path: Path) -> None:
    """Let what was refused be of stdin, not of the path where that is kept."""
    how.rejects.rows[:] = [{k: as_given(text, data, path) for k, text in row.items()} for row in how.rejects.rows]


def tell_skipped(how: Reading, output: Path | None) -> None:
    """Say on stderr how many examples were skipped, and where to read why, or why."""
    if not len(how.rejects):
        return
    told = "" if output is None else f"; see {output / REJECTS}"
    note(f"note: {counted(len(how.rejects), 'example')} skipped{told}")
    if output is None:
        for row in how.rejects.rows[:_MOST_TOLD]:
            note(f"  {row['where']}: {row['problem']}")
        if len(how.rejects) > _MOST_TOLD:
            note(f"  and {len(how.rejects) - _MOST_TOLD:,} more; -o FOLDER keeps all in {REJECTS}")


def count_skipped(how: Reading) -> dict[str, int]:
    """Return how many examples were skipped; nothing where none was."""
    return {"skipped": len(how.rejects)} if len(how.rejects) else {}
