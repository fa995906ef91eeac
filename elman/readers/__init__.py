"""Readers: files to raw text and raw examples; what cannot be used is told with file and line."""

from __future__ import annotations

from elman.readers.examples import Example, Reading, Rejects
from elman.readers.running_text import text_chunks, word_pieces
from elman.readers.text import check_readable

__all__ = ["Example", "Reading", "Rejects", "check_readable", "text_chunks", "word_pieces"]
