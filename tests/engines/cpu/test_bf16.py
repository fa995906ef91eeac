"""Products of bfloat16: how far from exact they are, who chooses them, and mistakes that the contract must see.

Error. A factor is rounded by at most u = 2^-9 of itself, so a product of two errs by 2 u, and a sum of n of them by
less than 2 u of its own deviation where roundings are independent, however many its terms. A step adds one such error,
and a gated cell carries it on without enlarging it: after T steps 2 u sqrt(T), which is 1.9e-2 for T = 23. Gradients
are sums over steps of products of two values that err so: twice that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import elman
from elman.architectures import LanguageModel
from elman.engines import ENGINES, choose
from elman.engines.cpu import CpuEngine
from elman.engines.reference import Array, ReferenceEngine, to_bf16
from elman.errors import UsageError
from elman.plans.native import available
from tests.cases import Case
from tests.engines.cpu.test_contract import big, gradients, of_reference, single
from tests.oracles import relative_error
from tests.test_contract import FLOAT32, Run, assert_close

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

ROUNDOFF = 2.0**-9
STEPS = 23


def autocast(dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    return torch.autocast("cpu", dtype=dtype)


# ---- Numbers of bfloat16


def test_rounding_of_the_reference_is_that_of_torch() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal(4000).astype(np.float32) * np.float32(2.0) ** random.integers(-100, 100, 4000)
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 0.0, 3.0], np.float32)
    for x in (values, ties):
        assert np.array_equal(to_bf16(x), torch.from_numpy(x).bfloat16().double().numpy())


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after", "mgu", "min_gru", "lstm_projected"])
def test_values_and_gradients_are_near_exact_ones(name: str) -> None:
    values = big(name, steps=STEPS)
    exact, found = gradients(ENGINES["reference"], values), gradients(CpuEngine(precision="bf16"), values)
    for key, value in exact.items():
        bound = 2 * ROUNDOFF * STEPS**0.5 * (2 if key.startswith("d ") else 1)
        error = relative_error(found[key], value)
        assert error <= bound, f"{key}: relative error {error:.1e}"


def test_what_is_no_product_stays_float32() -> None:
    """A cell without products agrees to float32; in bfloat16 its sum would stand still long before 300."""
    cell = elman.Cell("h = h<t-1> + w * x\nsize: x = H")
    weights, x = {"w": torch.full((3,), 1.001)}, torch.full((1, 300, 3), 1.0)
    y, _ = CpuEngine(precision="bf16").run(cell, weights, x, None, {"h": torch.zeros(1, 3)}, {}, False)
    torch.testing.assert_close(y[0, -1], torch.full((3,), 300.3), rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_so(value: float) -> None:
    layer = elman.Recurrent("rnn_relu", 3, 40, precision="bf16", seed=0)
    x = torch.randn(5, 4, 3)
    x[2, 1, 0] = value
    y, _ = layer(x)
    assert torch.isfinite(y[[0, 1, 3, 4]]).all() and torch.isfinite(y[2, 0]).all()
    assert not torch.isfinite(y[2, 1]).all()


def test_pieces_without_gradients_give_the_bits_of_the_whole() -> None:
    cell, weights, x, _, state = big("gru", rows=40, steps=40)
    engine = CpuEngine(precision="bf16")
    with torch.no_grad():
        y, final = engine.run(cell, weights, x, None, state, {}, False)
        first, middle = engine.run(cell, weights, x[:, :17], None, state, {}, False)
        second, last = engine.run(cell, weights, x[:, 17:], None, middle, {}, False)
    assert torch.equal(torch.cat([first, second], 1), y) and torch.equal(last["c"], final["c"])


# ---- Mistakes that the contract must see


def truncated(x: Array) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.trunc(np.ldexp(mantissa, 8)), exponent - 8))


def away_from_even(x: Array) -> Array:
    mantissa, exponent = np.frexp(x)
    scaled = np.ldexp(mantissa, 8)
    return np.asarray(np.ldexp(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5), exponent - 8))


def seven_bits(x: Array) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, 7)), exponent - 7))


@pytest.mark.parametrize("rounding", [None, truncated, seven_bits])
@pytest.mark.parametrize("name", ["gru", "lstm", "rnn"])
def test_the_contract_rejects_another_rounding(name: str, rounding: Callable[[Array], Array] | None) -> None:
    case = Case(name, "odd")
    wrong = ReferenceEngine("bf16")
    wrong._rounding = rounding
    run = Run(case)
    found = run.found(run.whole(wrong))
    for key, value in of_reference(case, False, "bf16").items():
        with pytest.raises(AssertionError):
            assert_close({key: found[key]}, {key: value}, FLOAT32, floor=1.0)


def test_the_contract_rejects_ties_rounded_away_from_even() -> None:
    """Weights, inputs and states of three numbers each, every second one in the middle between two of bfloat16."""
    cell = elman.cells["rnn"]
    weights = {"W_h": torch.tensor([[1 + 2.0**-8]]), "W_x": torch.tensor([[1.0]]), "b": torch.zeros(1)}
    weights = {name: weights.get(name, torch.ones(shape)) for name, shape in cell.parameters(1, 1).items()}
    x, state = torch.full((1, 3, 1), 0.25 * (1 + 2.0**-8)), {s: torch.zeros(1, 1) for s in cell.states}
    found = {}
    for rounding in (to_bf16, away_from_even):
        engine = ReferenceEngine("bf16")
        engine._rounding = rounding
        found[rounding] = engine.run(cell, weights, x, None, state, {}, False)[0]
    y, _ = CpuEngine(precision="bf16").run(cell, weights, x, None, state, {}, False)
    assert relative_error(y, found[to_bf16]) <= FLOAT32 < relative_error(y, found[away_from_even])


class _Unrounded(CpuEngine):
    """Right forwards, but the way back multiplies with factors that nobody rounded."""

    def run(self, cell, weights, x, lengths, state, masks, reverse):  # type: ignore[no-untyped-def]
        y, final = CpuEngine(precision="bf16").run(cell, weights, x, lengths, state, masks, reverse)
        exact, exact_final = CpuEngine().run(cell, weights, x, lengths, state, masks, reverse)
        return exact + (y - exact).detach(), {s: v + (final[s] - v).detach() for s, v in exact_final.items()}


def test_the_contract_rejects_a_way_back_in_float32() -> None:
    case = Case("gru", "odd")
    run = single(case)
    found, wanted = run.found(run.whole(_Unrounded())), of_reference(case, False, "bf16")
    assert_close({"y": found["y"]}, {"y": wanted["y"]}, FLOAT32, floor=1.0)
    for key in ("d x", "d c before", "d W_r"):
        assert relative_error(found[key], wanted[key], 1.0) > FLOAT32


# ---- Who chooses


def test_it_is_never_chosen_silently() -> None:
    assert elman.Recurrent("gru", 2, 3).engine == "cpu"
    assert elman.Recurrent("gru", 2, 3, precision="bf16").engine == "cpu-bf16"


@pytest.mark.parametrize("make", [elman.Recurrent, elman.Stack.of, elman.Bidirectional.of])
def test_layers_hand_it_on(make: Callable[..., torch.nn.Module]) -> None:
    x, lengths = torch.randn(3, 7, 5), [7, 2, 4]
    exact, half = make("lstm", 5, 6, seed=0), make("lstm", 5, 6, seed=0, precision="bf16")
    assert half.engine == "cpu-bf16"
    y, found = exact(x, lengths)[0], half(x, lengths)[0]
    assert found.dtype == torch.float32 and 0 < relative_error(found.detach(), y.detach()) < 2e-2


def test_a_language_model_hands_it_on() -> None:
    model = LanguageModel(11, "gru", 2, 8, 4, precision="bf16")
    assert model.engine == "cpu-bf16" and "cpu-bf16" in repr(model)


@pytest.mark.parametrize("name", ["auto", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_asks_for_it(name: str, dtype: torch.dtype) -> None:
    layer = elman.Recurrent("lstm", 3, 40, engine=name, seed=0)
    asked = elman.Recurrent("lstm", 3, 40, precision="bf16", seed=0)
    x = torch.randn(2, 5, 3).to(dtype).requires_grad_()
    with autocast():
        assert layer.engine == "cpu-bf16"
        y, state = layer(x)
        again, _ = layer(x, state=state)
    (y.sum() + again.sum()).backward()
    wanted, after = asked(x.detach().float())
    assert torch.equal(y, wanted) and torch.equal(state.c, after.c) and y.dtype == torch.float32
    assert x.grad is not None and x.grad.dtype == dtype
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    assert layer.engine == name.replace("auto", "cpu")


def test_steps_under_autocast_are_those_of_the_whole() -> None:
    layer, x = elman.Recurrent("gru", 3, 40, seed=0).eval(), torch.randn(2, 5, 3)
    with autocast(), torch.no_grad():
        y, _ = layer(x)
        state, steps = None, []
        for t in range(5):
            out, state = layer.step(x[:, t], state)
            steps.append(out)
    assert torch.equal(torch.stack(steps, 1), y)


def test_other_types_are_left_to_torch() -> None:
    layer = elman.Recurrent("gru", 2, 3)
    with autocast(torch.float16):
        assert layer.engine == "torch-schedule"
    with autocast():
        assert layer.double().engine == "torch-schedule"
        assert layer.bfloat16().engine == "torch-schedule"


@pytest.mark.parametrize("name", ["reference", "torch", "torch-schedule", "torch-fused"])
def test_engines_that_do_not_do_it_say_so(name: str) -> None:
    with pytest.raises(UsageError, match="precision 'bf16': must be done by engine 'cpu'"):
        elman.Recurrent("gru_reset_after", 2, 3, engine=name, precision="bf16")


def test_it_needs_parameters_of_float32() -> None:
    layer = elman.Recurrent("gru", 2, 3, precision="bf16").double()
    with pytest.raises(UsageError, match=r"parameters must be float32 on the CPU; got torch\.float64 on cpu"):
        layer(torch.zeros(1, 2, 2, dtype=torch.float64))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="precision: must be one of float32, bf16; got 'bf61'"):
        choose("auto", elman.cells["gru"], precision="bf61")
