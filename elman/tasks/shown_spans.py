"""Spans of words for people: in brackets, in colours, as a page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elman.readers import Example
from elman.storage import write_file
from elman.tasks.supervised import Answer

_CODES = ("36", "33", "35", "32", "34", "31")
_GROUNDS = ("#cdebf5", "#fbe7b2", "#ead3f2", "#d2efd0", "#d6dcf8", "#f8d3d0")


def coloured(words: Sequence[str], spans: Sequence[Mapping[str, Any]], colour: bool) -> str:
    """Return a sentence with every span as [words](kind), in the colour of its kind on a terminal."""
    opening = {span["begin"]: span for span in spans}
    ends = {span["end"] - 1: span for span in spans}
    parts = []
    for n, word in enumerate(words):
        before, after = "", ""
        if n in opening:
            before = (f"\x1b[{_one_of(_CODES, opening[n]['kind'])}m" if colour else "") + "["
        if n in ends:
            after = f"]({ends[n]['kind']})" + ("\x1b[0m" if colour else "")
        parts.append(f"{before}{word}{after}")
    return " ".join(parts)


def _one_of(options: Sequence[str], kind: str) -> str:
    """The same option for the same kind, on every machine."""
    return options[sum(kind.encode("utf-8", "surrogatepass")) % len(options)]


def write_marked_texts(examples: Sequence[Example], answers: Sequence[Answer], path: Path) -> Path:
    """Write a page of sentences with their spans in colours; return its path.

    Raises:
        StorageError: it cannot be written.
    """
    rows = [_row(example.x, answer["spans"]) for example, answer in zip(examples, answers, strict=True)]
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Spans</title>
<style>
body {{ font: 16px/1.9 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }}
mark {{ padding: .15em .35em; border-radius: .3em }} mark small {{ margin-left: .5em; color: #555 }}
</style>
<h1>Spans</h1>
{chr(10).join(rows)}
</html>
"""
    write_file(path, [page.encode("utf-8", "backslashreplace")])
    return path


def _row(words: Sequence[str], spans: Sequence[Mapping[str, Any]]) -> str:
    parts, at = [], 0
    for span in spans:
        parts += [html.escape(word) for word in words[at : span["begin"]]]
        text = html.escape(" ".join(words[span["begin"] : span["end"]]))
        ground, kind = _one_of(_GROUNDS, span["kind"]), html.escape(span["kind"])
        parts.append(f'<mark style="background:{ground}">{text}<small>{kind}</small></mark>')
        at = span["end"]
    return f"<p>{' '.join([*parts, *map(html.escape, words[at:])])}</p>"
