"""Linear-chain conditional random field: the labels of a sequence judged together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.engines.ragged import without_padding
from elman.errors import ShapeError, UsageError
from elman.heads.head import IGNORED, Head, Loss, check_classes, check_form, check_size, check_steps, outside
from elman.heads.linear_chain import Chain, best_paths, log_partition, marginals, path_scores, restricted

FORBIDDEN = -1e4
"""Score of what must not be: so low that its probability is 0 in float32, and still a number that has gradients."""


class CrfHead(Head):
    """P(y | a) = exp(s(y)) / Z over all label sequences y, with emissions W_y a<t> + b_y; see elman.heads.linear_chain.

    Args:
        input_size: Length of a.
        labels: K.
        allowed: (K + 2, K + 2) of bool: which label may follow which; row and column K stand for the start, K + 1
            for the end. None allows all. elman.codecs.spans makes it for BIO and BIOES.

    Raises:
        ShapeError: `allowed` has another shape.
        UsageError: labels are no whole number of at least 1, or `allowed` lets no sequence begin or end.

    Source: Lafferty, McCallum and Pereira 2001, "Conditional random fields"; on a recurrent network, Huang, Xu and Yu
        2015, "Bidirectional LSTM-CRF models for sequence tagging".
    """

    forbidden: Tensor

    def __init__(self, input_size: int, labels: int, *, allowed: Tensor | None = None) -> None:
        check_size("CrfHead", "labels", labels)
        super().__init__(input_size, labels)
        self.labels = labels
        self.transitions = nn.Parameter(torch.zeros(labels, labels))
        self.start, self.end = nn.Parameter(torch.zeros(labels)), nn.Parameter(torch.zeros(labels))
        allowed = torch.ones(labels + 2, labels + 2, dtype=torch.bool) if allowed is None else allowed
        if allowed.shape != (labels + 2, labels + 2) or allowed.dtype != torch.bool:
            raise ShapeError(
                f"allowed: must be bool of shape ({labels + 2}, {labels + 2}); "
                f"got {allowed.dtype} {tuple(allowed.shape)}"
            )
        # A network whose weights are only described (device meta) has rules that cannot be looked at.
        if not allowed.is_meta and not bool(allowed[labels, :labels].any() and allowed[:labels, labels + 1].any()):
            raise UsageError("allowed: must let some label begin a sequence and some label end one")
        forbidden = torch.empty(allowed.shape) if allowed.is_meta else torch.where(allowed, 0.0, FORBIDDEN)
        self.register_buffer("forbidden", forbidden, persistent=False)

    def chain(self, scores: Tensor, lengths: Tensor | None = None) -> Chain:
        """Return the potentials of emissions (B, T, K), with what is forbidden.

        Raises:
            ShapeError: the emissions are not of steps.
        """
        check_steps("CrfHead", scores)
        rules, size = self.forbidden.to(self.transitions.dtype), self.labels
        return Chain(
            scores if lengths is None else without_padding(scores, lengths),
            self.transitions + rules[:size, :size],
            self.start + rules[size, :size],
            self.end + rules[:size, size + 1],
            lengths,
        )

    def loss(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Loss:
        """Return -ln P(y | a) = ln Z - s(y) of emissions (B, T, K) and labels (B, T); the mean is over labels.

        Where labels are IGNORED, P is of those that are known, summed over all ways to fill in the others:
        -ln P = ln Z - ln Z', with Z' the sum of exp(s) over the paths that agree with them.

        A path that `allowed` forbids costs ten thousand nats and more; it has no place among targets.

        Raises:
            ShapeError: labels are no whole numbers, have another shape, or one within lengths is not from 0 to K - 1.
        """
        check_form("CrfHead", "targets", targets, scores.shape[:-1])
        chain = self.chain(scores, lengths)
        known = chain.real
        wanted = torch.where(known, targets.long(), 0)  # (B, T)
        if outside(wanted, self.labels):
            check_classes("CrfHead", targets, self.labels, lengths)
            known = known & (targets != IGNORED)
            agreeing = log_partition(restricted(chain, wanted, known))
        else:
            agreeing = path_scores(chain, wanted)
        nats, items = (log_partition(chain) - agreeing).sum(), int(known.sum())
        return Loss(nats / max(items, 1), nats, items)

    def best(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the most probable path (B, T), 0 beyond each length (Viterbi)."""
        return best_paths(self.chain(scores, lengths))[0][:, 0]

    def n_best(self, scores: Tensor, count: int, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the `count` most probable paths (B, N, T), best first, and ln P (B, N) of each.

        Where fewer are allowed, the rest has ln P = -inf.
        """
        chain = self.chain(scores, lengths)
        paths, totals = best_paths(chain, count)
        logs = totals - log_partition(chain).detach().unsqueeze(1)  # (B, N)
        return paths, logs.masked_fill(self._breaks_rules(paths, lengths), -torch.inf)

    def _breaks_rules(self, paths: Tensor, lengths: Tensor | None) -> Tensor:
        """Whether paths (B, N, T) are forbidden, (B, N); ln P does not tell: that of a long path is low, too."""
        count, size = paths.shape[1], self.labels
        rules = Chain(
            self.forbidden.new_zeros(len(paths) * count, paths.shape[2], size),
            self.forbidden[:size, :size],
            self.forbidden[size, :size],
            self.forbidden[:size, size + 1],
            None if lengths is None else lengths.repeat_interleave(count),
        )
        return (path_scores(rules, paths.flatten(0, 1)) < 0).view(-1, count)

    def probabilities(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return P(y<t> = k | a) (B, T, K), zero beyond each length: the marginals of all paths."""
        return marginals(self.chain(scores, lengths))
