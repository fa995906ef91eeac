"""Where a decoder looked: heat maps as pictures, and a page with all of them and the other texts that were found."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.diagnosis.picture import plain, room
from elman.storage import make_folder, storing, write_file

_MOST_NAMED = 200  # tokens of a side; the picture of a book would take all memory


@dataclass(frozen=True)
class Look:
    """One text that was written.

    Args:
        source: What was read.
        texts: What was found, best first, each with its ln P.
        read: S tokens of the source.
        said: T tokens of the best text.
        shares: T rows of S, how much each token looked at each of the source; each row sums to 1.
    """

    source: str
    texts: Sequence[tuple[str, float]]
    read: Sequence[str]
    said: Sequence[str]
    shares: Sequence[Sequence[float]]


def draw_looks(looks: Sequence[Look], folder: Path) -> list[Path]:
    """Draw a heat map of each text that is not empty; return the files.

    Raises:
        StorageError: one cannot be written.
    """
    made = []
    make_folder(folder)
    for number, look in enumerate(looks, 1):
        if look.said:
            path = folder / f"attention-{number:02d}.png"
            with storing(path):
                _heat_map(look).savefig(path, dpi=120)
            made.append(path)
    return made


def _heat_map(look: Look) -> Any:
    from matplotlib.figure import Figure

    named = [_named(tokens) for tokens in (look.read, look.said)]
    below, beside = (room(names) for _, names in named)
    width, height = (min(len(tokens), _MOST_NAMED) for tokens in (look.read, look.said))
    figure = Figure(figsize=(1.0 + beside + 0.32 * width, 0.8 + below + 0.28 * height), layout="constrained")
    axes = figure.subplots()
    axes.imshow(look.shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(*named[0], rotation=60, ha="right")
    axes.set_yticks(*named[1])
    axes.set_xlabel("read")
    axes.set_ylabel("written")
    return figure


def _named(tokens: Sequence[str]) -> tuple[range, list[str]]:
    """Places and names along a side; none where they are too many."""
    if len(tokens) > _MOST_NAMED:
        return range(0), []
    return range(len(tokens)), [plain(token) for token in tokens]


def write_looks(looks: Sequence[Look], path: Path) -> Path:
    """Write a page: each source, the texts that were found, and the heat map of the best; return its path.

    Raises:
        StorageError: it cannot be written.
    """
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Attention</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }}
section {{ border-bottom: 1px solid #ddd; padding: 1em 0; overflow-x: auto }} td, th {{ padding: .1em .4em }}
th {{ font-weight: normal; text-align: right; white-space: pre }} li span {{ color: #777 }}
</style>
<h1>Attention</h1>
<p>A row is a token that was written, a column one that was read; the darker, the more it was looked at. Behind each
text stands its ln P; they are in the order of ln P divided by a power of their length.</p>
{chr(10).join(map(_section, looks))}
</html>
"""
    write_file(path, [page.encode("utf-8", "backslashreplace")])
    return path


def _section(look: Look) -> str:
    found = "".join(f"<li>{html.escape(text)} <span>{log:.3f}</span></li>" for text, log in look.texts)
    head = "".join(f"<th>{html.escape(token)}</th>" for token in look.read)
    rows = "".join(
        f"<tr><th>{html.escape(token)}</th>{''.join(map(_cell, shares))}</tr>"
        for token, shares in zip(look.said, look.shares, strict=True)
    )
    table = f"<table><tr><th></th>{head}</tr>{rows}</table>"
    return f"<section><p><b>{html.escape(look.source)}</b></p><ol>{found}</ol>{table}</section>"


def _cell(share: float) -> str:
    return f'<td style="background:rgba(20,90,170,{share:.2f})" title="{share:.3f}"></td>'
