"""Why a model learns or does not: gradient flow by time lag, saturation, effective memory, NaN hunting."""

from __future__ import annotations

from elman.diagnosis.diagnose import diagnose, diagnose_cell
from elman.diagnosis.language import diagnose_language_model
from elman.diagnosis.nonfinite import NonFinite, find_nonfinite
from elman.diagnosis.report import Diagnosis, LayerDiagnosis, Recurrence, Saturation, TimeConstants

__all__ = [
    "Diagnosis",
    "LayerDiagnosis",
    "NonFinite",
    "Recurrence",
    "Saturation",
    "TimeConstants",
    "diagnose",
    "diagnose_cell",
    "diagnose_language_model",
    "find_nonfinite",
]
