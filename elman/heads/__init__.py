"""What stands on the recurrent part and turns its outputs into predictions and losses."""

from __future__ import annotations

from elman.heads.softmax import SoftmaxHead

__all__ = ["SoftmaxHead"]
