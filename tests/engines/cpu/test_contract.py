"""The C++ engine keeps the contract of engines on every target; and what no other engine promises: the same bits in any
company, in any pieces, on any number of threads.

The tolerance against the reference is the 1e-5 of tests/test_contract.py for float32. Products of bfloat16 are judged
by the reference with factors of bfloat16: the roundings are the definition, not an error, and nearly every tensor
agrees to the same 1e-5. Some values lie so near the middle of two numbers of bfloat16 that a rounding of float32
decides; the odds are 2^-15 for each. Such a factor differs by 2^-8 of itself, which is the tolerance for those tensors
that it reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import elman
from elman.cells import cells
from elman.engines import ENGINES
from elman.engines.cpu import CpuEngine
from elman.engines.reference import ReferenceEngine
from elman.equations.rewrite import variational, zoneout
from elman.plans.native import BF16_UNITS, available, engine
from tests.cases import CASES, Case, at
from tests.oracles import relative_error
from tests.test_contract import FLOAT32, Found, Run, assert_close

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

TARGETS = engine.targets() if available() else []
ENGINES_HERE = [(target, "float32") for target in TARGETS if target not in BF16_UNITS] + [
    (target, "bf16") for target in TARGETS
]
REFERENCE = {"float32": ENGINES["reference"], "bf16": ReferenceEngine("bf16")}

TOLERANCE = {"float32": FLOAT32, "bf16": 2.0**-8}

on_every_target = pytest.mark.parametrize(("target", "precision"), ENGINES_HERE)
SOME = ["gru", "lstm", "lstm_projected", "lstm_layer_norm", "min_gru", "sru", "scrn", "lem", "rhn", "antisymmetric_rnn"]


def single(case: Case, padding: float = 0.0, cell: elman.Cell | None = None) -> Run:
    return Run(case, cell, torch.float32, padding)


def cases(target: str, precision: str) -> list[Case]:
    """The whole table where products are code of their own, two sizes where they are that of float32."""
    return CASES if precision == "float32" or target in BF16_UNITS else at("ragged", "odd")


@cache
def of_reference(case: Case, reverse: bool, precision: str) -> Found:
    run = Run(case)
    return run.found(run.whole(REFERENCE[precision], reverse))


def assert_equal(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("case", "target", "precision"), [(case, *how) for how in ENGINES_HERE for case in cases(*how)]
)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_values_and_gradients_are_those_of_the_reference(
    case: Case, reverse: bool, target: str, precision: str
) -> None:
    wanted = of_reference(case, reverse, precision)
    for threads in (1, 2):
        run = single(case)
        found = run.found(run.whole(CpuEngine(target, threads, precision), reverse))
        assert_close(found, wanted, TOLERANCE[precision], floor=1.0)


@pytest.mark.parametrize("target", TARGETS)
def test_nearly_every_tensor_in_bf16_agrees_to_float32(target: str) -> None:
    engine_, errors = CpuEngine(target, precision="bf16"), []
    for case in CASES:
        run, wanted = single(case), of_reference(case, False, "bf16")
        errors += [relative_error(v, wanted[n], 1.0) for n, v in run.found(run.whole(engine_)).items()]
    assert np.quantile(errors, 0.98) <= FLOAT32


@on_every_target
@pytest.mark.parametrize("rewrite", [zoneout, variational])
@pytest.mark.parametrize("case", at("one unit", "ragged"), ids=str)
def test_rewritten_cells_keep_the_contract(case: Case, rewrite: object, target: str, precision: str) -> None:
    cell = rewrite(case.cell)  # type: ignore[operator]
    wanted = Run(case, cell)
    run = single(case, cell=cell)
    found = run.found(run.whole(CpuEngine(target, precision=precision)))
    assert_close(found, wanted.found(wanted.whole(REFERENCE[precision])), TOLERANCE[precision], floor=1.0)


READ_AS_ROWS = ["V b", "layer_norm(b)", "tanh(V layer_norm(b) + R b + b)"]


@on_every_target
@pytest.mark.parametrize("term", READ_AS_ROWS)
def test_a_vector_parameter_is_a_row_where_whole_rows_are_read(term: str, target: str, precision: str) -> None:
    """Products and row operations read rows, and parameters have none of their own."""
    layer = elman.Recurrent(elman.Cell(f"h = tanh(W x + U h<t-1> + {term})"), 7, 18, seed=2)
    draws = torch.Generator().manual_seed(3)
    weights = {n: torch.randn(w.shape, generator=draws).mul_(0.3).requires_grad_() for n, w in layer.weights.items()}
    x, h = (torch.randn(shape, generator=draws).requires_grad_() for shape in ((4, 5, 7), (4, 18)))
    values = layer.cell, weights, x, torch.tensor([5, 2, 4, 1]), {"h": h}
    wanted = gradients(REFERENCE[precision], values)
    assert_close(gradients(CpuEngine(target, precision=precision), values), wanted, TOLERANCE[precision], floor=1.0)


@on_every_target
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", at("ragged", "all short"), ids=str)
def test_padding_reaches_nothing(case: Case, reverse: bool, target: str, precision: str) -> None:
    runs = single(case), single(case, padding=torch.nan)
    wanted, found = (run.found(run.whole(CpuEngine(target, precision=precision), reverse)) for run in runs)
    assert_equal(found, wanted)
    for row, length in enumerate(case.sizes.lengths):
        assert not found["y"][row, length:].any() and not found["d x"][row, length:].any()


@on_every_target
@pytest.mark.parametrize("case", at("ragged", "odd"), ids=str)
def test_pieces_give_the_bits_of_the_whole(case: Case, target: str, precision: str) -> None:
    run, engine_ = single(case), CpuEngine(target, precision=precision)
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
    engine_: CpuEngine | ReferenceEngine,
    values: tuple[elman.Cell, Found, torch.Tensor, torch.Tensor, Found],
    reverse: bool = False,
) -> Found:
    cell, weights, x, lengths, state = values
    y, final = engine_.run(cell, weights, x, lengths, state, {}, reverse)
    leaves = {"x": x, **weights, **{f"{s} before": v for s, v in state.items()}}
    loss = (y * y.detach().cos()).sum() + sum((v * 0.5).sum() for v in final.values())
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    table = {f"d {n}": g for n, g in zip(leaves, found, strict=True) if g is not None}
    return {"output": y.detach(), **{f"{s} after": v.detach() for s, v in final.items()}, **table}


@on_every_target
@pytest.mark.parametrize("name", SOME)
def test_threads_change_no_bit(name: str, target: str, precision: str) -> None:
    values = big(name)
    wanted = gradients(CpuEngine(target, 1, precision), values)
    for threads in (2, 3):
        assert_equal(gradients(CpuEngine(target, threads, precision), values), wanted)


@on_every_target
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("name", SOME)
def test_company_changes_no_bit(name: str, reverse: bool, target: str, precision: str) -> None:
    """Outputs, final states and the derivatives of a sequence's own input and state, alone and in any batch."""
    cell, weights, x, lengths, state = values = big(name, rows=9)
    wanted = gradients(CpuEngine(target, precision=precision), values, reverse)
    own = ["x", *(f"{s} before" for s in state)]
    for row in (0, 4, 8):
        n = int(lengths[row])
        alone = {s: v[row : row + 1].detach().requires_grad_() for s, v in state.items()}
        lone = cell, weights, x[row : row + 1, :n].detach().requires_grad_(), lengths[row : row + 1], alone
        found = gradients(CpuEngine(target, precision=precision), lone, reverse)
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


def test_hooks_may_bring_saved_tensors_back_anywhere_in_memory() -> None:
    """As hooks do that keep what was saved in arrays of NumPy: those begin anywhere within a cache line."""
    cell, weights, x, lengths, state = big("gru")
    leaves, found = [x, *weights.values()], []
    for hook in (lambda saved: saved, _elsewhere):
        with torch.autograd.graph.saved_tensors_hooks(hook, lambda place: place):
            y, _ = CpuEngine().run(cell, weights, x, lengths, state, {}, False)
        found.append(torch.autograd.grad(y.square().sum(), leaves))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def _elsewhere(tensor: Tensor) -> Tensor:
    room = torch.empty(tensor.numel() + 5, dtype=tensor.dtype)
    return room[5:].view(tensor.shape).copy_(tensor)
