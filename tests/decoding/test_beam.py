"""Beam search against enumeration of all sequences, against greedy search, and each beginning as if it were alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from elman.decoding import Beam, Hypothesis, search
from elman.decoding.beam import NORMALISATIONS
from elman.errors import DivergedError, UsageError

V, END = 4, 3


@dataclass(frozen=True)
class Told:
    """A state that remembers everything: which table each row follows, and what it was told."""

    tables: Tensor  # (N,)
    prefixes: tuple[tuple[int, ...], ...]

    def select(self, rows: Tensor) -> Told:
        return Told(self.tables[rows], tuple(self.prefixes[row] for row in rows.tolist()))


def logits_of(table: int, prefix: tuple[int, ...]) -> Tensor:
    """Random logits for every prefix, as a function of both."""
    number = sum((token + 1) * (V + 1) ** place for place, token in enumerate(prefix))
    draws = torch.Generator().manual_seed(1000 * table + number)
    return 2 * torch.randn(V, generator=draws, dtype=torch.float64)


def step(tokens: Tensor, state: Told) -> tuple[Tensor, Told]:
    prefixes = tuple((*p, t) for p, t in zip(state.prefixes, tokens.tolist(), strict=True))
    told = zip(state.tables.tolist(), prefixes, strict=True)
    return torch.stack([logits_of(table, prefix) for table, prefix in told]), Told(state.tables, prefixes)


def beginnings(*tables: int) -> Told:
    return Told(torch.tensor(tables), ((),) * len(tables))


def found(tables: tuple[int, ...], beam: Beam) -> list[list[Hypothesis]]:
    return search(step, beginnings(*tables), len(tables), END, beam)


def everything(table: int, beam: Beam) -> list[Hypothesis]:
    """All sequences of at most `longest` tokens, by score; after `longest` the end is certain to follow."""
    hypotheses = []
    for length in range(beam.longest + 1):
        for tokens in itertools.product(range(END), repeat=length):
            told, log = (END,), 0.0
            for token in (*tokens, END):
                log += float(torch.log_softmax(logits_of(table, told), 0)[token])
                told = (*told, token)
            hypotheses.append(Hypothesis(tokens, log, beam.score(log, length + 1)))
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("table", [0, 1])
def test_a_beam_as_wide_as_everything_finds_everything_in_order(table, normalisation):
    wide = Beam(200, normalisation, 0.7, longest=3)
    said, wanted = found((table,), wide)[0], everything(table, wide)
    assert len(wanted) == 1 + 3 + 9 + 27
    assert [h.tokens for h in said] == [h.tokens for h in wanted]
    for one, other in zip(said, wanted, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-12)
        assert one.score == pytest.approx(other.score, abs=1e-12)


@pytest.mark.parametrize("table", range(5))
def test_a_width_of_one_is_greedy_search(table):
    prefix: tuple[int, ...] = (END,)
    while len(prefix) <= 6:
        token = int(logits_of(table, prefix).argmax())
        if token == END:
            break
        prefix = (*prefix, token)
    ((hypothesis,),) = found((table,), Beam(1, longest=6))
    assert hypothesis.tokens == prefix[1:]


def slow_search(table: int, beam: Beam) -> list[Hypothesis]:
    """The definition, on lists: the most probable growths of all unfinished are kept, the finished keep their place."""
    alive, done = [((END,), 0.0)], []
    for length in range(beam.longest + 1):
        grown = []
        for told, log in alive:
            logs = torch.log_softmax(logits_of(table, told), 0).tolist()
            last = length == beam.longest
            grown += [((*told, t), log + logs[t]) for t in range(V) if t == END or not last]
        grown = sorted(grown, key=lambda pair: -pair[1])[: beam.width - len(done)]
        done += [Hypothesis(p[1:-1], log, beam.score(log, len(p) - 1)) for p, log in grown if p[-1] == END]
        alive = [(p, log) for p, log in grown if p[-1] != END]
    return sorted(done, key=lambda hypothesis: -hypothesis.score)


@pytest.mark.parametrize("width", [2, 3, 7])
def test_narrow_beams_follow_the_definition(width):
    for table in range(12):
        beam = Beam(width, "gnmt", 0.8, longest=5)
        said, wanted = found((table,), beam)[0], slow_search(table, beam)
        assert [h.tokens for h in said] == [h.tokens for h in wanted]


def test_each_beginning_gets_what_it_gets_alone_in_any_order():
    beam = Beam(3, longest=6)
    alone = {table: found((table,), beam)[0] for table in range(6)}
    for tables in (tuple(range(6)), (5, 0, 3), (2, 2, 4)):
        assert found(tables, beam) == [alone[table] for table in tables]


def test_coarse_logits_are_searched_in_at_least_float32():
    def coarse(tokens: Tensor, state: Told) -> tuple[Tensor, Told]:
        return torch.tensor([[2.0, 1.0, 0.5, 0.25]] * len(tokens), dtype=torch.bfloat16), state

    total = math.log(sum(math.exp(logit) for logit in (2.0, 1.0, 0.5, 0.25)))
    logs = {h.tokens: h.log_probability for h in search(coarse, beginnings(0), 1, END, Beam(50, longest=1))[0]}
    assert logs == {
        (): pytest.approx(0.25 - total, abs=1e-6),
        **{(k,): pytest.approx(logit + 0.25 - 2 * total, abs=1e-6) for k, logit in enumerate((2.0, 1.0, 0.5))},
    }


def test_fewer_sequences_than_places_are_all_found():
    assert [h.tokens for h in found((0,), Beam(5, longest=0))[0]] == [()]
    assert len(found((0,), Beam(50, longest=1))[0]) == 4


def test_normalisation_is_what_it_says():
    scores = {kind: Beam(normalisation=kind, alpha=0.5).score(-6.0, 4) for kind in NORMALISATIONS}
    assert scores == {"none": -6.0, "length": -3.0, "gnmt": pytest.approx(-6.0 / 1.5**0.5)}


def test_values_outside_their_range_are_refused():
    for wrong in ({"width": 0}, {"longest": -1}, {"alpha": -0.1}, {"alpha": float("inf")}):
        with pytest.raises(UsageError, match="beam: width must be at least 1"):
            Beam(**wrong)
    with pytest.raises(UsageError, match="did you mean 'gnmt'"):
        Beam(normalisation="gmnt")


@pytest.mark.parametrize("wrong", [[torch.nan, 0.0, 0.0, 0.0], [0.0, torch.inf, 0.0, 0.0], [-torch.inf] * V])
def test_logits_of_which_no_token_can_be_chosen_are_refused(wrong):
    def broken(tokens: Tensor, state: Told) -> tuple[Tensor, Told]:
        return torch.tensor([[0.0] * V, wrong]), state

    with pytest.raises(DivergedError, match="NaN or infinity after 0 tokens"):
        search(broken, beginnings(0, 1), 2, END, Beam())


def test_a_network_that_learns_is_searched_without_a_warning(recwarn):
    """Who forgets torch.no_grad() gets the same, and no warning of torch."""

    def learning(tokens: Tensor, state: Told) -> tuple[Tensor, Told]:
        logits, after = step(tokens, state)
        return logits.requires_grad_(), after

    beam = Beam(width=2, longest=3)
    assert search(learning, beginnings(1, 2), 2, END, beam) == found((1, 2), beam)
    assert not recwarn
