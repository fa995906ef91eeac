"""Linear chains: sums and maxima over all K^T paths by dynamic programming, for ragged batches.

A chain gives a path y of T steps the score

    s(y) = start[y<1>] + sum over t of emission<t>[y<t>] + sum over t > 1 of transition[y<t-1>, y<t>] + end[y<T>]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from elman.engines.ragged import valid_steps
from elman.engines.rows import chosen_rows
from elman.heads.head import exact


@dataclass(frozen=True)
class Chain:
    """The potentials of a batch of chains.

    Args:
        emissions: (B, T, K).
        transitions: (K, K), from row to column.
        start: (K,).
        end: (K,).
        lengths: (B,) from 1 to T; None when all are T.
    """

    emissions: Tensor
    transitions: Tensor
    start: Tensor
    end: Tensor
    lengths: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """(B, T), True where a step belongs to its sequence."""
        rows, steps = self.emissions.shape[:2]
        counts = torch.full((rows,), steps) if self.lengths is None else self.lengths
        return valid_steps(counts, steps, self.emissions.device)

    @property
    def last(self) -> Tensor:
        """(B,), the number of each sequence's last step."""
        return self.real.sum(dim=1) - 1


def path_scores(chain: Chain, paths: Tensor) -> Tensor:
    """Return s(y) (B,) of paths (B, T); what stands beyond a length is not read."""
    real = chain.real
    paths = torch.where(real, paths, 0)
    each = exact(chain.emissions).gather(2, paths.unsqueeze(2)).squeeze(2)  # (B, T)
    pairs = paths[:, :-1] * len(chain.start) + paths[:, 1:]  # (B, T - 1)
    moves = chosen_rows(chain.transitions.flatten(), pairs)  # (B, T - 1)
    ends = chosen_rows(chain.end, paths.gather(1, chain.last.unsqueeze(1)).squeeze(1))  # (B,)
    inside = torch.where(real, each, 0.0).sum(dim=1) + torch.where(real[:, 1:], moves, 0.0).sum(dim=1)
    return chosen_rows(chain.start, paths[:, 0]) + inside + ends


def restricted(chain: Chain, labels: Tensor, known: Tensor) -> Chain:
    """Return the chain of the paths that agree with labels (B, T) wherever `known` (B, T) is true."""
    others = torch.arange(chain.emissions.shape[2], device=labels.device) != labels.unsqueeze(2)  # (B, T, K)
    emissions = exact(chain.emissions).masked_fill(others & known.unsqueeze(2), -torch.inf)
    return replace(chain, emissions=emissions)


def log_partition(chain: Chain) -> Tensor:
    """Return ln Z (B,), Z = sum over all paths of exp(s(y)), by the forward algorithm.

    alpha<1>[k] = start[k] + emission<1>[k]
    alpha<t>[k] = emission<t>[k] + ln sum over j of exp(alpha<t-1>[j] + transition[j, k])
    ln Z        = ln sum over k of exp(alpha<T>[k] + end[k])
    """
    emissions, real = exact(chain.emissions), chain.real
    alpha = chain.start + emissions[:, 0]  # (B, K)
    for t in range(1, emissions.shape[1]):
        further = torch.logsumexp(alpha.unsqueeze(2) + chain.transitions, dim=1) + emissions[:, t]  # (B, K)
        alpha = torch.where(real[:, t : t + 1], further, alpha)
    return torch.logsumexp(alpha + chain.end, dim=1)


def marginals(chain: Chain) -> Tensor:
    """Return P(y<t> = k) (B, T, K), zero beyond each length.

    It is the derivative of ln Z by emission<t>[k], so the forward algorithm gives it with its gradient.
    """
    # In inference mode there is no derivative, and what was made in it must be copied to have one outside.
    with torch.inference_mode(False), torch.enable_grad():
        emissions = exact(chain.emissions).detach().clone().requires_grad_()
        transitions, start, end = (value.detach().clone() for value in (chain.transitions, chain.start, chain.end))
        found = Chain(emissions, transitions, start, end, chain.lengths)
        (gradient,) = torch.autograd.grad(log_partition(found).sum(), emissions)
    return gradient


@torch.no_grad()
def best_paths(chain: Chain, count: int = 1) -> tuple[Tensor, Tensor]:
    """Return the `count` best paths of each chain, best first, by the Viterbi algorithm with lists.

    Args:
        chain: The potentials.
        count: N, at least 1.

    Returns:
        Paths (B, N, T), 0 beyond each length, and their scores (B, N); where a chain has fewer than N paths, the
        rest has score -inf.

    Source: Seshadri and Sundberg 1994, "List Viterbi decoding algorithms with applications".
    """
    emissions, real = exact(chain.emissions), chain.real
    rows, steps, classes = emissions.shape
    scores = emissions.new_full((rows, classes, count), -torch.inf)
    scores[:, :, 0] = chain.start + emissions[:, 0]
    origins = []
    for t in range(1, steps):
        # Every way into class k: through class j as its n-th best beginning; ways are numbered j * N + n.
        ways = scores.unsqueeze(2) + chain.transitions.unsqueeze(2)  # (B, K from, K to, N)
        ways = ways.transpose(1, 2).flatten(2)  # (B, K to, K from * N)
        further, origin = ways.topk(count, dim=2)  # (B, K, N)
        here = real[:, t, None, None]
        scores = torch.where(here, further + emissions[:, t].unsqueeze(2), scores)
        stay = torch.arange(classes * count, device=origin.device).view(1, classes, count)
        origins.append(torch.where(here, origin, stay))
    total, at = (scores + chain.end.unsqueeze(1)).flatten(1).topk(count, dim=1)  # (B, N)
    return _traced(at, origins, count) * real.unsqueeze(1), total


def _traced(at: Tensor, origins: list[Tensor], count: int) -> Tensor:
    """Follow where each path came from: ways (B, N) at the end and origins back to the paths (B, N, T)."""
    found = [at // count]
    for origin in reversed(origins):
        at = origin.flatten(1).gather(1, at)  # (B, N)
        found.append(at // count)
    return torch.stack(found[::-1], dim=2)
