"""--precision and --loss-bound of sample, score and evaluate: the loss is told, and refused past the bound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from elman.plans.native import available
from elman.tasks.language_model import LanguageModelConfig, LanguageModelProblem, load
from tests.cli.conftest import Elman

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and beside it a text that it wrote in float32: other weights find it less probable."""
    folder = tmp_path_factory.mktemp("precision")
    (folder / "text.txt").write_text("the cat sat on the mat\n" * 30, encoding="utf-8")
    options = LanguageModelConfig(cell="gru", hidden_size=16, embedding_size=8, streams=1, sequence_length=5)
    problem = LanguageModelProblem(folder / "text.txt", options, 3, folder / "stores")
    with torch.no_grad():
        for weight in problem.model.parameters():
            weight.mul_(3.0)
    problem.save_model(folder / "model")
    (folder / "text.txt").write_text(load(folder / "model").sample(length=4000)[0], encoding="utf-8")
    return folder / "model"


def commands(model: Path) -> list[list[object]]:
    text = model.parent / "text.txt"
    return [["sample", model, "--length", 20], ["score", model, text], ["evaluate", model, text]]


@pytest.mark.parametrize("n", range(3))
def test_the_loss_is_told_and_refused_past_the_bound(elman: Elman, model: Path, n: int) -> None:
    command = commands(model)[n]
    done = elman(*command, "--precision", "int8", "--loss-bound", 1)
    assert done.code == 0, done.err
    assert "int8: loses " in done.err and "nats per token against float32, measured on " in done.err
    refused = elman(*command, "--precision", "int8", "--loss-bound", 0)
    assert (refused.code, refused.out) == (2, "")
    assert "int8 must lose at most 0 nats per token against float32; it loses" in refused.err
    assert "--loss-bound" in refused.err


@pytest.mark.parametrize("n", range(3))
def test_options_without_effect_are_refused(elman: Elman, model: Path, n: int) -> None:
    command = commands(model)[n]
    for idle in (["--loss-bound", 1], ["--loss-bound", 1, "--precision", "float32"]):
        done = elman(*command, *idle)
        assert done.code == 2
        assert "loss-bound has an effect with" in done.err.replace("--loss-bound: has", "loss-bound has")
    assert elman(*command, "--precision", "int9").code == 2


def test_bf16_gives_nearly_the_probabilities_of_float32(elman: Elman, model: Path) -> None:
    text = model.parent / "text.txt"
    exact = json.loads(elman("score", model, text, "--json").out)["sentences"]
    done = elman("score", model, text, "--json", "--precision", "bf16")
    for one, other in zip(json.loads(done.out)["sentences"], exact, strict=True):
        assert one["log_probability"] == pytest.approx(other["log_probability"], rel=0.02)
        assert one["log_probability"] != other["log_probability"]
    found = json.loads(elman("evaluate", model, text, "--json", "--precision", "bf16").out)
    assert abs(found["precision_loss"]) < 0.01 and found["precision_loss_error"] > 0
