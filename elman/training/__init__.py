"""Training: the loop, its options, optimisers and schedules, the run folder and its checkpoints."""

from __future__ import annotations

from elman.training.config import TrainingConfig
from elman.training.loop import train
from elman.training.problem import Carry, LossResult, Problem
from elman.training.progress import PlainReporter, Reporter, RichReporter, SilentReporter, reporter_for
from elman.training.run_folder import RunFolder
from elman.training.session import TrainingResult
from elman.training.signals import Interrupted

__all__ = [
    "Carry",
    "Interrupted",
    "LossResult",
    "PlainReporter",
    "Problem",
    "Reporter",
    "RichReporter",
    "RunFolder",
    "SilentReporter",
    "TrainingConfig",
    "TrainingResult",
    "reporter_for",
    "train",
]
