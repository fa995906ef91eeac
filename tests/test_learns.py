"""Do recurrent layers learn what they are for? Quick versions of the synthetic problems, each with a fixed seed."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.problems import IGNORED, Adding, Copy, Counting, Parity, Problem, Score
from benchmarks.synthetic import ReadOut, Settings, evaluate, train_steps


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learn(cell: str, problem: Problem, steps: int, hidden_size: int = 24, learning_rate: float = 0.01) -> Score:
    settings = Settings(steps=steps, minutes=None, hidden_size=hidden_size, learning_rate=learning_rate)
    model = ReadOut(cell, problem.input_size, hidden_size, problem.output_size, seed=0, engine="auto")
    train_steps(
        model,
        problem,
        settings,
        stop=lambda step: step >= steps,
        watch=lambda step: problem.solved(evaluate(model, problem)),
    )
    return evaluate(model, problem)


def test_gru_learns_to_copy_across_ten_steps() -> None:
    problem = Copy(delay=10, symbols=3)
    score = learn("gru_reset_after", problem, steps=800, hidden_size=48)
    assert score.accuracy is not None and score.accuracy > 0.9  # 1/8 by chance


def test_lstm_learns_to_add_across_twenty_steps() -> None:
    assert learn("lstm", Adding(steps=20), steps=1500).loss < 0.02  # 0.167 by chance


def test_rnn_learns_parity() -> None:
    score = learn("rnn", Parity(steps=8), steps=1500)
    assert score.accuracy is not None and score.accuracy > 0.99  # 0.5 by chance


def test_lstm_learns_to_count_a_to_the_n_b_to_the_n() -> None:
    problem = Counting(largest=6)
    assert learn("lstm", problem, steps=1500).accuracy == 1.0


def test_memoryless_layer_does_not_learn_parity() -> None:
    """The threshold above can fail: a unit that cannot see the past stays at chance."""

    class Memoryless(ReadOut):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
            batch, steps, size = x.shape
            return super().forward(x.reshape(batch * steps, 1, size)).reshape(batch, steps, -1)

    problem = Parity(steps=8)
    model = Memoryless("rnn", 1, 24, 2, seed=0, engine="auto")
    train_steps(model, problem, Settings(), stop=lambda step: step >= 100, watch=lambda step: False)
    accuracy = evaluate(model, problem).accuracy
    assert accuracy is not None and accuracy < 0.8  # the first step alone can be known


def test_chance_of_copy_is_that_of_guessing_every_symbol() -> None:
    problem = Copy(delay=30)
    batch = problem.batch(64, torch.Generator().manual_seed(0))
    outputs = torch.full((64, 50, 9), -30.0)
    outputs[:, :40, 8] = 30.0  # blanks are certain
    outputs[:, 40:, :8] = 0.0  # symbols are uniform
    assert problem.score(outputs, batch).loss == pytest.approx(problem.chance, rel=1e-5)
    assert problem.chance == pytest.approx(10 * math.log(8) / 50)


def test_chance_of_adding_is_the_error_of_answering_one() -> None:
    batch = Adding(steps=20).batch(20_000, torch.Generator().manual_seed(0))
    assert Adding().loss(torch.ones(20_000, 1, 1), batch).item() == pytest.approx(1 / 6, rel=0.03)


def test_chance_of_counting_is_the_best_constant_answer() -> None:
    problem = Counting(largest=9)
    batch = problem.every()
    share = (batch.target == 2).sum() / (batch.target != IGNORED).sum()
    outputs = torch.tensor([-30.0, torch.log(1 - share), torch.log(share)]).expand(*batch.target.shape, 3)
    assert problem.loss(outputs, batch).item() == pytest.approx(problem.chance, rel=1e-5)


def test_targets_follow_from_the_inputs() -> None:
    generator = torch.Generator().manual_seed(3)
    copy = Copy(delay=5, symbols=4).batch(6, generator)
    assert torch.equal(copy.x[:, :4].argmax(-1), copy.target[:, -4:])
    assert (copy.x[:, 8].argmax(-1) == 9).all()
    adding = Adding(steps=12).batch(6, generator)
    assert torch.allclose((adding.x[..., 0] * adding.x[..., 1]).sum(1), adding.target)
    assert (adding.x[:, :6, 1].sum(1) == 1).all() and (adding.x[:, 6:, 1].sum(1) == 1).all()
    parity = Parity(steps=9).batch(6, generator)
    assert parity.target[2, 5].item() == int((parity.x[2, :6, 0] > 0).sum()) % 2
    words = Counting().words(torch.tensor([1, 3]))
    assert words.lengths is not None and words.lengths.tolist() == [2, 6]
    assert words.target.tolist() == [[IGNORED, 2] + 4 * [IGNORED], 3 * [IGNORED] + [1, 1, 2]]
