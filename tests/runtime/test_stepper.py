"""The stepper against the model in torch: every cell, target and precision; streams in company; refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from elman.architectures import LanguageModel
from elman.cells import cells
from elman.decoding import Choice, generate
from elman.errors import DivergedError, ShapeError, UsageError
from elman.plans.native import available, engine
from elman.runtime.layer import Layer
from elman.runtime.stepper import PRECISIONS, TABLE_BYTES, Stepper, draws_of
from tests.cases import STRANGE
from tests.runtime.models import arrays_of, model_of, stepper_of, tokens_of

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

TARGETS = engine.targets() if available() else []
LENGTHS = [9, 3, 5, 1, 9]


def fitting(name: str) -> tuple[int, int]:
    """Embedding and hidden size for a cell: some cells add input and state, so theirs agree."""
    cell = cells[name]
    try:
        cell.check_sizes(5, 37, dict.fromkeys(cell.free_sizes, 5))
    except ShapeError:
        return 37, 37
    return 5, 37


def logits_in_torch(model: LanguageModel, tokens: np.ndarray) -> np.ndarray:
    """Logits (B, T, V)."""
    with torch.no_grad():
        logits: np.ndarray = model(torch.from_numpy(tokens))[0].numpy()
    return logits


@pytest.mark.parametrize("name", cells)
def test_every_cell_reads_as_in_torch(name: str) -> None:
    """Two threads, streams of different lengths, a hidden size that fills no vector."""
    embedding, hidden = fitting(name)
    model = model_of(name, 11, embedding, hidden, 1)
    tokens = tokens_of(11, 5, 9)
    wanted = logits_in_torch(model, tokens)[np.arange(5), np.array(LENGTHS) - 1]
    for target in TARGETS:
        logits, _ = stepper_of(model, target=target, threads=2).read(tokens, None, LENGTHS)
        assert np.abs(logits - wanted).max() <= 2e-5 * np.abs(wanted).max(), target


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("table_bytes", [0, 3_000, TABLE_BYTES])
@pytest.mark.parametrize("one_hot", [False, True])
def test_strange_cells_read_as_whole_sequences(
    name: str, table_bytes: int, one_hot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three threads, two layers, a table of tokens without room, with room for some and for all, and what it is of."""
    monkeypatch.setattr("elman.runtime.stepper.TABLE_BYTES", table_bytes)
    random, cell = np.random.default_rng(2), STRANGE[name]
    embedding = None if one_hot else random.standard_normal((11, 7)).astype(np.float32)
    vectors = np.eye(11, dtype=np.float32) if embedding is None else embedding
    layers = [
        Layer(cell, width, 70, {n: random.standard_normal(s).astype(np.float32) / 8 for n, s in shapes.items()})
        for width in (vectors.shape[1], 70)
        if (shapes := cell.parameters(width, 70))
    ]
    head, tokens = random.standard_normal((11, 70)).astype(np.float32), tokens_of(11, 5, 9)
    y, wanted = vectors[tokens], []
    for layer in layers:
        y, state = layer.run(y, np.array(LENGTHS))
        wanted.append(state)
    stepper = Stepper(layers, head, None, embedding, threads=3)
    for _ in range(2):  # the second time tokens are known
        logits, found = stepper.read(tokens, None, LENGTHS)
        np.testing.assert_allclose(logits, y[np.arange(5), np.array(LENGTHS) - 1] @ head.T, atol=2e-5)
        for mine, theirs in zip(found, wanted, strict=True):
            for state_name, value in mine.items():
                np.testing.assert_allclose(value, theirs[state_name], atol=1e-5, err_msg=state_name)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("options", [{}, {"residual": True}, {"tied": True}], ids=["plain", "residual", "tied"])
def test_stacks_read_as_in_torch(target: str, options: dict[str, bool]) -> None:
    model = model_of("lstm_layer_norm", 70, 33, 33, 3, **options)
    tokens = tokens_of(70, 40, 6)
    wanted = logits_in_torch(model, tokens)[:, -1]
    logits, state = stepper_of(model, target=target).read(tokens)
    assert np.abs(logits - wanted).max() <= 2e-5 * np.abs(wanted).max()
    with torch.no_grad():
        _, after = model(torch.from_numpy(tokens))
    for layer, in_torch in zip(state, after, strict=True):
        for s, value in layer.items():
            np.testing.assert_allclose(value, in_torch[s].numpy(), atol=1e-5)


def test_one_hot_input_and_a_head_without_bias() -> None:
    cell = cells["gru"]
    model = model_of(cell, 13, 0, 20, 2)
    arrays = arrays_of(model) | {"bias": None}
    with torch.no_grad():
        model.head.bias.zero_()
    tokens = tokens_of(13, 3, 7)
    logits, _ = Stepper(**arrays).read(tokens)
    np.testing.assert_allclose(logits, logits_in_torch(model, tokens)[:, -1], atol=2e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stream_gets_the_same_bits_in_any_company(precision: str) -> None:
    """Alone, among 40, in pieces, with one thread and with three, and with every token's row already in the table."""
    model = model_of("lstm", 29, 12, 65, 2)
    tokens = tokens_of(29, 40, 9)
    whole, state = stepper_of(model, precision=precision, threads=1).read(tokens)
    other = stepper_of(model, precision=precision, threads=3)
    for b in (0, 17, 39):
        assert np.array_equal(other.read(tokens[b : b + 1])[0], whole[b : b + 1])
    logits, middle = other.read(tokens[:, :4])
    logits, after = other.read(tokens[:, 4:], middle)
    assert np.array_equal(logits, whole)
    assert all(np.array_equal(a[s], b[s]) for a, b in zip(after, state, strict=True) for s in a)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_targets_agree(precision: str) -> None:
    """Whole numbers add up to the same on every target; what remains is rounding of pointwise operations."""
    model = model_of("gru", 40, 24, 70, 2)
    tokens = tokens_of(40, 7, 5)
    found = [stepper_of(model, precision=precision, target=target).read(tokens)[0] for target in TARGETS]
    for logits in found[1:]:
        # A rounding in front of an int8 operand may move it by one in 65,535.
        np.testing.assert_allclose(logits, found[0], atol=3e-4 if precision == "int8" else 2e-5)


def rounded(weight: np.ndarray, precision: str) -> np.ndarray:
    """Round as the documentation says: to bfloat16, or to 127 steps of each row's largest."""
    if precision == "bf16":
        return torch.from_numpy(weight).bfloat16().float().numpy()
    scale = np.abs(weight).max(axis=1, keepdims=True) / 127
    return (np.round(weight / scale) * scale).astype(np.float32)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_narrow_weights_are_the_rounded_ones(precision: str) -> None:
    """The same model with rounded weights, in torch in float32: the difference is what sums and operands lose."""
    model = model_of("rnn", 30, 16, 48, 2)
    tokens = tokens_of(30, 4, 12)
    narrow, _ = stepper_of(model, precision=precision).read(tokens)
    exact = logits_in_torch(model, tokens)[:, -1]
    with torch.no_grad():
        for layer in model.recurrent.layers:
            for name, weight in layer.weights.items():
                # The first layer's matrix for the input, of 16 columns, stays as it is.
                if weight.dim() == 2 and weight.shape[1] == 48:
                    layer.weights[name] = torch.from_numpy(rounded(weight.numpy(), precision))
        model.head.weight.copy_(torch.from_numpy(rounded(model.head.weight.numpy(), precision)))
    wanted = logits_in_torch(model, tokens)[:, -1]
    assert np.abs(narrow - wanted).max() <= 2e-4
    assert np.abs(narrow - exact).max() >= 2e-3


CHOICES = [
    Choice(),
    Choice(0.7),
    Choice(1.3, top_k=7),
    Choice(1.0, top_p=0.6),
    Choice(0.9, 20, 0.8),
    Choice(greedy=True),
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_same_seed_writes_the_same_text_as_the_reference(choice: Choice) -> None:
    model = model_of("lstm", 65, 32, 96, 2)
    with torch.no_grad():
        wanted = generate(model.step, None, [3, 5, 7], 200, samples=3, seed=5, choice=choice)
    stepper = stepper_of(model)
    assert stepper.generate([3, 5, 7], 200, samples=3, seed=5, choice=choice) == wanted
    assert stepper.generate([3, 5, 7], 200, seed=5, choice=choice) == wanted[:1]
    assert len({tuple(text) for text in wanted}) == (1 if choice.greedy else 3)


def test_a_finished_sample_stops_and_a_forbidden_token_is_not_written() -> None:
    model = model_of("gru", 12, 8, 16, 1)

    def step(tokens: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        logits, after = model.step(tokens, state)
        logits[:, 4] = -torch.inf
        return logits, after

    def finished(tokens: list[int]) -> bool:
        return tokens[-1] == 2

    with torch.no_grad():
        wanted = generate(step, None, [1], 500, samples=6, seed=2, finished=finished)
    got = stepper_of(model).generate([1], 500, samples=6, seed=2, finished=finished, never=4)
    assert got == wanted
    assert all(text.count(2) == 1 and 4 not in text for text in got)


def test_callers_at_once_get_what_they_get_alone() -> None:
    """Four threads of Python on one stepper, whose table of tokens they fill together."""
    model = model_of("lstm", 200, 16, 40, 2)
    alone = [stepper_of(model).generate([seed], 60, samples=3, seed=seed) for seed in range(4)]
    shared = stepper_of(model, threads=2)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda seed: shared.generate([seed], 60, samples=3, seed=seed), range(4))
        assert list(found) == alone


def test_draws_are_those_of_torch() -> None:
    from elman.randomness import generator

    draws = draws_of(2**62 + 5, 3)
    for i in range(3):
        wanted = torch.rand(1000, generator=generator(2**62 + 5, "sample", i), dtype=torch.float64)
        assert draws.next(i, 1000) == wanted.tolist()


def test_log_probabilities_are_those_of_the_softmax() -> None:
    model = model_of("lstm", 50, 16, 40, 2)
    tokens = tokens_of(50, 5, 10)
    inputs, wanted = tokens[:, :-1], tokens[:, 1:].copy()
    wanted[2, 3] = -1
    in_torch = torch.log_softmax(torch.from_numpy(logits_in_torch(model, inputs)).double(), dim=2)
    there = in_torch.gather(2, torch.from_numpy(wanted).clamp(min=0).unsqueeze(2)).squeeze(2).numpy()
    found, _ = stepper_of(model).log_probabilities(inputs, wanted, None, LENGTHS)
    for b, length in enumerate(LENGTHS):
        inside = wanted[b, :length] >= 0
        np.testing.assert_allclose(found[b, :length][inside], there[b, :length][inside], atol=1e-5)
        assert not found[b, length:].any()
    assert found[2, 3] == 0


@pytest.mark.parametrize(("together", "piece"), [(32, 4096), (3, 4), (2, 1)])
def test_what_follows_in_many_sequences_is_what_follows_in_each(
    monkeypatch: pytest.MonkeyPatch, together: int, piece: int
) -> None:
    monkeypatch.setattr("elman.runtime.stepper._TOGETHER", together)
    monkeypatch.setattr("elman.runtime.stepper._PIECE", piece)
    model = model_of("gru", 20, 8, 16, 1)
    sequences = [tokens_of(20, 1, length)[0].tolist() for length in (5, 1, 2, 9, 3, 2, 13, 8, 5)]
    found = stepper_of(model).following(sequences)
    for tokens, logs in zip(sequences, found, strict=True):
        if len(tokens) == 1:
            assert logs == []
            continue
        in_torch = torch.log_softmax(torch.from_numpy(logits_in_torch(model, np.array([tokens[:-1]]))).double(), dim=2)
        np.testing.assert_allclose(logs, in_torch[0].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0], atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["layers", "head", "bias", "embedding"])
def test_weights_that_are_no_numbers_are_refused(precision: str, value: float, where: str) -> None:
    arrays = arrays_of(model_of("gru", 12, 8, 16, 1))
    weight = next(iter(arrays["layers"][0].weights.values())) if where == "layers" else arrays[where]
    weight.flat[-1] = value
    with pytest.raises(DivergedError, match=f"{'layer 0: W' if where == 'layers' else where}.*; got {value}"):
        Stepper(**arrays, precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("stream", [0, 1])
def test_logits_that_are_no_numbers_are_refused(precision: str, stream: int) -> None:
    stepper = stepper_of(model_of("rnn", 12, 8, 16, 1), precision=precision)
    state = stepper.initial_state(3)
    state[0]["h"][stream, 5] = np.nan
    with pytest.raises(DivergedError, match=f"stream {stream}"):
        stepper.log_probabilities([[1], [1], [1]], [[1], [1], [1]], state)
    logits, _ = stepper.read([[1], [2]])
    logits[stream, 3] = np.nan
    with pytest.raises(DivergedError, match=f"stream {stream}"):
        stepper.write(logits, stepper.initial_state(2), 1, draws_of(0, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros((2, 11), np.float32)}, "logits: must have shape (B, V) with V = 12; got (2, 11)"),
        ({"logits": np.zeros(12, np.float32)}, "logits: must have shape (B, V) with V = 12; got (12,)"),
        ({"length": 0}, "length: must be at least 1; got 0"),
        ({"never": 12}, "never: must be a token from 0 to 11; got 12"),
        ({"draws": 3}, "draws: must be 2 streams; got 3"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_written(change: dict[str, Any], message: str) -> None:
    stepper = stepper_of(model_of("rnn", 12, 8, 16, 1))
    given = {"logits": np.zeros((2, 12), np.float32), "length": 1, "draws": 2, "never": None} | change
    draws, state = draws_of(0, given["draws"]), stepper.initial_state(2)
    with pytest.raises(ShapeError) as caught:
        stepper.write(given["logits"], state, given["length"], draws, never=given["never"])
    assert caught.value.message == message


def test_more_tokens_than_there_are_may_be_drawn_from() -> None:
    stepper = stepper_of(model_of("rnn", 12, 8, 16, 1))
    wanted = stepper.generate([1], 20, choice=Choice())
    assert stepper.generate([1], 20, choice=Choice(top_k=2**70)) == wanted


def test_a_table_without_room_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("lstm", 29, 12, 40, 1)
    tokens = tokens_of(29, 3, 30)
    wanted = stepper_of(model).read(tokens)[0]
    monkeypatch.setattr("elman.runtime.stepper.TABLE_BYTES", 5 * 4 * 64 * 4)
    small = stepper_of(model)
    assert np.array_equal(small.read(tokens)[0], wanted)
    assert np.array_equal(small.read(tokens)[0], wanted)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.read([[0, 12]]), "from 0 to 11; got 0 to 12"),
        (lambda s: s.read([[-1]]), "from 0 to 11; got -1"),
        (lambda s: s.read([0, 1]), r"shape \(B, T\)"),
        (lambda s: s.read([[0.5]]), "whole numbers"),
        (lambda s: s.read([[0, 1]], None, [3]), "from 1 to 2"),
        (lambda s: s.read([[0, 1]], s.initial_state(2)), "rnn: state must have shapes"),
        (lambda s: s.log_probabilities([[0, 1]], [[0]]), "shape of tokens"),
        (lambda s: s.log_probabilities([[0]], [[-2]]), "from -1 to 11"),
    ],
)
def test_arguments_that_do_not_fit(call: object, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        call(stepper_of(model_of("rnn", 12, 8, 16, 1)))  # type: ignore[operator]


def test_options_that_do_not_fit() -> None:
    arrays = arrays_of(model_of("rnn", 12, 8, 16, 1))
    with pytest.raises(UsageError, match="did you mean 'int8'"):
        Stepper(**arrays, precision="int9")
    with pytest.raises(UsageError, match="at least one token"):
        Stepper(**arrays).generate([], 3)
    with pytest.raises(UsageError, match="length and samples must be at least 1; got 3 and 0"):
        Stepper(**arrays).generate([1], 3, samples=0)
    stepper = Stepper(**arrays)
    logits, state = stepper.read([[1], [2]])
    with pytest.raises(ShapeError, match="must be 2 streams"):
        stepper.write(logits, state, 3, draws_of(0, 3))
