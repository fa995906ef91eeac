"""The English of Python's own documentation, as every CPython carries it, set as plain prose."""

from __future__ import annotations

import re

from elman.errors import MissingInputError

_TYPED = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "..."}
)
_ADORNMENT = re.compile(r"^\s*([=*\-~^\"'#+.])\1{2,}\s*$")
_CODE = re.compile(r"^\s*(>>>|\.\.\.|\w+ ?::?=|[|(]|\d+\.?$)|[{}\[\]|=]|::")
_SENTENCE = re.compile(r"[.?!][\")']*(?:\s|$)")


def demo_text() -> str:
    """Return the paragraphs of prose in `pydoc_data.topics`, one a line, without headings, code and mark-up.

    Raises:
        MissingInputError: this Python has no `pydoc_data`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise MissingInputError(
            "demo: Python's own documentation (pydoc_data.topics) must be installed; got none",
            "train on a file of yours: elman train language-model FILE",
        ) from error
    found: dict[str, None] = {}
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            if prose := as_prose(paragraph):
                found[prose] = None  # several topics repeat the same paragraphs
    return "\n".join(found) + "\n"


def as_prose(paragraph: str) -> str:
    """Return a paragraph as one line of prose; "" when it is a heading, code, a table or a list of links."""
    lines = [line for line in paragraph.splitlines() if not _ADORNMENT.match(line)]
    text = " ".join(line.strip() for line in lines).translate(_TYPED)
    text = re.sub(r"\*\*?([^*\s][^*]*)\*\*?|\"\"?([^\"]*)\"\"?", lambda m: m[1] or m[2] or "", text)
    text = re.sub(r"^(?:[*\-•]|\d+\.)\s+", "", re.sub(r"`| ?\[\d+\]", "", text)).strip()
    text = re.sub(r"\s+", " ", text)
    return text if _is_prose(text) else ""


def _is_prose(text: str) -> bool:
    letters = sum(c.isalpha() or c == " " for c in text)
    return (
        len(text) >= 60
        and text.isascii()
        and text[0].isupper()
        and _CODE.search(text) is None
        and letters >= 0.91 * len(text)
        and _SENTENCE.search(text) is not None
    )
