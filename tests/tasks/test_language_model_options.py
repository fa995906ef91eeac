"""Options of the language model: defaults by level, every option has an effect, the recipe is that of Zaremba."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from elman.config import load_recipe
from elman.randomness import drawing
from elman.tasks import TASKS
from elman.tasks.language_model import LanguageModelConfig, LanguageModelProblem, LanguageModelTraining
from elman.training.gradients import take_step
from elman.training.optimizers import make_optimizer, set_learning_rate
from elman.training.schedules import learning_rate

RECIPE = Path(__file__).parents[2] / "examples" / "ptb_small.toml"
TEXT = "".join(f"{n} green bottles hanging on the wall\n" for n in range(60))

# ---- defaults


@pytest.mark.parametrize(
    ("level", "chosen"),
    [
        (
            "character",
            {"hidden_size": 512, "embedding_size": 128, "dropout": 0.1, "streams": 32, "sequence_length": 64},
        ),
        ("subword", {"hidden_size": 512, "embedding_size": 256, "dropout": 0.2, "streams": 32, "sequence_length": 64}),
        ("word", {"hidden_size": 400, "embedding_size": 400, "dropout": 0.4, "streams": 20, "sequence_length": 35}),
    ],
)
def test_defaults_depend_on_the_level(level, chosen):
    resolved = LanguageModelConfig(level=level).resolved(10**6)
    assert {name: getattr(resolved, name) for name in chosen} == chosen
    assert (resolved.cell, resolved.layers) == ("lstm", 2)
    assert resolved.resolved() == resolved


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 7), ("embedding_size", 0), ("dropout", 0.0), ("streams", 3), ("sequence_length", 9)],
)
def test_what_is_given_stays(name, value):
    resolved = LanguageModelConfig(**{name: value}).resolved(100)
    assert getattr(resolved, name) == value
    others = LanguageModelConfig().resolved(100)
    assert {n for n in type(others).model_fields if getattr(others, n) != getattr(resolved, n)} <= {name, "streams"}


@pytest.mark.parametrize(
    ("tokens", "streams"), [(10, 1), (6_400, 2), (18_000, 5), (102_400, 32), (10**9, 32), (None, 32)]
)
def test_short_text_is_read_as_fewer_streams(tokens, streams):
    assert LanguageModelConfig().resolved(tokens).streams == streams
    assert LanguageModelConfig(streams=40).resolved(tokens).streams == 40


def test_defaults_of_training():
    training = LanguageModelTraining()
    found = training.model_dump()
    expected = {
        "epochs": 10,
        "patience": 3,
        "steps": None,
        "minutes": None,
        "optimizer": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "beta1": 0.9,
        "beta2": 0.99,
        "clip_norm": 1.0,
        "warmup_steps": 50,
        "schedule": "cosine",
        "final_rate": 0.02,
    }
    assert {name: found[name] for name in expected} == expected
    assert LanguageModelTraining(**found) == training


@pytest.mark.parametrize("budget", [{"epochs": 3}, {"steps": 30}, {"minutes": 15.0}])
def test_a_budget_that_is_given_is_used_up(budget):
    training = LanguageModelTraining(**budget)
    assert training.patience is None
    assert {n: v for n in ("epochs", "steps", "minutes") if (v := getattr(training, n))} == budget
    assert LanguageModelTraining(**training.model_dump()) == training


def test_patience_that_is_given_comes_with_the_usual_epochs():
    training = LanguageModelTraining(patience=7)
    assert (training.epochs, training.patience) == (10, 7)


@pytest.mark.parametrize(
    ("options", "parameters", "dropout"),
    [
        ({}, 10**6, 0.1),
        ({}, 10**6 + 1, 0.3),
        ({"dropout": 0.0}, 10**7, 0.0),
        ({"level": "subword"}, 10**7, 0.2),
        ({"level": "word"}, 10**7, 0.4),
    ],
)
def test_a_model_that_could_learn_its_text_by_heart_gets_more_dropout(options, parameters, dropout):
    assert LanguageModelConfig(**options).resolved(10**6, parameters).dropout == dropout


def test_what_was_chosen_is_told(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    config = LanguageModelConfig(hidden_size=9, embedding_size=4, sequence_length=10)
    problem = LanguageModelProblem(tmp_path / "text.txt", config, 0, tmp_path / "stores")
    lines = "\n".join(problem.summary())
    for part in ("2 x 9 lstm", "embedding 4", "dropout 0.1", f"{problem.config.streams} streams, 10 steps"):
        assert part in lines
    assert f"vocabulary {len(set(TEXT)) + 1}" in lines
    large = LanguageModelConfig(hidden_size=40, embedding_size=4, sequence_length=10)  # than the text
    assert LanguageModelProblem(tmp_path / "text.txt", large, 0, tmp_path / "more").config.dropout == 0.3


def test_paths_are_found_from_any_folder():
    config = LanguageModelConfig(validation="a.txt", test="b.txt")
    assert (config.validation, config.test) == (Path.cwd() / "a.txt", Path.cwd() / "b.txt")


# ---- every option

SMALL: dict[str, Any] = {
    "cell": "gru",
    "layers": 2,
    "hidden_size": 6,
    "embedding_size": 6,
    "dropout": 0.1,
    "streams": 4,
    "sequence_length": 12,
}
# Options: a value that is not the default, and what else it needs.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "level": ("word", {}),
    "vocabulary_size": (12, {}),
    "min_count": (20, {}),
    "validation": ("other.txt", {}),
    "test": ("other.txt", {}),
    "validation_fraction": (0.3, {}),
    "cell": ("mgu", {}),
    "layers": (3, {}),
    "hidden_size": (7, {}),
    "projection_size": (5, {"cell": "lstm_projected"}),
    "embedding_size": (0, {}),
    "tied": (True, {}),
    "residual": (True, {}),
    "init": ("uniform:0.1", {}),
    "forget_bias": (3.0, {"cell": "lstm"}),
    "dropout": (0.5, {}),
    "input_dropout": (0.5, {}),
    "variational_dropout": (0.5, {}),
    "zoneout": (0.5, {}),
    "weight_drop": (0.5, {}),
    "activation_penalty": (1.0, {}),
    "change_penalty": (1.0, {}),
    "streams": (5, {}),
    "sequence_length": (20, {}),
    "random_length": (True, {}),
}


def consequences(folder: Path, options: dict[str, Any]) -> tuple[Any, ...]:
    problem = LanguageModelProblem(folder / "text.txt", LanguageModelConfig(**options), 0, folder / "stores")
    with drawing(0, "train"):
        result = problem.loss(problem.batch(0, 0), None)
    shapes = [tuple(problem.batch(0, i)[0].shape) for i in range(problem.batches_per_epoch(0))]
    problem.model.eval()
    return float(result.loss.detach()), result.nats, shapes, problem.evaluate(), problem.test(), problem.codec.size


def test_every_option_is_in_the_table():
    assert set(CHANGES) == set(LanguageModelConfig.model_fields)


@pytest.mark.parametrize("name", CHANGES)
def test_option_has_an_effect(tmp_path, name):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "other.txt").write_text(TEXT[:500], encoding="utf-8")
    value, needed = CHANGES[name]
    value = tmp_path / value if name in ("validation", "test") else value
    base = {**SMALL, **needed}
    if name == "projection_size":
        base[name] = 4
    assert consequences(tmp_path, base) == consequences(tmp_path, base)
    assert consequences(tmp_path, {**base, name: value}) != consequences(tmp_path, base)


@pytest.mark.parametrize(
    "field", [f for t in TASKS.values() for c in (t.config, t.training) for f in c.model_fields.items()]
)
def test_every_option_is_described(field):
    name, info = field
    assert info.description and not info.description.endswith("."), name


@pytest.mark.parametrize(
    "values",
    [
        {"hiden_size": 3},
        {"dropout": 1.0},
        {"layers": 0},
        {"streams": 0},
        {"level": "letters"},
        {"zoneout": float("nan")},
        {"validation": "a.txt", "validation_fraction": 0.2},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        LanguageModelConfig(**values)


# ---- the recipe for Penn Treebank


@dataclasses.dataclass
class Zaremba:
    """What the paper says of its small model (section 4.1), and the code that it points to."""

    learning_rate: float = 1.0
    clip: float = 5.0
    streams: int = 20
    steps: int = 20
    scale: float = 0.1


def recipe() -> tuple[LanguageModelConfig, LanguageModelTraining]:
    fields = LanguageModelConfig.model_fields, LanguageModelTraining.model_fields
    values = load_recipe(RECIPE, frozenset({**fields[0], **fields[1]}))
    first, second = ({n: v for n, v in values.items() if n in group} for group in fields)
    return LanguageModelConfig(**first), LanguageModelTraining(**second)


def test_recipe_has_the_sizes_of_the_paper():
    config, training = recipe()
    found = config.layers, config.hidden_size, config.embedding_size, config.dropout, config.streams
    assert (*found, config.sequence_length) == (2, 200, 200, 0.0, 20, 20)
    assert (config.level, config.cell, training.epochs, training.patience) == ("word", "lstm", 13, None)


def test_recipe_halves_the_rate_after_four_epochs():
    _, training = recipe()
    rates = [learning_rate(training, 2323 * epoch, epoch, epoch / 13, 0) / 20 for epoch in range(13)]
    assert rates == [max(1.0, 1.0) * 0.5 ** max(epoch - 3, 0) for epoch in range(13)]


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_recipe_takes_the_steps_of_the_paper(tmp_path, scale):
    """The paper sums the loss over steps and averages it over streams; gradients beyond norm 5 are scaled down to it.

    The oracle does that with plain autograd. Larger weights make gradients long enough to be clipped.
    """
    config, training = recipe()
    paper = Zaremba()
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog ran to the old red house\n" * 50, encoding="utf-8")
    config = config.model_copy(update={"hidden_size": 8, "embedding_size": 8})
    problems = [LanguageModelProblem(text, config, 0, tmp_path / f"stores{n}") for n in range(2)]
    for problem in problems:
        with torch.no_grad():
            problem.model.head.weight.mul_(scale)
    theirs, ours = (problem.model for problem in problems)
    inputs, targets = problems[0].batch(0, 0)
    assert inputs.shape == (paper.streams, paper.steps)

    logs = torch.log_softmax(theirs(inputs)[0], dim=-1)
    (-logs.gather(2, targets.unsqueeze(2)).sum() / paper.streams).backward()
    length = float(torch.sqrt(sum(p.grad.square().sum() for p in theirs.parameters())))
    assert (length > paper.clip) == (scale > 1)
    expected = [p.detach() - paper.learning_rate * min(1.0, paper.clip / length) * p.grad for p in theirs.parameters()]

    optimizer = make_optimizer(ours, training)
    set_learning_rate(optimizer, learning_rate(training, 0, 0, 0.0, 0))
    take_step(problems[1], training, optimizer, 0, range(1), None)
    for found, wanted in zip(ours.parameters(), expected, strict=True):
        torch.testing.assert_close(found.detach(), wanted, rtol=1e-4, atol=1e-6)


def test_recipe_begins_within_a_tenth(tmp_path):
    config, _ = recipe()
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog ran to the old red house\n" * 50, encoding="utf-8")
    model = LanguageModelProblem(text, config, 0, tmp_path / "stores").model
    largest = {name: float(p.detach().abs().max()) for name, p in model.named_parameters()}
    assert all(value <= Zaremba.scale for value in largest.values())
    assert all(value > 0.09 for name, value in largest.items() if name != "head.bias")
