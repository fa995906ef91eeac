"""How files of examples are read, as options of the command line and of tasks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from elman.config import Options
from elman.readers.examples import Reading, Rejects


class ReadingOptions(Options):
    """How files of examples are read."""

    format: str = Field("auto", description="form of the data; auto goes by its name")
    encoding: str = Field("utf-8", description="encoding of text files")
    column: dict[str, str] = Field(
        default_factory=dict,
        description="column of the data that holds something, e.g. text=review; repeat for several",
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="at an example that cannot be used: stop, or skip it and write it to rejects.jsonl"
    )

    def reading(self, labelled: bool = True) -> Reading:
        """Return them as readers want them, with an empty list of rejects."""
        return Reading(Rejects(self.on_error == "skip"), self.format, self.encoding, self.column, labelled)
