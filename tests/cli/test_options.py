"""Options made from a config: one place for name, default, range and help; all problems told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import click
import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from elman.cli.options import checked, configured, options_of
from elman.errors import UsageError
from elman.tasks import TASKS
from elman.training.config import TrainingConfig


class Recipe(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden_size: int = Field(128, ge=1, le=65_536, description="units of a layer")
    rate: float = Field(2e-3, gt=0, description="learning rate")
    kind: Literal["plain", "fancy"] = Field("plain", description="which kind")
    tied: bool = Field(False, description="share weights")
    limit: int | None = Field(None, ge=1, description="largest number; without it, none")
    stop: tuple[str, ...] = Field((), description="where to end")
    sizes: dict[str, int] = Field({}, description="declared sizes")

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.tied and self.kind == "plain":
            raise ValueError("tied has an effect with kind=fancy only; got kind=plain")
        return self


def given(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @click.command()
    def command(**options: Any) -> None:
        found.update(options)

    command.params += options_of(Recipe)
    command.main(list(words), standalone_mode=False)
    return found


def make(*words: str) -> Recipe:
    return configured(Recipe, given(*words), "elman x")


def test_every_field_is_an_option_with_its_default_and_range() -> None:
    command = click.Command("x", params=list(options_of(Recipe)))
    text = " ".join(command.get_help(click.Context(command, max_content_width=200)).split())
    assert "--hidden-size, --hidden NUMBER units of a layer [default: 128; >= 1, <= 65536]" in text
    assert "--rate NUMBER learning rate [default: 0.002; > 0]" in text
    assert "--kind [plain|fancy] which kind [default: plain]" in text
    assert "--tied / --no-tied share weights [default: off]" in text
    assert "--limit NUMBER largest number; without it, none [>= 1]" in text


def test_nothing_given_is_the_default() -> None:
    assert make() == Recipe()


def test_values_reach_their_fields() -> None:
    words = "--hidden-size 7 --rate 1e-4 --kind fancy --tied --limit 3 --stop a --stop b --sizes P=4 --sizes Q=5"
    found = make(*words.split())
    assert found.model_dump() == {
        "hidden_size": 7, "rate": 1e-4, "kind": "fancy", "tied": True, "limit": 3, "stop": ("a", "b"),
        "sizes": {"P": 4, "Q": 5},
    }  # fmt: skip


def test_the_shorter_option_is_the_same() -> None:
    assert make("--hidden", "9") == make("--hidden-size", "9") != make()


def test_flags_stand_over_the_recipe_and_the_recipe_over_defaults() -> None:
    written = {"hidden_size": 9, "rate": 0.5, "stop": ["x"], "other": 1}
    found, problems = checked(Recipe, given("--rate", "0.25"), written, "r.toml")
    assert problems == [] and found is not None
    assert (found.hidden_size, found.rate, found.stop, found.kind) == (9, 0.25, ("x",), "plain")


def test_all_problems_are_told_at_once() -> None:
    options = given("--hidden-size", "9" * 80, "--rate", "nan", "--kind", "fency")
    made, problems = checked(Recipe, options, {"limit": 0}, "r.toml")
    assert made is None
    assert problems == [
        f"--hidden-size: must be at most 65536; got {'9' * 57}...",
        "--rate: must be a finite number; got nan",
        "--kind: must be one of plain, fancy; got fency",
        "r.toml: limit: must be at least 1; got 0",
    ]
    with pytest.raises(UsageError) as caught:
        configured(Recipe, options, "elman x")
    assert caught.value.message.splitlines() == [
        "elman x: 3 options cannot be used as given",
        *(f"  {problem}" for problem in problems[:3]),
    ]


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("dna", {"filters": 0, "filter_width": 5}, "--filter-width has no effect with --filters 0"),
        ("series-classification", {"filters": 0, "filter_width": 5}, "--filter-width has no effect with --filters 0"),
        ("music", {"keys": "independent", "units": 8}, "--units has an effect with --keys dependent only"),
        (
            "audio-classification",
            {"features": "mfcc", "coefficients": 50},
            "--coefficients must be at most --bands, 40",
        ),
        ("series-regression", {"lag": ["1"], "ahead": "3"}, "--lag must be at least --ahead, 3: later targets"),
        ("series-regression", {"validation": "x", "validation_from": "9"}, "effect without --validation and --valid"),
        ("speech-recognition", {"hop": 0.5}, r"--hop must be at most --window, 0\.025; got 0\.5"),
    ],
)
def test_options_that_another_leaves_without_effect_are_refused(
    task: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        configured(TASKS[task].config, options, "elman train")


@pytest.mark.parametrize(
    ("task", "option", "value", "limit"),
    [
        ("text-classification", "dense", "0", "at least 1"),
        ("captioning", "filters", "0", "at least 1"),
        ("video", "filters", "-3", "at least 0"),
        ("video", "filters", "65537", "at most 65536"),
    ],
)
def test_every_size_of_several_has_limits(task: str, option: str, value: str, limit: str) -> None:
    with pytest.raises(UsageError, match=f"--{option}: must be {limit}; got {value}"):
        configured(TASKS[task].config, {option: ("4", value)}, "elman train")
    (made,) = (each for each in options_of(TASKS[task].config) if each.name == option)
    assert made.type.name == "text" and made.make_metavar(click.Context(click.Command("train"))) == "NUMBER"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hidden-size", "0"], "elman x: --hidden-size: must be at least 1; got 0"),
        (["--hidden-size", "1.5"], "elman x: --hidden-size: must be a whole number; got 1.5"),
        (["--hidden-size", "many"], "elman x: --hidden-size: must be a whole number; got many"),
        (["--rate", "-1"], "elman x: --rate: must be more than 0; got -1"),
        (["--rate", "fast"], "elman x: --rate: must be a number; got fast"),
        (["--tied"], "elman x: --tied has an effect with --kind fancy only; got --kind plain"),
        (["--sizes", "P"], "elman x: --sizes: must be NAME=VALUE; got 'P'"),
    ],
)
def test_messages(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(*words)
    assert caught.value.message == message


def test_the_help_of_training_options_comes_from_their_config() -> None:
    options = {option.name: option for option in options_of(TrainingConfig)}
    assert list(options) == list(TrainingConfig.model_fields)
    for name, info in TrainingConfig.model_fields.items():
        assert info.description and options[name].help is not None
        assert info.description in str(options[name].help)


def test_choices_are_completed() -> None:
    option = next(option for option in options_of(Recipe) if option.name == "kind")
    complete: Callable[..., Any] = option.type.shell_complete
    assert [item.value for item in complete(click.Context(click.Command("x")), option, "fa")] == ["fancy"]


def test_options_without_effect_are_all_named() -> None:
    words = {"momentum": "0.9", "decay_factor": "0.3", "optimizer": "adamw"}
    with pytest.raises(UsageError) as caught:
        configured(TrainingConfig, words, "elman x")
    assert caught.value.message.splitlines() == [
        "elman x: 2 options cannot be used as given",
        "  --momentum has an effect with --optimizer sgd or asgd only; got --optimizer adamw",
        "  --decay-factor has an effect with --schedule step only; got --schedule cosine",
    ]
