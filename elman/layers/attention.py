"""Attention: which steps of what was read a decoder looks at, and their mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.engines.cpu.attention import additive_scores, compares
from elman.engines.ragged import valid_steps, without_padding
from elman.engines.rows import chosen_rows
from elman.errors import UsageError, nearest
from elman.layers.initialisers import INITIALISERS, fill_uniform

ATTENTIONS = ("additive", "multiplicative")


@dataclass(frozen=True)
class Memory:
    """What was read, ready to be looked at.

    Args:
        values: (B, S, M), zero beyond each length.
        keys: (B, S, A), what queries are compared with.
        real: (B, S), True where a step belongs to its sequence.
    """

    values: Tensor
    keys: Tensor
    real: Tensor

    def select(self, rows: Tensor) -> Memory:
        """Return the given sequences, in that order."""
        return Memory(chosen_rows(self.values, rows), chosen_rows(self.keys, rows), self.real[rows])


class Attention(nn.Module):
    """Shares of the steps s of a memory m<1> ... m<S> for each query q<t>, and the mean by these shares.

        additive        e(t, s) = v . tanh(W_q q<t> + W_m m<s> + b)
        multiplicative  e(t, s) = q<t> . W_m m<s>

        a(t, s) = exp e(t, s) / sum over s of exp e(t, s)        context<t> = sum over s of a(t, s) m<s>

    Args:
        kind: "additive" or "multiplicative".
        query_size: Q.
        memory_size: M.
        generator: Draws the first values.

    The additive kind compares in Q dimensions.

    Raises:
        UsageError: an unknown kind.

    Source: Bahdanau et al. 2015, "Neural machine translation by jointly learning to align and translate", section
        A.1.2; Luong et al. 2015, "Effective approaches to attention-based neural machine translation", equation 8,
        "general".
    """

    def __init__(self, kind: str, query_size: int, memory_size: int, generator: torch.Generator) -> None:
        super().__init__()
        if kind not in ATTENTIONS:
            raise UsageError(
                f"attention: must be one of {', '.join(ATTENTIONS)}; got {kind!r}{nearest(kind, ATTENTIONS)}"
            )
        self.kind = kind
        self.W_m = nn.Parameter(torch.empty(query_size, memory_size))
        with torch.no_grad():
            INITIALISERS["glorot"](self.W_m, generator)
            if kind == "additive":
                self.W_q = nn.Parameter(torch.empty(query_size, query_size))
                self.b, self.v = nn.Parameter(torch.zeros(query_size)), nn.Parameter(torch.empty(query_size))
                INITIALISERS["glorot"](self.W_q, generator)
                fill_uniform(self.v, query_size**-0.5, generator)

    def memory(self, values: Tensor, lengths: Tensor) -> Memory:
        """Return what was read, values (B, S, M) with lengths (B,), ready for queries; padding is never read."""
        values = without_padding(values, lengths)
        keys = nn.functional.linear(values, self.W_m, self.b if self.kind == "additive" else None)  # (B, S, Q)
        return Memory(values, keys, valid_steps(lengths, values.shape[1], values.device))

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return contexts (B, T, M) and shares (B, T, S) of queries (B, T, Q); each row of shares sums to 1."""
        scores = self._scores(queries, memory).masked_fill(~memory.real.unsqueeze(1), -torch.inf)
        shares = torch.softmax(scores, dim=2)
        return shares @ memory.values, shares

    def _scores(self, queries: Tensor, memory: Memory) -> Tensor:
        """The scores (B, T, S), of any value beyond each length."""
        keys = memory.keys
        if self.kind == "multiplicative":
            return queries @ keys.transpose(1, 2)  # (B, T, S)
        asked = nn.functional.linear(queries, self.W_q)  # (B, T, Q)
        if compares(asked, keys, self.v):
            return additive_scores(asked, keys, self.v, memory.real.sum(dim=1))
        return torch.tanh(asked.unsqueeze(2) + keys.unsqueeze(1)) @ self.v  # (B, T, S)
