"""Attention against a loop by hand; padding, even of NaN, reaches nothing."""

from __future__ import annotations

import pytest
import torch

from elman.errors import UsageError
from elman.layers.attention import ATTENTIONS, Attention

B, T, S, Q, M = 3, 2, 5, 4, 6
LENGTHS = torch.tensor([5, 1, 3])


def attention(kind: str) -> Attention:
    return Attention(kind, Q, M, torch.Generator().manual_seed(0)).double()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    return (
        torch.randn(B, T, Q, generator=draws, dtype=torch.float64),
        torch.randn(B, S, M, generator=draws, dtype=torch.float64),
    )


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_contexts_are_those_of_a_loop(kind):
    look, (queries, values) = attention(kind), inputs()
    if kind == "additive":
        look.b.data.normal_(generator=torch.Generator().manual_seed(2))
    contexts, shares = look(queries, look.memory(values, LENGTHS))
    for b in range(B):
        for t in range(T):
            q, length = queries[b, t], int(LENGTHS[b])
            if kind == "additive":
                scores = [look.v @ torch.tanh(look.W_q @ q + look.W_m @ values[b, s] + look.b) for s in range(length)]
            else:
                scores = [q @ (look.W_m @ values[b, s]) for s in range(length)]
            a = torch.softmax(torch.stack(scores), 0)
            torch.testing.assert_close(shares[b, t, :length], a)
            torch.testing.assert_close(contexts[b, t], sum(a[s] * values[b, s] for s in range(length)))
            assert bool((shares[b, t, length:] == 0).all())


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_padding_changes_neither_values_nor_gradients(kind):
    look, (queries, values) = attention(kind), inputs()
    beyond = torch.arange(S) >= LENGTHS.unsqueeze(1)
    gradients = []
    for filling in (0.0, torch.nan):
        padded = values.masked_fill(beyond.unsqueeze(2), filling).requires_grad_()
        contexts, _ = look(queries, look.memory(padded, LENGTHS))
        look.zero_grad()
        contexts.square().sum().backward()
        gradients.append([padded.grad, *(p.grad.clone() for p in look.parameters())])
    for zeros, nans in zip(*gradients, strict=True):
        assert torch.equal(zeros, nans)
    assert bool((gradients[1][0][beyond] == 0).all())


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="did you mean 'additive'"):
        attention("aditive")
