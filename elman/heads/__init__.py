"""What stands on the recurrent part and turns its outputs into predictions and losses."""

from __future__ import annotations

from elman.heads.autoregressive import AutoregressiveBinaryHead
from elman.heads.binary import BinaryHead
from elman.heads.crf import CrfHead
from elman.heads.ctc import CtcHead
from elman.heads.head import IGNORED, Head, Loss
from elman.heads.regression import RegressionHead
from elman.heads.softmax import SoftmaxHead

__all__ = [
    "IGNORED",
    "AutoregressiveBinaryHead",
    "BinaryHead",
    "CrfHead",
    "CtcHead",
    "Head",
    "Loss",
    "RegressionHead",
    "SoftmaxHead",
]
