"""Metrics, each with its definition."""

from __future__ import annotations

import math


def perplexity(nats: float, tokens: int) -> float:
    """Return exp(nats / tokens): how many equally probable tokens would be as surprising.

    Args:
        nats: Sum of -ln P(y<t> | y<1..t-1>) over the tokens.
        tokens: How many tokens, at least 1.

    Returns:
        From 1 on; infinity where the exponential overflows.
    """
    mean = nats / tokens
    return math.exp(mean) if mean < 709 else math.inf


def bits_per_character(nats: float, characters: int) -> float:
    """Return nats / (characters ln 2): bits needed for each character of the text.

    Args:
        nats: Sum of -ln P over the tokens of the text.
        characters: How many characters those tokens stand for, at least 1.
    """
    return nats / (characters * math.log(2))
