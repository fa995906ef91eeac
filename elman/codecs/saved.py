"""Codecs in a model folder: JSON values by name, rebuilt by a table of kinds; nothing is imported by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from elman.codecs.audio import SoundFeatures
from elman.codecs.columns import Columns
from elman.codecs.dna import Nucleotides
from elman.codecs.labels import Labels
from elman.codecs.piano_roll import PianoRoll
from elman.codecs.sentences import Sentences
from elman.codecs.vocabulary import Vocabulary
from elman.errors import ModelFileError


class Codec(Protocol):
    """Raw values to numbers and back; what a model keeps of it is JSON."""

    @property
    def kind(self) -> str:
        """Name in the table of kinds."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that its class rebuilds."""


KINDS: dict[str, Any] = {
    codec.kind: codec for codec in (Vocabulary, Labels, Nucleotides, Columns, PianoRoll, SoundFeatures, Sentences)
}
"""Classes with `from_json`, by the kind that is saved."""


class Codecs(dict[str, Any]):
    """Codecs by name; one that a folder lacks is named where it is wanted."""

    def __missing__(self, name: str) -> Any:
        """Raise ModelFileError."""
        raise ModelFileError(f"codecs: must hold {name!r}; got {', '.join(self) or 'none'}")


def codecs_to_json(codecs: Mapping[str, Codec]) -> dict[str, Any]:
    """Return codecs by name as JSON values."""
    return {name: {"kind": codec.kind, **codec.to_json()} for name, codec in codecs.items()}


def codecs_from_json(value: Any) -> dict[str, Any]:
    """Rebuild what `codecs_to_json` gave.

    Raises:
        ModelFileError: it is not a table of codecs; or later, where one is looked up that it lacks.
    """
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise ModelFileError("codecs: must be a table of codecs")
    for name, entry in value.items():
        if str(entry.get("kind")) not in KINDS:
            kinds = ", ".join(KINDS)
            raise ModelFileError(
                f"codecs: kind of {name[:80]!r} must be one of {kinds}; got {str(entry.get('kind'))[:40]!r}"
            )
    return Codecs({name: KINDS[entry["kind"]].from_json(entry) for name, entry in value.items()})
