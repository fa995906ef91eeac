"""The loop: budgets, evaluation, early stopping, accumulation, clipping, carried state and bad numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.errors import DataError, DivergedError, UsageError
from elman.randomness import drawing
from elman.tensor_file import read_tensors
from elman.training import RunFolder, SilentReporter, TrainingConfig, train
from elman.training.gradients import StepOutcome, clip, take_step
from elman.training.loop import flushes_denormals, numerics
from elman.training.metrics_log import read_records
from elman.training.optimizers import make_optimizer
from elman.training.progress import StepReport
from elman.training.snapshot import restore_weights
from tests.training.tiny_problem import BATCHES, CONFIG, Tiny, TinyProblem, run_tiny


def kinds(run: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_records(run / "metrics.jsonl") if record["kind"] == kind]


def test_training_lowers_the_loss(quick_path: Path) -> None:
    problem = TinyProblem()
    with torch.no_grad():
        before = problem.evaluate()["loss"]
    result = run_tiny(quick_path / "run", problem=problem, steps=60, evaluate_every=20, checkpoint_every=60)
    assert result.best["loss"] < 0.7 * before


@pytest.mark.parametrize("norm", [None, 0.1])
def test_the_steps_of_a_run_are_those_of_a_plain_loop(quick_path: Path, norm: float | None) -> None:
    trained, plain = TinyProblem(), TinyProblem()
    changes = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.1, "clip_norm": norm}
    run_tiny(quick_path / "run", problem=trained, steps=7, log_every=1, evaluate_every=9, checkpoint_every=9, **changes)
    losses, carry = [], None
    for step in range(7):
        epoch, index = divmod(step, BATCHES)
        with drawing(0, "train", epoch, index):
            result = plain.loss(plain.batch(epoch, index), carry if index else None)
        weights = list(plain.model.parameters())
        slopes = torch.autograd.grad(result.loss, weights)
        length = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= 0.1 * slope * min(1.0, math.inf if norm is None else norm / length)
        carry = {name: value.detach() for name, value in (result.carry or {}).items()}
        losses.append(float(result.loss.detach()))
    for one, other in zip(trained.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert [record["loss"] for record in kinds(quick_path / "run", "train")] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize(
    ("budget", "steps", "reason"),
    [
        ({"steps": 7}, 7, "7 steps"),
        ({"steps": None, "epochs": 2}, 2 * BATCHES, "2 epochs"),
        ({"steps": 7, "epochs": 1}, BATCHES, "1 epoch"),
        ({"steps": 3, "epochs": 1}, 3, "3 steps"),
    ],
)
def test_the_first_budget_that_is_used_up_ends_training(
    quick_path: Path, budget: dict[str, Any], steps: int, reason: str
) -> None:
    result = run_tiny(quick_path / "run", checkpoint_every=50, **budget)
    assert (result.steps, result.reason) == (steps, reason)


def test_minutes_end_training_by_the_clock_and_a_resumed_part_counts_what_was_used(quick_path: Path) -> None:
    ticks = iter(range(10**6))
    config = TrainingConfig(**{**CONFIG, "steps": None, "minutes": 1.0, "checkpoint_every": 1, "evaluate_every": 1000})

    def clock() -> float:
        return float(next(ticks))

    with RunFolder.create(quick_path / "run", task="tiny", config={}, data={}) as run:
        first = train(TinyProblem(), config, run, clock=clock)
    assert first.seconds >= 60
    assert first.reason == "1 minute"
    with RunFolder.open(quick_path / "run") as run:
        again = train(TinyProblem(), config, run, resume=True, clock=clock)
    assert again.steps == first.steps


class Paced(SilentReporter):
    """A clock that every step moves on."""

    def __init__(self, seconds_a_step: float) -> None:
        super().__init__()
        self.now, self.seconds_a_step, self.reports = 0.0, seconds_a_step, list[StepReport]()

    def step(self, report: StepReport) -> None:
        self.now += self.seconds_a_step
        self.reports.append(report)


def test_the_time_that_is_left_is_told_at_the_rate_of_the_part_that_runs(quick_path: Path) -> None:
    def part(steps: int, run: RunFolder, resume: bool, seconds_a_step: float) -> list[StepReport]:
        config, paced = TrainingConfig(**{**CONFIG, "steps": steps}), Paced(seconds_a_step)
        train(TinyProblem(), config, run, resume=resume, reporter=paced, clock=lambda: paced.now)
        return paced.reports

    with RunFolder.create(quick_path / "run", task="tiny", config={}, data={}) as run:
        slow = part(10, run, resume=False, seconds_a_step=100.0)
    assert slow[4].seconds_left == pytest.approx(400)  # four steps of 100 s are the half of ten steps' budget
    with RunFolder.open(quick_path / "run") as run:
        fast = part(40, run, resume=True, seconds_a_step=1.0)
    assert fast[9].step == 20
    assert fast[9].seconds_left == pytest.approx(18)  # a third of the 30 that were left took 9 s


def test_evaluation_comes_every_n_steps_and_at_the_end(quick_path: Path) -> None:
    run_tiny(quick_path / "run", steps=7, evaluate_every=3)
    assert [record["step"] for record in kinds(quick_path / "run", "validation")] == [3, 6, 7]


def test_evaluation_comes_at_every_epoch_end_without_a_number(quick_path: Path) -> None:
    run_tiny(quick_path / "run", steps=12, evaluate_every=None)
    records = kinds(quick_path / "run", "validation")
    assert [(record["step"], record["epoch"]) for record in records] == [(5, 1.0), (10, 2.0), (12, 2.4)]


def test_the_logged_loss_is_the_mean_over_the_items_since_the_last_record(quick_path: Path) -> None:
    run_tiny(quick_path / "a", steps=6, log_every=1, evaluate_every=6)
    run_tiny(quick_path / "b", steps=6, log_every=3, evaluate_every=6)
    single = [record["loss"] for record in kinds(quick_path / "a", "train")]
    grouped = [record["loss"] for record in kinds(quick_path / "b", "train")]
    np.testing.assert_allclose(grouped, [np.mean(single[:3]), np.mean(single[3:])], rtol=1e-12)


class Scripted(TinyProblem):
    """A problem whose validation losses are given."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.script = list(losses)
        self.weights: list[torch.Tensor] = []

    def evaluate(self) -> dict[str, float]:
        assert not self.model.training
        assert not torch.is_grad_enabled()
        self.weights.append(self.model.state_dict()["W"].clone())
        return {"loss": self.script[len(self.weights) - 1], "accuracy": 0.5}


def test_early_stopping_waits_for_patience_and_the_best_weights_come_back(quick_path: Path) -> None:
    problem = Scripted([3.0, 1.0, 2.0, 1.5, 0.1])
    result = run_tiny(quick_path / "run", problem=problem, steps=100, evaluate_every=1, patience=2, keep=1)
    assert result.steps == 4
    assert "2 evaluations" in result.reason
    assert (result.best_step, result.best, result.last) == (
        2,
        {"loss": 1.0, "accuracy": 0.5},
        {"loss": 1.5, "accuracy": 0.5},
    )
    assert torch.equal(problem.model.state_dict()["W"], problem.weights[1])
    saved = Tiny()
    restore_weights(quick_path / "run", saved)
    assert torch.equal(saved.W, problem.weights[1])


def test_a_resumed_run_tells_the_metrics_of_its_end_and_not_those_of_its_best_step(quick_path: Path) -> None:
    run_tiny(quick_path / "run", problem=Scripted([1.0, 3.0]), steps=2, evaluate_every=1, checkpoint_every=1)
    last = {"loss": 3.0, "accuracy": 0.5}
    result = run_tiny(quick_path / "run", resume=True, problem=Scripted([]), steps=2)
    assert (result.best["loss"], result.last) == (1.0, last)
    (quick_path / "run/checkpoints/step-000000001/model.safetensors").write_bytes(b"damaged")
    result = run_tiny(quick_path / "run", resume=True, problem=Scripted([]), steps=2)
    assert (result.best_step, result.best) == (2, last)


def test_averaging_without_a_trigger_begins_with_the_first_step(quick_path: Path) -> None:
    """At once means that the mean is over all steps, not over those since the first evaluation."""
    problem = TinyProblem()
    kept: list[torch.Tensor] = []

    def keep(model: torch.nn.Module, _inputs: Any) -> None:
        if model.training:
            kept.append(model.state_dict()["W"].clone())

    problem.model.register_forward_pre_hook(keep)
    run_tiny(quick_path / "run", problem=problem, steps=4, evaluate_every=9, optimizer="asgd", average_trigger=0)
    tensors = read_tensors(quick_path / "run/checkpoints/step-000000004/optimizer.safetensors")
    weights = [*kept[1:], tensors["average/W"]]  # a checkpoint holds the average in place of the weight
    torch.testing.assert_close(problem.model.state_dict()["W"], torch.stack(weights).mean(dim=0))


def test_a_validation_loss_that_is_not_a_number_is_null_with_a_reason_and_never_best(quick_path: Path) -> None:
    result = run_tiny(
        quick_path / "run", problem=Scripted([2.0, math.nan, math.inf]), steps=3, evaluate_every=1, checkpoint_every=9
    )
    assert result.best_step == 1
    records = kinds(quick_path / "run", "validation")
    assert [(record["loss"], record.get("loss_reason")) for record in records] == [
        (2.0, None),
        (None, "nan"),
        (None, "inf"),
    ]


def test_step_schedule_on_validation_decays_once_for_every_worse_evaluation(quick_path: Path) -> None:
    run_tiny(
        quick_path / "run",
        problem=Scripted([3.0, 4.0, 2.0, 2.5, 2.4]),
        steps=5,
        evaluate_every=1,
        log_every=1,
        schedule="step",
        decay_factor=0.5,
        learning_rate=0.8,
    )
    rates = [record["learning_rate"] for record in kinds(quick_path / "run", "train")]
    assert rates == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_carried_state_begins_empty_in_every_epoch(quick_path: Path) -> None:
    problem = TinyProblem()
    run_tiny(quick_path / "run", problem=problem, steps=12)
    assert problem.carries == [index % BATCHES != 0 for index in range(12)]


def gradients(problem: TinyProblem, config: TrainingConfig, batches: range) -> dict[str, np.ndarray]:
    """Mean gradient of some batches of epoch 0 by torch's autograd, without the loop."""
    total: dict[str, np.ndarray] = {}
    carry = None
    for index in batches:
        problem.model.zero_grad()
        with drawing(config.seed, "train", 0, index):
            result = problem.loss(problem.batch(0, index), carry)
        result.loss.backward()
        carry = {name: value.detach() for name, value in (result.carry or {}).items()}
        for name, parameter in problem.model.named_parameters():
            assert parameter.grad is not None
            total[name] = total.get(name, 0) + parameter.grad.numpy() / len(batches)
    return total


def test_accumulation_takes_the_mean_gradient_of_its_batches() -> None:
    config = TrainingConfig(optimizer="sgd", learning_rate=0.5, accumulate=3, clip_norm=None)
    wanted = gradients(TinyProblem(), config, range(3))
    problem = TinyProblem()
    before = {name: value.numpy().copy() for name, value in problem.model.state_dict().items()}
    outcome = take_step(problem, config, make_optimizer(problem.model, config), 0, range(3), None)
    for name, value in problem.model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), before[name] - 0.5 * wanted[name], rtol=1e-5, atol=1e-7)
    norm = math.sqrt(sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in wanted.values()))
    assert outcome.gradient_norm == pytest.approx(norm, rel=1e-5)
    assert outcome.items == 18


def test_the_last_step_of_an_epoch_takes_the_batches_that_are_left(quick_path: Path) -> None:
    problem = TinyProblem()
    result = run_tiny(quick_path / "run", problem=problem, steps=None, epochs=1, accumulate=2, evaluate_every=None)
    assert result.steps == 3
    assert len(problem.carries) == BATCHES


def test_clipping_cuts_entries_first_and_then_scales_to_the_norm() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[30.0, -4.0]])
    clip(model, TrainingConfig(clip_value=6.0, clip_norm=None), 30.3)
    assert model.weight.grad.tolist() == [[6.0, -4.0]]
    model.weight.grad = torch.tensor([[30.0, -4.0]])
    clip(model, TrainingConfig(clip_value=3.0, clip_norm=1.0), 30.3)
    np.testing.assert_allclose(model.weight.grad.numpy(), [[math.sqrt(0.5), -math.sqrt(0.5)]], rtol=1e-5)
    model.weight.grad = torch.tensor([[0.3, -0.4]])
    clip(model, TrainingConfig(clip_norm=1.0), 0.5)
    assert model.weight.grad.tolist() == [[pytest.approx(0.3), pytest.approx(-0.4)]]


def poison(bad: set[tuple[int, int]], factor: float) -> TinyProblem:
    return TinyProblem(poison=lambda epoch, index: factor if (epoch, index) in bad else 1.0)


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e38])
def test_a_bad_step_is_skipped_counted_and_told(quick_path: Path, factor: float) -> None:
    reporter = SilentReporter()
    config = TrainingConfig(**{**CONFIG, "steps": 4, "log_every": 1})
    with RunFolder.create(quick_path / "run", task="tiny", config={}, data={}) as run:
        result = train(poison({(0, 2)}, factor), config, run, reporter=reporter)
    assert result.skipped == 1
    [warning] = reporter.warnings
    assert "step 3" in warning
    assert "2 of epoch 0" in warning
    assert [record["skipped"] for record in kinds(quick_path / "run", "train")] == [0, 0, 1, 1]


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e38])
def test_a_skipped_step_changes_neither_weights_nor_moments_nor_carried_state(quick_path: Path, factor: float) -> None:
    run_tiny(quick_path / "run", problem=poison({(0, 2)}, factor), steps=4, keep=9)
    step2, step3 = (quick_path / f"run/checkpoints/step-{step:09d}" for step in (2, 3))
    for name in ("model.safetensors", "optimizer.safetensors", "carry.safetensors"):
        assert (step2 / name).read_bytes() == (step3 / name).read_bytes()


def test_too_many_bad_steps_in_a_row_name_step_batch_parameter_and_remedy(quick_path: Path) -> None:
    bad = {(0, 3), (0, 4), (1, 0)}
    with pytest.raises(DivergedError) as caught:
        run_tiny(quick_path / "run", problem=poison(bad, math.nan), max_bad_steps=3)
    text = str(caught.value)
    for part in ("step 6", "3 bad steps in a row", "batch 0 of epoch 1", "first bad parameter", "--learning-rate"):
        assert part in text
    assert (quick_path / "run/checkpoints/step-000000005").is_dir()


def test_bad_steps_that_are_not_in_a_row_do_not_stop_training(quick_path: Path) -> None:
    bad = {(0, 0), (0, 2), (0, 4), (1, 1)}
    assert run_tiny(quick_path / "run", problem=poison(bad, math.nan), max_bad_steps=2).skipped == 4


def assert_skipped(problem: TinyProblem, outcome: StepOutcome) -> None:
    """Assert that nothing of a step is left: no loss is counted, and no gradient waits for the next step."""
    assert (outcome.nats, outcome.items) == (0.0, 0)
    assert all(weight.grad is None for weight in problem.model.parameters())


@pytest.mark.parametrize("name", ["W", "b", "out"])
def test_a_weight_that_is_not_finite_is_named(name: str) -> None:
    problem, config = TinyProblem(), TrainingConfig()
    dict(problem.model.named_parameters())[name].data.view(-1)[0] = math.nan
    outcome = take_step(problem, config, make_optimizer(problem.model, config), 0, range(1), None)
    assert outcome.problem is not None
    assert f"{name!r}: its weights" in outcome.problem
    assert_skipped(problem, outcome)


def test_a_bad_second_batch_leaves_nothing_of_the_first() -> None:
    problem, config = poison({(0, 1)}, math.nan), TrainingConfig()
    outcome = take_step(problem, config, make_optimizer(problem.model, config), 0, range(2), None)
    assert outcome.problem is not None and outcome.carry is None
    assert_skipped(problem, outcome)


@pytest.mark.parametrize("name", ["W", "b", "out"])
def test_a_gradient_that_is_not_finite_is_named(name: str) -> None:
    problem, config = TinyProblem(), TrainingConfig()
    dict(problem.model.named_parameters())[name].register_hook(lambda gradient: gradient * math.inf)
    before = {key: value.clone() for key, value in problem.model.state_dict().items()}
    outcome = take_step(problem, config, make_optimizer(problem.model, config), 0, range(1), None)
    assert outcome.problem is not None
    assert f"{name!r}: its gradient is not finite" in outcome.problem
    assert all(torch.equal(before[key], value) for key, value in problem.model.state_dict().items())


@pytest.mark.parametrize("name", ["W", "b", "out"])
def test_the_largest_gradient_is_named_where_the_norm_overflows(name: str) -> None:
    """Every gradient is finite, and two have squares that are not: the larger one stands out by one negative entry."""
    problem, config = TinyProblem(), TrainingConfig()
    weights = dict(problem.model.named_parameters())
    problem.model.unused = torch.nn.Parameter(torch.ones(1))
    for other, weight in weights.items():
        sizes = torch.full_like(weight, 3e20 if other != "b" else 1.0)
        sizes.view(-1)[-1] = -5e25 if other == name else 4e20
        weight.register_hook(lambda _, sizes=sizes: sizes)
    outcome = take_step(problem, config, make_optimizer(problem.model, config), 0, range(2, 4), {"h": torch.ones(2, 3)})
    assert outcome.problem is not None and outcome.problem.startswith("gradient norm inf (batches 2 to 3 of epoch 0)")
    assert f"{name!r}: its gradient reaches 1e+26, whose square overflows" in outcome.problem
    assert_skipped(problem, outcome)
    assert outcome.carry is not None and torch.equal(outcome.carry["h"], torch.ones(2, 3))


def test_training_leaves_threads_and_denormals_as_they_were(quick_path: Path) -> None:
    seen = []

    class Watching(TinyProblem):
        def evaluate(self) -> dict[str, float]:
            seen.append(flushes_denormals())
            return {"loss": 1.0}

    torch.set_num_threads(2)
    run_tiny(quick_path / "run", problem=Watching(), steps=1)
    assert seen == [True]
    assert not flushes_denormals()
    assert torch.get_num_threads() == 2


def test_denormals_are_flushed_in_the_threads_of_the_pool_too() -> None:
    def denormals() -> int:
        return int(((torch.full((1 << 20,), 1e-20) * 1e-20) != 0).sum())

    torch.set_num_threads(2)
    assert denormals() == 1 << 20  # and the pool has been started
    with numerics(TrainingConfig()):
        assert denormals() == 0
    assert denormals() == 1 << 20


def test_a_new_run_refuses_a_folder_with_checkpoints(quick_path: Path) -> None:
    run_tiny(quick_path / "run")
    with RunFolder.open(quick_path / "run") as run, pytest.raises(UsageError, match="elman resume"):
        train(TinyProblem(), TrainingConfig(**CONFIG), run)


def test_data_without_batches_is_an_error(quick_path: Path) -> None:
    class Empty(TinyProblem):
        def batches_per_epoch(self, epoch: int) -> int:
            return 0

    with pytest.raises(DataError, match="at least one batch"):
        run_tiny(quick_path / "run", problem=Empty())


def test_bf16_changes_the_forward_pass_and_keeps_float32_weights(quick_path: Path) -> None:
    run_tiny(quick_path / "a", steps=3)
    problem = TinyProblem()
    run_tiny(quick_path / "b", steps=3, precision="bf16", problem=problem)
    a, b = (kinds(quick_path / name, "train")[0]["loss"] for name in "ab")
    assert a != b
    assert a == pytest.approx(b, rel=0.05)
    assert problem.model.state_dict()["W"].dtype == torch.float32
