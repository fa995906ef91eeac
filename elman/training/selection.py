"""Which evaluation is the best: by one metric, among equals by the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

from elman.metrics import RISING


def score(metrics: Mapping[str, float], selection: str) -> list[float] | None:
    """Return what evaluations are compared by, entry by entry; lower is better.

    Args:
        metrics: Of one evaluation, "loss" among them.
        selection: Name of the metric that counts.

    Returns:
        [loss], or [metric, loss], the metric negated where higher is better; None where one is not finite.
    """
    found = [metrics["loss"]]
    if selection != "loss":
        found.insert(0, -metrics[selection] if selection in RISING else metrics[selection])
    return found if all(math.isfinite(value) for value in found) else None
