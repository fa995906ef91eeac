"""Trained models in use with NumPy and the C++ engine alone; needs no torch."""

from __future__ import annotations

from pathlib import Path

from elman.errors import ModelFileError
from elman.model_config import CONFIG, WEIGHTS, read_checked_config, read_extra_file
from elman.runtime.arrays import read_arrays
from elman.runtime.language_model import NAME, LanguageModel, language_model_of
from elman.runtime.layer import Layer
from elman.runtime.network import Network, network_of
from elman.runtime.stack import Stack
from elman.runtime.stepper import Stepper
from elman.storage import parse_json

__all__ = ["LanguageModel", "Layer", "Network", "Stack", "Stepper", "load"]

CODECS = "codecs.json"


def load(folder: Path | str) -> LanguageModel | Network:
    """Load a model folder; nothing in it is executed.

    Returns:
        A LanguageModel, which samples and scores; or of any other task the Network that its scores come from.

    Raises:
        MissingInputError: there is no model.
        ModelFileError: it is damaged, or has parts that need torch: attention, a CRF, letters of words.
        DivergedError: a weight is not finite.
    """
    folder = Path(folder)
    config, files = read_checked_config(folder)
    arrays = read_arrays(folder / WEIGHTS, files[WEIGHTS]["sha256"])
    if config.get("task") == NAME:
        return language_model_of(folder, config, arrays)
    codecs = parse_json(read_extra_file(folder, CODECS), str(folder / CODECS)) if CODECS in files else {}
    if not isinstance(codecs, dict):
        raise ModelFileError(f"{folder / CODECS}: must be a table of codecs by name; got {str(codecs)[:40]}")
    return network_of(config, arrays, codecs, str(folder / CONFIG))
