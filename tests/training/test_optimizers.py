"""Optimisers against their equations in numpy, and their state through a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from elman.training import TrainingConfig
from elman.training.optimizers import (
    AveragedSGD,
    averaged_weights,
    averaging_is_due,
    make_optimizer,
    optimizer_state,
    restore_optimizer,
    set_learning_rate,
)

STEPS = 6
RATES = [0.1, 0.1, 0.05, 0.05, 0.02, 0.02]


def model_with(weight: np.ndarray, bias: np.ndarray) -> torch.nn.Linear:
    model = torch.nn.Linear(3, 2).double()
    model.weight.data, model.bias.data = torch.tensor(weight), torch.tensor(bias)
    return model


def gradients_of(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(seed)
    return [(draw.normal(size=(2, 3)), draw.normal(size=2)) for _ in range(STEPS)]


def start() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(9)
    return draw.normal(size=(2, 3)), draw.normal(size=2)


def run(optimizer: torch.optim.Optimizer, model: torch.nn.Linear, after: Callable[[int], None] | None = None) -> None:
    for number, (weight, bias) in enumerate(gradients_of()):
        set_learning_rate(optimizer, RATES[number])
        model.weight.grad, model.bias.grad = torch.tensor(weight), torch.tensor(bias)
        optimizer.step()
        if after is not None:
            after(number)


def adamw(w: np.ndarray, index: int, decay: float) -> np.ndarray:
    """Loshchilov and Hutter 2019, algorithm 2, with torch's convention that decay is multiplied by the rate."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (rate, gradients) in enumerate(zip(RATES, gradients_of(), strict=True), 1):
        g = gradients[index]
        w = w - rate * decay * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
    return w


def sgd(w: np.ndarray, index: int, decay: float, momentum: float) -> list[np.ndarray]:
    path, velocity = [], np.zeros_like(w)
    for rate, gradients in zip(RATES, gradients_of(), strict=True):
        velocity = momentum * velocity + gradients[index] + decay * w
        w = w - rate * velocity
        path.append(w)
    return path


def test_adamw_follows_its_equations_and_spares_vectors_from_decay() -> None:
    model = model_with(*start())
    run(make_optimizer(model, TrainingConfig(optimizer="adamw", weight_decay=0.3)), model)
    np.testing.assert_allclose(model.weight.detach().numpy(), adamw(start()[0], 0, 0.3), rtol=1e-12)
    np.testing.assert_allclose(model.bias.detach().numpy(), adamw(start()[1], 1, 0.0), rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_follows_its_equations(momentum: float) -> None:
    model = model_with(*start())
    run(make_optimizer(model, TrainingConfig(optimizer="sgd", weight_decay=0.2, momentum=momentum)), model)
    np.testing.assert_allclose(model.weight.detach().numpy(), sgd(start()[0], 0, 0.2, momentum)[-1], rtol=1e-12)
    np.testing.assert_allclose(model.bias.detach().numpy(), sgd(start()[1], 1, 0.0, momentum)[-1], rtol=1e-12)


def test_averaged_sgd_shows_the_mean_of_the_weights_since_it_began_and_trains_on_the_last() -> None:
    model = model_with(*start())
    optimizer = make_optimizer(model, TrainingConfig(optimizer="asgd"))
    assert isinstance(optimizer, AveragedSGD)
    begin = optimizer.begin_averaging
    run(optimizer, model, lambda number: begin() if number == 1 else None)
    path = sgd(start()[0], 0, 0.0, 0.0)
    with averaged_weights(optimizer):
        np.testing.assert_allclose(model.weight.detach().numpy(), np.mean(path[2:], axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.weight.detach().numpy(), path[-1], rtol=1e-12)


def test_averaging_begins_when_the_loss_is_above_the_best_of_those_older_than_the_trigger() -> None:
    # Merity et al.: before t losses were logged, n = 2; begin when t > n and loss > min(logs[:t - n]).
    def literal(losses: list[float], n: int) -> bool:
        logs, loss = losses[:-1], losses[-1]
        t = len(logs)
        return t > n and loss > min(logs[: t - n])

    draw = np.random.default_rng(3)
    for _ in range(300):
        losses = list(draw.integers(0, 5, size=draw.integers(1, 9)).astype(float))
        assert averaging_is_due(losses, 2) == literal(losses, 2)
    assert averaging_is_due([1.0], 0)
    assert averaging_is_due([1.0, 2.0, 3.0, math.inf], 2)


@pytest.mark.parametrize(
    "options",
    [{"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.5}, {"optimizer": "sgd"}, {"optimizer": "asgd"}],
    ids=str,
)
def test_restored_state_goes_on_bit_for_bit(options: dict[str, Any]) -> None:
    config = TrainingConfig(**options)
    whole, half = model_with(*start()), model_with(*start())
    first, second = make_optimizer(whole, config), make_optimizer(half, config)
    for optimizer in (first, second):
        if isinstance(optimizer, AveragedSGD):
            optimizer.begin_averaging()
    run(first, whole)
    run(second, half)
    tensors, numbers = optimizer_state(second, half)
    copied = {name: tensor.clone() for name, tensor in tensors.items()}
    resumed = make_optimizer(half, config)
    restore_optimizer(resumed, half, copied, dict(numbers))
    if isinstance(resumed, AveragedSGD):
        resumed.averaging = True
    run(first, whole)
    run(resumed, half)
    assert torch.equal(whole.weight, half.weight)
    again, _ = optimizer_state(resumed, half)
    assert all(torch.equal(value, again[name]) for name, value in optimizer_state(first, whole)[0].items())
