"""What a decoder writes, as answers: the most probable sequences, never with the token that stands for the unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from elman.codecs.vocabulary import Vocabulary
from elman.decoding import Beam, Step, search
from elman.tasks.supervised import Answer


def without_unknown(step: Step) -> Step:
    """Return a step after which token 0, which stands for what training did not know, is never chosen."""
    return without(step, [0])


def without(step: Step, never: Sequence[int]) -> Step:
    """Return a step after which the tokens `never` are never chosen."""

    def masked(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, after = step(tokens, state)
        return logits.index_fill(1, torch.tensor(never, dtype=torch.int64, device=logits.device), -torch.inf), after

    return masked


def written(network: Any, state: Any, rows: int, beam: Beam, vocabulary: Vocabulary, between: str) -> list[Answer]:
    """Return what beam search finds for each beginning: "text", its "log_probability", and all as "n_best".

    Args:
        network: With `step` and `boundary`; see elman.architectures.OneToMany.
        state: Before the first token.
        rows: How many beginnings.
        beam: How they are searched.
        vocabulary: Of the tokens.
        between: What stands between two tokens of a text.
    """
    found: list[Answer] = []
    for hypotheses in search(without_unknown(network.step), state, rows, network.boundary, beam):
        best = [
            {"text": between.join(vocabulary.tokens[t] for t in h.tokens), "log_probability": h.log_probability}
            for h in hypotheses
        ]
        found.append({**best[0], "n_best": best})
    return found


def best_lines(begun: str, answer: Answer, count: int) -> str:
    """Return a line for each of the best texts of an answer: what began it, ln P, the text."""
    return "\n".join(f"{begun}\t{one['log_probability']:.4f}\t{one['text']}" for one in answer["n_best"][:count])
