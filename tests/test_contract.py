"""One contract over the whole table: what every engine owes to every cell at every size.

Tolerances: 1e-6 for derived gradients against central differences, whose own error is near 1e-10 (oracles.FINITE_STEP);
1e-10 in float64 and 1e-5 in float32 between engines, far above rounding_bound for sums of at most a hundred terms and
far below any wrong formula; exact equality where the same operations run on the same numbers. In float32 tensors of a
norm below 1 are judged by their absolute error: they are differences of terms of size 1, whose roundings stay. What a
rounding of the inputs alone moves by more than that (a layer norm over three nearly equal numbers) may be as far off as
eight such roundings: no sum of a few dozen terms rounds better than its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elman.engines import ENGINES, Engine, choose
from elman.engines.reference import backward, forward
from elman.engines.torch_engine import TorchScheduleEngine
from elman.equations import Cell
from elman.equations.rewrite import variational, zoneout
from tests.cases import CASES, Array, Case, at
from tests.oracles import BY_HAND, relative_error, slope_along

GRADIENT, FLOAT64, FLOAT32 = 1e-6, 1e-10, 1e-5
REWRITES: dict[str, Callable[[Cell], Cell]] = {"zoneout": zoneout, "variational": variational}

Found = dict[str, Tensor]


def engines(case: Case) -> list[Engine]:
    """The engines that can run a cell."""
    return [ENGINES["reference"], ENGINES["torch-schedule"], *fused(case)]


def fused(case: Case) -> list[Engine]:
    """Torch's own kernel, for the cells and sizes that have one."""
    sizes = case.cell.check_sizes(case.input_size, case.sizes.hidden_size, case.declared)
    engine = choose("torch", case.cell, sizes=sizes)
    return [engine] if engine.name == "torch-fused" else []


class Run:
    """The values of a case as tensors that collect gradients, and the loss sum(y * a) + sum(final * b).

    Args:
        case: The case.
        cell: A rewrite of its cell; None for the cell itself.
        dtype: Type of all tensors.
        padding: What stands beyond the lengths of the input.
    """

    def __init__(
        self, case: Case, cell: Cell | None = None, dtype: torch.dtype = torch.float64, padding: float = 0.0
    ) -> None:
        self.case, self.cell, self.lengths = case, cell or case.cell, case.sizes.lengths
        values = case.values(self.cell)
        tensors = {kind: {n: torch.tensor(v, dtype=dtype) for n, v in table.items()} for kind, table in values.items()}
        self.weights, self.state, self.masks, self.loss = (tensors[k] for k in ("weights", "state", "masks", "loss"))
        self.x = tensors["x"]["x"]
        for row, length in enumerate(self.lengths):
            self.x[row, length:] = padding
        self.inputs = {"x": self.x, **self.weights, **{f"{n} before": v for n, v in self.state.items()}}
        for tensor in self.inputs.values():
            tensor.requires_grad_()

    def whole(self, engine: Engine, reverse: bool = False) -> tuple[Tensor, Found]:
        """Run the batch at once."""
        lengths = torch.tensor(self.lengths)
        return engine.run(self.cell, self.weights, self.x, lengths, self.state, self.masks, reverse)

    def in_pieces(self, engine: Engine, cuts: Iterable[int]) -> tuple[Tensor, Found]:
        """Run from cut to cut with carried state; a sequence that has ended takes no part any more."""
        steps, left = self.case.sizes.steps, torch.tensor(self.lengths)
        state, outputs, start = dict(self.state), [], 0
        for stop in (*cuts, steps):
            rows = torch.nonzero(left > start)[:, 0]
            y = self.x.new_zeros(len(left), stop - start, len(self.loss["output"][0, 0]))
            if len(rows):
                pieces = (left[rows] - start).clamp(max=stop - start)
                carried = {n: v[rows] for n, v in state.items()}
                part = self.x[rows, start:stop]
                found, after = engine.run(self.cell, self.weights, part, pieces, carried, {}, False)
                y = y.index_copy(0, rows, found)
                state = {n: v.index_copy(0, rows, after[n]) for n, v in state.items()}
            outputs.append(y)
            start = stop
        return torch.cat(outputs, 1), state

    def found(self, result: tuple[Tensor, Found]) -> Found:
        """Outputs, final states and all gradients of the loss."""
        y, final = result
        total = (y * self.loss["output"]).sum() + sum((v * self.loss[n]).sum() for n, v in final.items())
        names = [n for n, v in self.inputs.items() if v.numel()]
        gradients = torch.autograd.grad(total, [self.inputs[n] for n in names], allow_unused=True)
        table = {"y": y, **{f"{n} after": v for n, v in final.items()}}
        for name, gradient in zip(names, gradients, strict=True):
            table[f"d {name}"] = torch.zeros_like(self.inputs[name]) if gradient is None else gradient
        return {name: value.detach() for name, value in table.items()}


def assert_close(found: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float, floor: float = 1e-2) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        error = relative_error(found[name], value, floor)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


def check_engine(engine: Engine, case: Case, reverse: bool, cell: Cell | None = None) -> None:
    """Values, states and gradients equal those of the reference engine; its gradients are the derived ones."""
    run = Run(case, cell)
    wanted = run.found(run.whole(ENGINES["reference"], reverse))
    assert_close(run.found(run.whole(engine, reverse)), wanted, FLOAT64)
    single = Run(case, cell, torch.float32)
    found = single.found(single.whole(engine, reverse))
    for name, value in wanted.items():
        error = relative_error(found[name], value, 1.0)
        if error > FLOAT32:
            bound = 8 * moved_by_rounding(case, cell, reverse)[name]
            assert error <= bound, f"{name}: relative error {error:.1e}, where eight roundings move it by {bound:.1e}"


def moved_by_rounding(case: Case, cell: Cell | None, reverse: bool) -> dict[str, float]:
    """How far the reference's results move, relative to their norm, when float32 rounds every input once."""
    exact, rounded = Run(case, cell), Run(case, cell)
    signs = np.random.default_rng(0)
    with torch.no_grad():
        for tensor in rounded.inputs.values():
            tensor *= 1 + torch.finfo(torch.float32).eps / 2 * torch.tensor(signs.choice([-1.0, 1.0], tensor.shape))
    before, after = (run.found(run.whole(ENGINES["reference"], reverse)) for run in (exact, rounded))
    return {name: relative_error(after[name], value, 1.0) for name, value in before.items()}


def check_padding(engine: Engine, case: Case, reverse: bool) -> None:
    """What stands beyond a length reaches nothing, and outputs and input gradients there are zero."""
    clean, spoilt = Run(case), Run(case, padding=torch.nan)
    wanted, found = clean.found(clean.whole(engine, reverse)), spoilt.found(spoilt.whole(engine, reverse))
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    for row, length in enumerate(case.sizes.lengths):
        assert not found["y"][row, length:].any() and not found["d x"][row, length:].any()


def check_pieces(engine: Engine, case: Case) -> None:
    """Two halves with carried state, and step by step: outputs, final states and gradients of the whole."""
    run = Run(case)
    wanted = run.found(run.whole(engine))
    for cuts in ([case.sizes.steps // 2], range(1, case.sizes.steps)):
        assert_close(run.found(run.in_pieces(engine, cuts)), wanted, FLOAT64)


def check_rows(engine: Engine, case: Case, reverse: bool) -> None:
    """Each sequence gives what it gives alone, turned round by hand if it is to be read from its end."""
    run = Run(case)
    y, final = run.whole(engine, reverse)
    for row, length in enumerate(run.lengths):
        x = run.x[row : row + 1, :length]
        start = {n: v[row : row + 1] for n, v in run.state.items()}
        alone, after = engine.run(run.cell, run.weights, x.flip(1) if reverse else x, None, start, {}, False)
        alone = alone.flip(1) if reverse else alone
        assert relative_error(y[row, :length].detach(), alone[0].detach()) <= FLOAT64
        for name, value in after.items():
            assert relative_error(final[name][row].detach(), value[0].detach()) <= FLOAT64, f"{name} of row {row}"
        if run.cell.output in final:
            last = 0 if reverse else length - 1
            assert torch.equal(final[run.cell.output][row], y[row, last]), "the final state is that of the last step"


def check_order(engine: Engine, case: Case) -> None:
    """Rows in another order give the same rows in that order."""
    run = Run(case)
    y, final = run.whole(engine)
    order = torch.arange(len(run.lengths)).roll(1).flip(0)
    start = {n: v[order] for n, v in run.state.items()}
    mixed, after = engine.run(run.cell, run.weights, run.x[order], torch.tensor(run.lengths)[order], start, {}, False)
    assert relative_error(mixed.detach(), y[order].detach()) <= FLOAT64
    for name, value in final.items():
        assert relative_error(after[name].detach(), value[order].detach()) <= FLOAT64, name


def check_slopes(case: Case, reverse: bool = False, cell: Cell | None = None) -> None:
    """The derived gradient of every tensor is the slope of the loss along a random direction of it."""
    cell = cell or case.cell
    v, lengths = case.values(cell), case.sizes.lengths

    def run() -> Any:
        return forward(cell, v["weights"], v["x"]["x"], lengths, v["state"], v["masks"], reverse)

    def loss() -> float:
        trace = run()
        final = sum((trace.final[s] * v["loss"][s]).sum() for s in cell.states)
        return float((trace.y * v["loss"]["output"]).sum() + final)

    d_y = v["loss"]["output"] * (np.arange(case.sizes.steps) < np.array(lengths)[:, None])[:, :, None]
    found = backward(run(), d_y, {s: v["loss"][s] for s in cell.states}, v["x"]["x"].shape)
    random = np.random.default_rng(0)
    for kind, gradients in (("weights", found.weights), ("state", found.state), ("x", {"x": found.x})):
        assert set(gradients) == set(v[kind])
        for name, gradient in gradients.items():
            direction = random.standard_normal(gradient.shape)
            direction /= np.linalg.norm(direction)
            slope = slope_along(loss, v[kind][name], direction)
            # By the length of the gradient: a slope across it is small and has all of its error.
            error = abs((gradient * direction).sum() - slope) / max(float(np.linalg.norm(gradient)), 1e-2)
            assert error <= GRADIENT, f"{kind} {name}: relative error {error:.1e}"


# ---- Over the table


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derived_gradients_are_slopes(case: Case) -> None:
    check_slopes(case)


@pytest.mark.parametrize("case", at("ragged"), ids=str)
def test_derived_gradients_in_reverse_are_slopes(case: Case) -> None:
    check_slopes(case, reverse=True)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_torch_and_its_autograd_equal_the_reference(case: Case, reverse: bool) -> None:
    for engine in engines(case)[1:]:
        check_engine(engine, case, reverse)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", at("one unit", "ragged", "odd", "all short"), ids=str)
def test_padding_of_nan_changes_nothing(case: Case, reverse: bool) -> None:
    for engine in engines(case):
        check_padding(engine, case, reverse)


@pytest.mark.parametrize("case", at("one row", "one unit", "ragged", "square", "all short"), ids=str)
def test_pieces_equal_the_whole_with_gradients(case: Case) -> None:
    for engine in engines(case):
        check_pieces(engine, case)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", at("one step", "ragged", "odd", "all short"), ids=str)
def test_each_sequence_is_as_if_alone(case: Case, reverse: bool) -> None:
    for engine in engines(case):
        check_rows(engine, case, reverse)


@pytest.mark.parametrize("case", at("one step", "ragged", "odd"), ids=str)
def test_order_of_rows_is_kept(case: Case) -> None:
    for engine in engines(case):
        check_order(engine, case)


# ---- Rewrites


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("case", at("one unit", "ragged"), ids=str)
def test_rewritten_cells_keep_the_contract(case: Case, rewrite: str) -> None:
    cell = REWRITES[rewrite](case.cell)
    check_slopes(case, cell=cell)
    check_engine(ENGINES["torch-schedule"], case, False, cell)
    check_engine(ENGINES["torch-schedule"], case, True, cell)


@pytest.mark.parametrize("name", BY_HAND)
def test_zoneout_equals_a_mixture_of_states_by_hand(name: str) -> None:
    """Each state becomes mask * old + (1 - mask) * new; an output that is no state stays what it was."""
    case = Case(name, "ragged")
    cell = zoneout(case.cell)
    v, lengths = case.values(cell), case.sizes.lengths
    trace = forward(cell, v["weights"], v["x"]["x"], lengths, v["state"], v["masks"])
    for row, length in enumerate(lengths):
        now = {s: value[row] for s, value in v["state"].items()}
        for t in range(length):
            y, new = BY_HAND[name](v["weights"], v["x"]["x"][row, t], now)
            masks = {s: v["masks"][f"zoneout_{s}"][row, t] for s in now}
            now = {s: masks[s] * now[s] + (1 - masks[s]) * new[s] for s in now}
            assert relative_error(trace.y[row, t], now.get(cell.output, y)) <= FLOAT64
        for s, value in now.items():
            assert relative_error(trace.final[s][row], value) <= FLOAT64


def scaled_columns(weights: dict[str, Array], cell: Cell, masks: Mapping[str, Array]) -> dict[str, Array]:
    """The weights with the columns that read a masked vector multiplied by the mask; for states of one width."""
    found = {}
    for name, weight in weights.items():
        width = weight.shape[-1] - masks["drop_input"].size
        if weight.ndim == 2 and width > 0:
            state = "c" if (cell.name, name) == ("lstm_notes", "W_o") else cell.output
            weight = weight * np.concatenate([masks[f"drop_{state}"], masks["drop_input"]])
        found[name] = weight
    return found


@pytest.mark.parametrize("name", ["gru", "lstm", "lstm_notes", "mgu", "gru_no_update"])
def test_variational_dropout_equals_masked_columns(name: str) -> None:
    """Every matrix of these cells is over [state, x]; the gate inside [r * c<t-1>, x] commutes with the mask."""
    case = Case(name, "ragged")
    cell = variational(case.cell)
    v, lengths = case.values(cell), case.sizes.lengths
    masks = {n: mask[:1, :1].repeat(len(lengths), 0) for n, mask in v["masks"].items()}
    trace = forward(cell, v["weights"], v["x"]["x"], lengths, v["state"], masks)
    weights = scaled_columns(v["weights"], case.cell, {n: mask[0, 0] for n, mask in masks.items()})
    plain = forward(case.cell, weights, v["x"]["x"], lengths, v["state"])
    assert_close({"y": trace.y, **trace.final}, {"y": plain.y, **plain.final}, FLOAT64)


# ---- The contract rejects engines that break it


class Faulty(TorchScheduleEngine):
    """An engine that is right but for one fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def run(
        self,
        cell: Cell,
        weights: Mapping[str, Tensor],
        x: Tensor,
        lengths: Tensor | None,
        state: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        reverse: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a cell, wrongly."""
        plain = super().run
        if self.fault == "state at the last padded step":
            y, _ = plain(cell, weights, x, lengths, state, masks, reverse)
            return y, plain(cell, weights, x, None, state, masks, reverse)[1]
        if self.fault == "outputs beyond the length":
            return plain(cell, weights, x, None, state, masks, reverse)
        if self.fault == "padding read by a factor of zero" and lengths is not None:
            valid = (torch.arange(x.shape[1]) < lengths[:, None]).unsqueeze(2)  # (B, T, 1)
            y, _ = plain(cell, weights, x * valid, None, state, masks, reverse)
            _, final = plain(cell, weights, x, lengths, state, masks, reverse)
            return torch.where(valid, y, 0.0), final
        if self.fault == "reversal with the padding" and reverse:
            y, final = plain(cell, weights, x.flip(1), lengths, state, masks, False)
            return y.flip(1), final
        if self.fault == "rows sorted and not put back" and lengths is not None:
            order = lengths.argsort(descending=True, stable=True)
            start = {n: v[order] for n, v in state.items()}
            return plain(cell, weights, x[order], lengths[order], start, masks, reverse)
        if self.fault == "given state ignored":
            zero = {n: torch.zeros_like(v) for n, v in state.items()}
            return plain(cell, weights, x, lengths, zero, masks, reverse)
        y, final = plain(cell, weights, x, lengths, state, masks, reverse)
        if self.fault == "gradient cut":
            return y, {n: v.detach() for n, v in final.items()}
        if self.fault == "gradient one percent off":
            return y * 1.01 - (y * 0.01).detach(), final
        return y * (1 + 1e-4), final


def all_checks(engine: Engine, case: Case) -> None:
    for reverse in (False, True):
        check_engine(engine, case, reverse)
        check_padding(engine, case, reverse)
        check_rows(engine, case, reverse)
    check_pieces(engine, case)
    check_order(engine, case)


FAULTS = [
    ("state at the last padded step", lambda e, c: check_rows(e, c, False)),
    ("outputs beyond the length", lambda e, c: check_padding(e, c, False)),
    ("padding read by a factor of zero", lambda e, c: check_padding(e, c, False)),
    ("reversal with the padding", lambda e, c: check_rows(e, c, True)),
    ("rows sorted and not put back", lambda e, c: check_rows(e, c, False)),
    ("given state ignored", check_pieces),
    ("gradient cut", check_pieces),
    ("gradient one percent off", lambda e, c: check_engine(e, c, False)),
    ("values slightly off", lambda e, c: check_engine(e, c, False)),
]


@pytest.mark.parametrize(("fault", "check"), FAULTS, ids=[fault for fault, _ in FAULTS])
def test_a_faulty_engine_is_rejected(fault: str, check: Callable[[Engine, Case], None]) -> None:
    with pytest.raises(AssertionError):
        check(Faulty(fault), Case("lstm", "ragged"))


def test_the_engine_without_a_fault_is_not() -> None:
    all_checks(ENGINES["torch-schedule"], Case("lstm", "ragged"))
