"""Where an output must not see the future, no layer may read from the end."""

from __future__ import annotations

from elman.errors import UsageError


def must_not_see_the_future(what: str, why: str, bidirectional: bool) -> None:
    """Refuse a bidirectional layer, and say why.

    Args:
        what: The architecture or task.
        why: What the direction that reads from the end would see.
        bidirectional: Whether one was asked for.

    Raises:
        UsageError: one was.
    """
    if bidirectional:
        raise UsageError(
            f"{what}: cannot be bidirectional: the direction that reads from the end sees {why}",
            "leave bidirectional out",
        )
