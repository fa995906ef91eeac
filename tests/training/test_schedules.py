"""Learning rates against their closed forms, and the options that steer them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from elman.training import TrainingConfig
from elman.training.schedules import learning_rate, progress


def rate(config: TrainingConfig, step: int = 0, epoch: int = 0, fraction: float = 0.0, decays: int = 0) -> float:
    return learning_rate(config, step, epoch, fraction, decays)


def test_warm_up_rises_linearly_to_the_full_rate_at_its_last_step() -> None:
    config = TrainingConfig(schedule="constant", learning_rate=2.0, warmup_steps=4)
    assert [rate(config, step) for step in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_warm_up_takes_a_fifth_of_a_budget_by_steps_at_most() -> None:
    config = TrainingConfig(schedule="constant", learning_rate=2.0, warmup_steps=50, steps=10)
    assert [rate(config, step) for step in range(4)] == [1.0, 2.0, 2.0, 2.0]
    assert rate(TrainingConfig(schedule="constant", learning_rate=2.0, warmup_steps=50, steps=4)) == 2.0
    assert rate(TrainingConfig(schedule="constant", learning_rate=2.0, warmup_steps=50, epochs=1), 24) == 1.0


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_half_a_period_over_the_budget(final: float) -> None:
    config = TrainingConfig(schedule="cosine", learning_rate=3.0, final_rate=final)
    assert rate(config, fraction=0.0) == 3.0
    assert rate(config, fraction=0.5) == pytest.approx(3.0 * (1 + final) / 2)
    assert rate(config, fraction=1 / 3) == pytest.approx(3.0 * (final + (1 - final) * 0.75))
    assert rate(config, fraction=1.0) == pytest.approx(3.0 * final)


def test_zaremba_keeps_the_rate_for_n_epochs_and_then_halves_it_every_epoch() -> None:
    config = TrainingConfig(schedule="step", learning_rate=1.0, decay_after=4, decay_factor=0.5)
    rates = [rate(config, epoch=epoch) for epoch in range(13)]
    assert rates[:4] == [1.0] * 4
    assert rates[4:] == [0.5**n for n in range(1, 10)]


def test_step_without_epochs_decays_by_validation_only() -> None:
    config = TrainingConfig(schedule="step", learning_rate=1.0, decay_factor=0.25)
    assert rate(config, epoch=50) == 1.0
    assert rate(config, decays=2) == 1 / 16


def test_progress_is_the_budget_that_is_used_most() -> None:
    config = TrainingConfig(steps=100, epochs=10, minutes=2.0)
    assert progress(config, 10, 3.5, 12.0) == 0.35
    assert progress(config, 50, 3.5, 12.0) == 0.5
    assert progress(config, 10, 3.5, 90.0) == 0.75
    assert progress(config, 10, 3.5, 1e9) == 1.0


def test_epochs_are_the_budget_when_none_is_given_and_only_then() -> None:
    class Longer(TrainingConfig):
        default_epochs = 40
        learning_rate: float = 1.0

    assert TrainingConfig().epochs == 10
    assert TrainingConfig(minutes=15).epochs is None
    assert TrainingConfig(steps=5).epochs is None
    assert (Longer().epochs, Longer().learning_rate) == (40, 1.0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"momentum": 0.9}, "optimizer=sgd or asgd"),
        ({"optimizer": "sgd", "beta1": 0.5}, "optimizer=adamw"),
        ({"optimizer": "sgd", "average_trigger": 3}, "optimizer=asgd"),
        ({"decay_after": 3}, "schedule=step"),
        ({"decay_factor": 0.1}, "schedule=step"),
        ({"schedule": "constant", "final_rate": 0.1}, "schedule=cosine"),
    ],
)
def test_an_option_without_effect_is_an_error_that_names_the_right_one(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TrainingConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"steps": 0},
        {"steps": 10**30},
        {"minutes": -1},
        {"keep": 0},
        {"clip_norm": 0},
        {"optimizer": "adam"},
        {"learning_rat": 1.0},
        {"seed": -1},
    ],
    ids=str,
)
def test_values_out_of_range_and_unknown_names_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingConfig(**options)


def test_every_option_has_a_description_and_a_saved_configuration_reads_back() -> None:
    assert all(field.description for field in TrainingConfig.model_fields.values())
    for config in (TrainingConfig(), TrainingConfig(optimizer="asgd", minutes=3.5, schedule="step", decay_after=0)):
        assert TrainingConfig(**config.model_dump()) == config
        assert TrainingConfig.model_validate_json(config.model_dump_json()) == config
