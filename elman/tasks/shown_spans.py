"""Spans of words for people: in brackets, in colours, as a page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elman.codecs.spans import Span, spans_of
from elman.readers import Example
from elman.storage import write_file
from elman.tasks.supervised import Answer

_CODES = ("36", "33", "35", "32", "34", "31")
_GROUNDS = ("#cdebf5", "#fbe7b2", "#ead3f2", "#d2efd0", "#d6dcf8", "#f8d3d0")


def coloured(words: Sequence[str], spans: Sequence[Mapping[str, Any]], colour: bool) -> str:
    """Return a sentence with every span as [words](kind), in the colour of its kind on a terminal."""
    opening = {span["first"]: span for span in spans}
    ends = {span["last"]: span for span in spans}
    parts = []
    for n, word in enumerate(words):
        before, after = "", ""
        if n in opening:
            before = (f"\x1b[{_one_of(_CODES, opening[n]['label'])}m" if colour else "") + "["
        if n in ends:
            after = f"]({ends[n]['label']})" + ("\x1b[0m" if colour else "")
        parts.append(f"{before}{word}{after}")
    return " ".join(parts)


def _one_of(options: Sequence[str], kind: str) -> str:
    """The same option for the same kind, on every machine."""
    return options[sum(kind.encode("utf-8", "surrogatepass")) % len(options)]


def write_marked_texts(examples: Sequence[Example], answers: Sequence[Answer], path: Path) -> Path:
    """Write a page of sentences with their spans in colours, right, wrong and missed where known; return its path.

    Raises:
        StorageError: it cannot be written.
    """
    rows = []
    for example, answer in zip(examples, answers, strict=True):
        said = [Span(span["first"], span["last"] + 1, span["label"]) for span in answer["spans"]]
        rows.append(_row(example.x, said, None if example.y is None else spans_of(example.y)))
    legend = "" if any(example.y is None for example in examples) else _LEGEND
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Spans</title>
<style>
body {{ font: 16px/1.9 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }}
mark {{ padding: .15em .35em; border-radius: .3em }} small {{ margin-left: .5em; color: #555 }}
.right {{ border: 2px solid #2a8a3e }} .wrong {{ border: 2px solid #c00 }}
.missed {{ border: 2px dashed #c00; background: none }} small.not {{ color: #c00 }}
</style>
<h1>Spans</h1>
{legend}{chr(10).join(rows)}
</html>
"""
    write_file(path, [page.encode("utf-8", "backslashreplace")])
    return path


_LEGEND = """<p><mark class=right>right</mark> <mark class=wrong>answered, but wrong<small class=not>true: what was
missed there</small></mark> <mark class=missed>missed</mark></p>
"""


def _row(words: Sequence[str], said: Sequence[Span], true: Sequence[Span] | None) -> str:
    """A sentence; what was missed stands on its own, or in the wrong span that it overlaps."""
    missed = [] if true is None else [span for span in true if span not in said]
    alone = [span for span in missed if not any(_overlap(span, other) for other in said)]
    parts, at = [], 0
    for span in sorted([*said, *alone]):
        parts += [html.escape(word) for word in words[at : span.begin]]
        kind = "missed" if span in alone else "" if true is None else "right" if span in true else "wrong"
        parts.append(_mark(words, span, kind, [other for other in missed if _overlap(span, other) and span != other]))
        at = span.end
    return f"<p>{' '.join([*parts, *map(html.escape, words[at:])])}</p>"


def _overlap(a: Span, b: Span) -> bool:
    return a.begin < b.end and b.begin < a.end


def _mark(words: Sequence[str], span: Span, kind: str, missed: Sequence[Span]) -> str:
    ground = "" if kind == "missed" else f' style="background:{_one_of(_GROUNDS, span.kind)}"'
    text, label = html.escape(_text(words, span)), html.escape(span.kind)
    true = html.escape(", ".join(f"{_text(words, other)} {other.kind}" for other in missed))
    beside = true and f"<small class=not>true: {true}</small>"
    return f"<mark{kind and ' class=' + kind}{ground}>{text}<small>{label}</small>{beside}</mark>"


def _text(words: Sequence[str], span: Span) -> str:
    return " ".join(words[span.begin : span.end])
