"""Diagnosis of trained language models: the loss of the last token against autograd, text windows, damaged weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from elman.architectures import LanguageModel
from elman.diagnosis import diagnose_language_model, find_nonfinite
from elman.errors import DataError, UsageError
from elman.tasks.language_model import LanguageModelConfig, LanguageModelProblem
from elman.tasks.language_model_diagnosis import WINDOWS, diagnose_model, windows
from elman.tasks.language_model_use import LoadedLanguageModel

TEXT = "".join(f"{n} green bottles hanging on the wall\n" for n in range(60))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with untrained weights: its gradients are as real as any."""
    where = tmp_path_factory.mktemp("model")
    (where / "text.txt").write_text(TEXT, encoding="utf-8")
    config = LanguageModelConfig(layers=2, hidden_size=8, embedding_size=5, streams=4, sequence_length=16)
    LanguageModelProblem(where / "text.txt", config, 0, where / "store").save_model(where / "model")
    return where / "model"


def test_gradient_by_lag_is_that_of_the_last_tokens_loss():
    """The oracle writes the recurrence out by hand; it knows nothing of equations or traces."""
    model = LanguageModel(7, "rnn", layers=1, hidden_size=4, embedding_size=3, seed=2).double()
    tokens = torch.randint(0, 7, (1, 10), generator=torch.Generator().manual_seed(0))
    weights = dict(model.recurrent.layers[0].weights)
    matrix = weights["W_h"], weights["W_x"], weights["b"]
    a, states = torch.zeros(1, 4, dtype=torch.float64), []
    for token in tokens[0, :-1]:
        a = torch.tanh(a @ matrix[0].T + model.embedding.weight[token] @ matrix[1].T + matrix[2])
        a.retain_grad()
        states.append(a)
    loss = torch.nn.functional.cross_entropy(model.head(a), tokens[:, -1])
    loss.backward()
    norms = [state.grad.norm().item() for state in states[::-1]]
    found = diagnose_language_model(model, tokens).layers[0]
    assert found.relative == pytest.approx([norm / norms[0] for norm in norms], rel=1e-9)
    assert found.at_lag_zero == pytest.approx(norms[0], rel=1e-9)


def test_model_in_a_folder_is_diagnosed_on_its_own_writing_and_on_a_text(folder):
    own = diagnose_model(folder, steps=20)
    assert [layer.name for layer in own.layers] == ["layer 1", "layer 2"]
    assert (own.steps, own.samples) == (20, WINDOWS)
    assert "written by the model itself" in own.data
    read = diagnose_model(folder, folder.parent / "text.txt", steps=20)
    assert read.layers[0].relative != own.layers[0].relative
    assert "text.txt" in read.data
    assert diagnose_model(folder, steps=20) == own


def test_windows_are_spread_over_the_whole_text(folder):
    loaded = LoadedLanguageModel.load(folder)
    tokens = windows(loaded, folder.parent / "text.txt", 20)
    assert tokens.shape == (WINDOWS, 21)
    pieces = [loaded.codec.decode(row) for row in tokens.tolist()]
    assert all(piece in TEXT for piece in pieces)
    assert TEXT.startswith(pieces[0]) and TEXT.endswith(pieces[-1])


def test_text_shorter_than_the_steps_is_refused(folder):
    with pytest.raises(DataError, match=r"must have at least 5001 tokens for 5000 steps; got \d+"):
        diagnose_model(folder, folder.parent / "text.txt", steps=5000)
    with pytest.raises(UsageError, match="steps must be at least 2; got 1"):
        diagnose_model(folder, steps=1)


@pytest.mark.parametrize("part", ["embedding", "layer 2", "head"])
def test_damaged_weight_is_found_in_every_part(folder, part):
    model = LoadedLanguageModel.load(folder).model
    tokens = torch.zeros(2, 6, dtype=torch.long)
    assert find_nonfinite(model, tokens) is None
    weight = {
        "embedding": model.embedding.weight,
        "layer 2": model.recurrent.layers[1].weights["W_i"],
        "head": model.head.weight,
    }[part]
    with torch.no_grad():
        weight[1, 1] = math.nan
    found = find_nonfinite(model, tokens)
    assert found is not None
    assert (found.layer, found.value, found.step) == (part, "nan", None)


def test_command_line_reports_a_model_on_a_text(folder, tmp_path):
    from elman.cli import application

    picture = tmp_path / "flow.png"
    words = ["diagnose", str(folder), "--text", str(folder.parent / "text.txt"), "--steps", "12", "--json"]
    done = CliRunner().invoke(application, [*words, "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["layers"][0]["relative"]) == 12
    assert picture.stat().st_size > 1000


def test_command_line_refuses_a_text_for_a_cell(tmp_path):
    from elman.cli import application

    done = CliRunner().invoke(application, ["diagnose", "--cell", "gru", "--text", "some.txt"])
    assert done.exit_code != 0
    assert "--text is for a MODEL" in str(done.exception) + done.output
