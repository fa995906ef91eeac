"""How the next token is chosen from its distribution."""

from __future__ import annotations

from dataclasses import dataclass

from elman.errors import UsageError


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen.

    Args:
        temperature: Divides the logits, more than 0.
        top_k: Draw among the k most probable; None for all.
        top_p: Draw among the fewest most probable whose probabilities reach p, in (0, 1]; None for all.
        greedy: Take the most probable; nothing is drawn.

    Raises:
        UsageError: a value outside its range, or one without effect.

    Source: top-p is the nucleus of Holtzman et al. 2020.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    greedy: bool = False

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.temperature < float("inf")):
            raise UsageError(
                f"temperature: must be more than 0 and finite; got {self.temperature}",
                "greedy takes the most probable token",
            )
        if self.top_k is not None and (not hasattr(self.top_k, "__index__") or self.top_k < 1):
            raise UsageError(f"top_k: must be a whole number, at least 1; got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p: must be more than 0 and at most 1; got {self.top_p}")
        if self.greedy and (self.temperature != 1.0 or self.top_k is not None or self.top_p is not None):
            raise UsageError("greedy: draws nothing, so temperature, top_k and top_p would have no effect")
