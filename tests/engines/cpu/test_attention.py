"""Additive attention in the engine: torch's formula in float64, the same bits in any company, padding never read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elman.engines.cpu.attention import additive_scores, compares
from elman.layers.attention import Attention
from elman.plans import native
from elman.plans.native import available, engine
from tests.engines.cpu.test_memory import bits, walk

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

TARGETS = engine.targets() if available() else []
B, T, S = 3, 4, 5
COUNTS = torch.tensor([5, 0, 3])
BEYOND = torch.arange(S) >= COUNTS.unsqueeze(1)  # (B, S)


def drawn(width: int, scale: float = 1.0) -> list[Tensor]:
    """Queries, keys, v, and derivatives of scores."""
    draws = torch.Generator().manual_seed(width)
    shapes = (B, T, width), (B, S, width), (width,), (B, T, S)
    return [scale * torch.randn(*shape, generator=draws) for shape in shapes]


def by_torch(q: Tensor, k: Tensor, v: Tensor, d: Tensor) -> list[Tensor]:
    """Scores and derivatives by the formula, in float64."""
    leaves = [t.double().requires_grad_() for t in (q, k.masked_fill(BEYOND.unsqueeze(2), 0.0), v)]
    scores = torch.tanh(leaves[0].unsqueeze(2) + leaves[1].unsqueeze(1)) @ leaves[2]
    scores = scores.masked_fill(BEYOND.unsqueeze(1), 0.0)
    return [scores.detach(), *torch.autograd.grad(scores, leaves, d.double())]


def by_engine(q: Tensor, k: Tensor, v: Tensor, d: Tensor, counts: Tensor = COUNTS) -> list[Tensor]:
    """Scores and derivatives by the engine."""
    q, k, v = leaves = [t.detach().clone().requires_grad_() for t in (q, k, v)]
    scores = additive_scores(q, k, v, counts)
    return [scores.detach(), *torch.autograd.grad(scores, leaves, d)]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("elman.engines.cpu.attention.target", lambda: request.param)
    return str(request.param)


@pytest.mark.parametrize("width", [1, 7, 16, 37, 256])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_scores_and_derivatives_are_those_of_the_formula(target: str, width: int, scale: float) -> None:
    given = drawn(width, scale)
    for found, wanted in zip(by_engine(*given), by_torch(*given), strict=True):
        # A sum of `width` terms, each with the few units in the last place of its tanh.
        bound = 1e-6 * width**0.5 * float(wanted.abs().max()) + 1e-6
        assert float((found - wanted).abs().max()) <= bound


def test_a_sequence_gets_the_same_bits_alone_and_with_any_threads(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, d = drawn(50)
    whole = by_engine(q, k, v, d)
    monkeypatch.setattr("elman.engines.cpu.attention._threads", lambda *_: 3)
    assert all(torch.equal(a, b) for a, b in zip(whole, by_engine(q, k, v, d), strict=True))
    for b in range(B):
        alone = by_engine(q[b : b + 1], k[b : b + 1, :3], v, d[b : b + 1, :, :3], COUNTS[b : b + 1].clamp(max=3))
        most = min(3, int(COUNTS[b]))
        assert torch.equal(alone[0][0, :, :most], whole[0][b, :, :most])
        if int(COUNTS[b]) == 3:
            assert torch.equal(alone[1][0], whole[1][b]) and torch.equal(alone[2][0], whole[2][b, :3])


def test_keys_beyond_a_count_are_never_read(target: str) -> None:
    q, k, v, d = drawn(20)
    with_nan = by_engine(q, k.masked_fill(BEYOND.unsqueeze(2), torch.nan), v, d.masked_fill(BEYOND.unsqueeze(1), 1e30))
    assert all(torch.equal(a, b) for a, b in zip(by_engine(q, k, v, d), with_nan, strict=True))
    assert not with_nan[0].masked_select(BEYOND.unsqueeze(1)).any() and not with_nan[2][BEYOND].any()


def test_nan_goes_where_it_belongs_and_infinity_saturates(target: str) -> None:
    q, k, v, _ = drawn(9)
    q[0, 1, 4], q[2, 0, 0], q[2, 1, 0] = torch.nan, torch.inf, -torch.inf
    scores = additive_scores(q, k, v, COUNTS)
    wanted = torch.tanh(q.unsqueeze(2) + k.unsqueeze(1)) @ v
    assert torch.equal(scores[0].isnan(), wanted[0].isnan())
    torch.testing.assert_close(scores[2, :, :3], wanted[2, :, :3])


def test_steps_without_a_derivative_are_passed_over(target: str) -> None:
    q, k, v, d = drawn(12)
    d[0, 2] = 0.0
    q[0, 2] = torch.nan
    assert all(bool(g.isfinite().all()) for g in by_engine(q, k, v, d)[1:])


def test_the_layer_gives_what_its_formula_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Attention("additive", 24, 10, torch.Generator().manual_seed(0))
    queries, values = torch.randn(B, T, 24), torch.randn(B, S, 10)
    results = []
    for engine_may in (True, False):
        if not engine_may:
            monkeypatch.setattr("elman.layers.attention.compares", lambda *_: False)
        look.zero_grad()
        contexts, shares = look(queries, look.memory(values, COUNTS.clamp(min=1)))
        contexts.square().sum().backward()
        gradients = [p.grad.clone() for p in look.parameters() if p.grad is not None]
        assert len(gradients) == 4
        results.append([contexts.detach(), shares.detach(), *gradients])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_torch_compares_where_the_engine_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, _ = drawn(8)
    assert compares(q, k, v)
    assert not compares(q.double(), k.double(), v.double())
    assert not compares(q[:, :0], k, v)
    assert not compares(q.to("meta"), k, v)
    with torch.overrides.BaseTorchFunctionMode():
        assert not compares(q, k, v)
    monkeypatch.setattr(native, "engine", None)
    assert not compares(q, k, v)


def test_compiled_attention_is_that_of_eager_calls() -> None:
    look = Attention("additive", 6, 5, torch.Generator().manual_seed(0))
    queries, values, lengths = torch.randn(B, T, 6), torch.randn(B, S, 5), COUNTS.clamp(min=1)

    def contexts_and_shares() -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = look(queries, look.memory(values, lengths))
        return found

    compiled = torch.compile(contexts_and_shares, backend="aot_eager", fullgraph=True)
    for found, wanted in zip(compiled(), contexts_and_shares(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_refused_memory_is_an_error_and_leaves_nothing() -> None:
    given = drawn(16)
    walk(lambda: bits(by_engine(*given)), least=5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": torch.zeros(B, S, 5)}, "the same B and A"),
        ({"k": torch.zeros(B + 1, S, 4)}, "the same B and A"),
        ({"v": torch.zeros(1, 4)}, "shapes"),
        ({"counts": torch.tensor([1, 2, S + 1])}, "from 0 to S"),
        ({"counts": torch.tensor([1, -1, 2])}, "from 0 to S"),
        ({"counts": torch.tensor([1, 2])}, "counts: must have shape"),
        ({"scores": torch.zeros(B, T, S + 1)}, "scores: must have shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Tensor], said: str) -> None:
    fits = {"q": torch.zeros(B, T, 4), "k": torch.zeros(B, S, 4), "v": torch.zeros(4), "counts": COUNTS}
    given = {**fits, "scores": torch.zeros(B, T, S), **change}
    with pytest.raises(ValueError, match=said):
        engine.compare(native.target(), **given, threads=1)
