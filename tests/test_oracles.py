"""The oracles are right where the answer is known, agree with the catalogue, and reject planted wrong answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from elman.cells import cells
from elman.engines.reference import backward, forward
from elman.equations import Cell
from tests.cases import SIZES, Array, Case
from tests.oracles import (
    BY_HAND,
    FINITE_STEP,
    relative_error,
    rounding_bound,
    run_by_hand,
    slope_along,
    slopes,
)

WITNESSED = [Case(name, sizes) for name in BY_HAND for sizes in SIZES]
GRADIENT_TOLERANCE = 1e-6


def allowed(case: Case, weights: dict[str, Array]) -> float:
    """The rounding error of a run: sums as wide as the widest matrix, errors enlarged by the largest one."""
    matrices = [w for w in weights.values() if w.ndim == 2]
    norm = max(1.0, *(float(np.linalg.norm(w, 2)) for w in matrices))
    columns = max(w.shape[1] for w in matrices)
    return rounding_bound(case.sizes.steps * columns, "float64", growth=norm ** (case.sizes.steps - 1))


def distance(case: Case, cell: Cell, reverse: bool = False) -> float:
    """How far a cell, run by the reference engine, is from the witness of the case's name."""
    v, lengths = case.values(), case.sizes.lengths
    trace = forward(cell, v["weights"], v["x"]["x"], lengths, v["state"], {}, reverse)
    y, final = run_by_hand(BY_HAND[case.name], v["weights"], v["x"]["x"], lengths, v["state"], reverse)
    return max(relative_error(trace.y, y), *(relative_error(trace.final[s], final[s]) for s in final))


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("case", WITNESSED, ids=str)
def test_catalogue_equals_cells_written_by_hand(case: Case, reverse: bool) -> None:
    assert distance(case, case.cell, reverse) <= allowed(case, case.values()["weights"])


@pytest.mark.parametrize("name", BY_HAND)
def test_derived_backward_equals_slopes_of_cells_written_by_hand(name: str) -> None:
    """From the paper to the gradient without the parser, the derivative table or the schedule."""
    case = Case(name, "ragged")
    v, lengths = case.values(), case.sizes.lengths

    def loss() -> float:
        y, final = run_by_hand(BY_HAND[name], v["weights"], v["x"]["x"], lengths, v["state"])
        valid = np.arange(case.sizes.steps)[None, :] < np.array(lengths)[:, None]
        return float((y * v["loss"]["output"])[valid].sum() + sum((final[s] * v["loss"][s]).sum() for s in final))

    trace = forward(case.cell, v["weights"], v["x"]["x"], lengths, v["state"])
    found = backward(trace, v["loss"]["output"], {s: v["loss"][s] for s in v["state"]}, v["x"]["x"].shape)
    for kind, gradients in (("weights", found.weights), ("state", found.state), ("x", {"x": found.x})):
        for key, gradient in gradients.items():
            assert relative_error(gradient, slopes(loss, v[kind][key])) <= GRADIENT_TOLERANCE, f"{kind} {key}"


# One wrong letter each, such as happens in typing a cell. Every one keeps all shapes.
MISPRINTS = [
    ("rnn", "tanh", "sigmoid"),
    ("rnn", "W_h h<t-1> + W_x x", "W_h h<t-1> - W_x x"),
    ("rnn_relu", "W_h h", "W_h^T h"),
    ("gru", "W_c [r * c<t-1>, x]", "r * (W_c [c<t-1>, x])"),
    ("gru", "u * c~ + (1 - u) * c<t-1>", "(1 - u) * c~ + u * c<t-1>"),
    ("gru_no_update", "[r * c<t-1>, x]", "[(1 - r) * c<t-1>, x]"),
    ("gru_no_reset", "(1 - u)", "u"),
    ("gru_reset_after", "r * (R_n h<t-1> + b_hn)", "r * (R_n h<t-1>) + b_hn"),
    ("gru_reset_after", "(1 - z) * n + z * h<t-1>", "z * n + (1 - z) * h<t-1>"),
    ("gru_layer_norm", "layer_norm(W_z x)", "(W_z x)"),
    ("lstm", "tanh(c)", "tanh(c<t-1>)"),
    ("lstm", "f * c<t-1> + i * g", "i * c<t-1> + f * g"),
    ("lstm_notes", "W_o [c<t-1>, x]", "W_o [a<t-1>, x]"),
    ("lstm_original", "= c<t-1> + i", "= 0.99 * c<t-1> + i"),
    ("lstm_peephole", "p_o * c ", "p_o * c<t-1> "),
    ("lstm_peephole", "+ p_i * c<t-1>", "- p_i * c<t-1>"),
    ("lstm_coupled", "(1 - f) * g", "f * g"),
    ("lstm_projected", "V_h (o * tanh(c))", "V_h tanh(o * c)"),
    ("mgu", "(1 - f) * h<t-1> + f * h~", "f * h<t-1> + (1 - f) * h~"),
    ("rhn", "U_q m", "U_q s<t-1>"),
    ("min_gru", "W_h x + b_h", "tanh(W_h x + b_h)"),
    ("min_lstm", "f / (f + i) * h", "f * h"),
    ("indrnn", "relu(", "tanh("),
    ("sru", "r * c +", "r * c<t-1> +"),
    ("scrn", "W_p s ", "W_p s<t-1> "),
    ("antisymmetric_rnn", "- W_h^T", "+ W_h^T"),
    ("antisymmetric_rnn", "gamma   = 0.01", "gamma   = 0.011"),
    ("coRNN", "y<t-1> + dt * z", "y<t-1> + dt * z<t-1>"),
    ("coRNN", "- gamma", "+ gamma"),
]


@pytest.mark.parametrize(("name", "printed", "misprint"), MISPRINTS)
def test_a_misprint_in_an_equation_is_rejected(name: str, printed: str, misprint: str) -> None:
    cell, case = cells[name], Case(name, "ragged")
    assert printed in cell.text
    wrong = Cell(cell.text.replace(printed, misprint), output=cell.output)
    assert set(wrong.parameters(2, 3, case.declared)) == set(case.values()["weights"])
    assert distance(case, wrong) > 1e6 * allowed(case, case.values()["weights"])


def one_percent(v: Array) -> Array:
    return v * 1.01


def wrong_sign(v: Array) -> Array:
    return -v


def zeros(v: Array) -> Array:
    return np.zeros_like(v)


def transposed(v: Array) -> Array:
    return v.T


def one_entry(v: Array) -> Array:
    wrong = v.copy()
    wrong.flat[0] += 1e-5 * float(np.linalg.norm(v))
    return wrong


def exchanged_rows(v: Array) -> Array:
    return v[::-1]


def one_nan(v: Array) -> Array:
    wrong = v.copy()
    wrong.flat[-1] = np.nan
    return wrong


def one_row_for_all(v: Array) -> Array:
    return v[:1]


MUTANTS = [one_percent, wrong_sign, zeros, transposed, one_entry, exchanged_rows, one_nan, one_row_for_all]


@pytest.mark.parametrize("scale", [1e-1, 1.0, 1e3])
@pytest.mark.parametrize("mutant", MUTANTS)
def test_planted_wrong_gradients_are_rejected(mutant: Callable[[Array], Array], scale: float) -> None:
    right = scale * np.random.default_rng(0).standard_normal((4, 4))
    assert relative_error(right, right) == 0.0
    assert relative_error(mutant(right), right) > GRADIENT_TOLERANCE


@pytest.mark.parametrize("mutant", [one_percent, wrong_sign, zeros, transposed, exchanged_rows])
@pytest.mark.parametrize("matrix", ["W_h", "W_x"])
def test_a_wrong_gradient_is_seen_along_random_directions(matrix: str, mutant: Callable[[Array], Array]) -> None:
    case = Case("rnn", "square")
    v, lengths = case.values(), case.sizes.lengths

    def loss() -> float:
        y, _ = run_by_hand(BY_HAND["rnn"], v["weights"], v["x"]["x"], lengths, v["state"])
        return float((y * v["loss"]["output"]).sum())

    right = slopes(loss, v["weights"][matrix])
    direction = np.random.default_rng(1).standard_normal(right.shape)
    slope = slope_along(loss, v["weights"][matrix], direction)
    assert relative_error((right * direction).sum(), slope) <= GRADIENT_TOLERANCE
    assert relative_error((mutant(right) * direction).sum(), slope) > 1e3 * GRADIENT_TOLERANCE


def test_slopes_of_functions_with_known_derivatives() -> None:
    random = np.random.default_rng(2)
    A, v = random.standard_normal((5, 5)), random.standard_normal(5)
    # The rounding of central differences, eps |f| / h, is of the size of 1e-10 here.
    assert relative_error(slopes(lambda: float(v @ A @ v), v), (A + A.T) @ v) <= 1e-9
    assert relative_error(slopes(lambda: float(v @ A @ v), v), 2 * A @ v) > 1e-2
    assert relative_error(slopes(lambda: float(np.sin(v).sum()), v), np.cos(v)) <= 1e-9
    direction = random.standard_normal(5)
    assert slope_along(lambda: float(np.sin(v).sum()), v, direction) == pytest.approx(np.cos(v) @ direction, rel=1e-9)


def test_the_values_are_left_as_they_were() -> None:
    v = np.random.default_rng(3).standard_normal((3, 2))
    before = v.copy()
    slopes(lambda: float(np.exp(v).sum()), v)
    slope_along(lambda: float(np.exp(v).sum()), v, np.ones_like(v))
    np.testing.assert_array_equal(v, before)


def test_the_step_is_near_the_best_one() -> None:
    v = np.linspace(-2, 2, 101)
    errors = {
        step: relative_error(slopes(lambda: float(np.tanh(v).sum()), v, step), 1 - np.tanh(v) ** 2)
        for step in (1e-2, 1e-3, 1e-4, 1e-5, FINITE_STEP, 1e-6, 1e-7, 1e-8, 1e-9)
    }
    assert errors[FINITE_STEP] <= 20 * min(errors.values())
    assert errors[FINITE_STEP] < 1e-2 * min(errors[1e-2], errors[1e-9])


@pytest.mark.parametrize("terms", [1, 10, 100, 1000, 10_000])
def test_the_rounding_bound_holds_for_sums_and_is_not_idle(terms: int) -> None:
    random = np.random.default_rng(terms)
    a, b = random.standard_normal((2, 200, terms)).astype(np.float32)
    added = np.zeros(200, dtype=np.float32)
    for n in range(terms):
        added += a[:, n] * b[:, n]
    error = relative_error(added, (a.astype(np.float64) * b).sum(1))
    bound = rounding_bound(terms, "float32")
    assert error <= bound
    assert error >= bound / 200, "a bound that far above what happens would let mistakes pass"
