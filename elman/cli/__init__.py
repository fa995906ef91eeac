"""The command line: `elman VERB`. Data goes to stdout, everything else to stderr; exit codes: `elman.errors`."""

from __future__ import annotations

from elman.cli.application import application, main

__all__ = ["application", "main"]
