"""Why a model learns or does not: gradient flow by time lag, saturation, effective memory, NaN hunting."""

from __future__ import annotations

from elman.diagnosis.diagnose import diagnose, diagnose_cell
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
    "find_nonfinite",
]
