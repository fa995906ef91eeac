"""The C++ engine keeps the contract of engines on every target; and what no other engine promises: the same bits in any
company, in any pieces, on any number of threads.

The tolerance against the reference is the 1e-5 of tests/test_contract.py for float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

import elman
from elman.cells import cells
from elman.engines import ENGINES
from elman.engines.cpu import CpuEngine
from elman.equations.rewrite import variational, zoneout
from elman.plans.native import available, engine
from tests.cases import CASES, Case, at
from tests.test_contract import FLOAT32, Found, Run, assert_close

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

TARGETS = engine.targets() if available() else []
SOME = ["gru", "lstm", "lstm_projected", "lstm_layer_norm", "min_gru", "sru", "scrn", "lem", "rhn", "antisymmetric_rnn"]


def single(case: Case, padding: float = 0.0, cell: elman.Cell | None = None) -> Run:
    return Run(case, cell, torch.float32, padding)


def assert_equal(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_the_reference(case: Case, reverse: bool, target: str) -> None:
    wanted = Run(case)
    wanted_values = wanted.found(wanted.whole(ENGINES["reference"], reverse))
    for threads in (1, 2):
        run = single(case)
        found = run.found(run.whole(CpuEngine(target, threads), reverse))
        assert_close(found, wanted_values, FLOAT32, floor=1.0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rewrite", [zoneout, variational])
@pytest.mark.parametrize("case", at("one unit", "ragged"), ids=str)
def test_rewritten_cells_keep_the_contract(case: Case, rewrite: object, target: str) -> None:
    cell = rewrite(case.cell)  # type: ignore[operator]
    wanted = Run(case, cell)
    run = single(case, cell=cell)
    found = run.found(run.whole(CpuEngine(target)))
    assert_close(found, wanted.found(wanted.whole(ENGINES["reference"])), FLOAT32, floor=1.0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", at("ragged", "all short"), ids=str)
def test_padding_reaches_nothing(case: Case, reverse: bool, target: str) -> None:
    runs = single(case), single(case, padding=torch.nan)
    wanted, found = (run.found(run.whole(CpuEngine(target), reverse)) for run in runs)
    assert_equal(found, wanted)
    for row, length in enumerate(case.sizes.lengths):
        assert not found["y"][row, length:].any() and not found["d x"][row, length:].any()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", at("ragged", "odd"), ids=str)
def test_pieces_give_the_bits_of_the_whole(case: Case, target: str) -> None:
    run, engine_ = single(case), CpuEngine(target)
    y, final = run.whole(engine_)
    for cuts in ((1,), (2,), (1, 2, 3)):
        found, after = run.in_pieces(engine_, [cut for cut in cuts if cut < case.sizes.steps])
        assert torch.equal(found, y)
        assert_equal(after, final)


def big(
    name: str, rows: int = 37, steps: int = 23, width: int = 50
) -> tuple[elman.Cell, Found, torch.Tensor, torch.Tensor, Found]:
    """A layer large enough for several tiles, chunks and panels: cell, weights, x, lengths, initial state."""
    cell, random = cells[name], torch.Generator().manual_seed(len(name))
    sizes = dict.fromkeys(cell.free_sizes, 40)
    layer = elman.Recurrent(cell, width, width, sizes=sizes, seed=1)
    weights = {n: w.detach().clone().requires_grad_() for n, w in layer.weights.items()}
    x = torch.randn(rows, steps, width, generator=random).requires_grad_()
    lengths = torch.randint(1, steps + 1, (rows,), generator=random)
    state = {s: torch.randn(rows, w, generator=random).requires_grad_() for s, w in layer.state_sizes.items()}
    return cell, weights, x, lengths, state


def gradients(
    engine_: CpuEngine, values: tuple[elman.Cell, Found, torch.Tensor, torch.Tensor, Found], reverse: bool = False
) -> Found:
    cell, weights, x, lengths, state = values
    y, final = engine_.run(cell, weights, x, lengths, state, {}, reverse)
    leaves = {"x": x, **weights, **{f"{s} before": v for s, v in state.items()}}
    loss = (y * y.detach().cos()).sum() + sum((v * 0.5).sum() for v in final.values())
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    table = {f"d {n}": g for n, g in zip(leaves, found, strict=True) if g is not None}
    return {"output": y.detach(), **{f"{s} after": v.detach() for s, v in final.items()}, **table}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SOME)
def test_threads_change_no_bit(name: str, target: str) -> None:
    values = big(name)
    wanted = gradients(CpuEngine(target, 1), values)
    for threads in (2, 3):
        assert_equal(gradients(CpuEngine(target, threads), values), wanted)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("name", SOME)
def test_company_changes_no_bit(name: str, reverse: bool, target: str) -> None:
    """Outputs, final states and the derivatives of a sequence's own input and state, alone and in any batch."""
    cell, weights, x, lengths, state = values = big(name, rows=9)
    wanted = gradients(CpuEngine(target), values, reverse)
    own = ["x", *(f"{s} before" for s in state)]
    for row in (0, 4, 8):
        n = int(lengths[row])
        alone = {s: v[row : row + 1].detach().requires_grad_() for s, v in state.items()}
        lone = cell, weights, x[row : row + 1, :n].detach().requires_grad_(), lengths[row : row + 1], alone
        found = gradients(CpuEngine(target), lone, reverse)
        assert torch.equal(found["output"][0], wanted["output"][row, :n])
        assert all(torch.equal(found[f"{s} after"][0], wanted[f"{s} after"][row]) for s in state)
        for leaf in own:
            if f"d {leaf}" in wanted:
                piece = wanted[f"d {leaf}"][row]
                assert torch.equal(found[f"d {leaf}"][0], piece[:n] if leaf == "x" else piece), leaf


@pytest.mark.parametrize("name", SOME)
def test_keeping_values_for_the_way_back_changes_roundings_only(name: str) -> None:
    cell, weights, x, lengths, state = big(name, rows=40, steps=40)
    y, final = CpuEngine().run(cell, weights, x, lengths, state, {}, False)
    with torch.no_grad():
        lean, lean_final = CpuEngine().run(cell, weights, x, lengths, state, {}, False)
    torch.testing.assert_close(lean, y.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lean_final, {s: v.detach() for s, v in final.items()}, atol=1e-5, rtol=1e-5)


def test_a_second_way_back_gives_the_same() -> None:
    cell, weights, x, lengths, state = big("gru")
    y, _ = CpuEngine().run(cell, weights, x, lengths, state, {}, False)
    leaves = [x, *weights.values()]
    first = torch.autograd.grad(y.square().sum(), leaves, retain_graph=True)
    second = torch.autograd.grad(y.square().sum(), leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
