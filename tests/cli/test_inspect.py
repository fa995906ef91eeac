"""`elman inspect`: what is in a folder, and every kind of damage named without a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.model_folder import write_model_folder
from elman.training.run_folder import RunFolder

Elman = Callable[..., Any]
TENSORS = {"layers.0.W_h": torch.arange(12.0).reshape(3, 4), "head.b": torch.zeros(5)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_model_folder(
        folder, {"task": "x", "cell": "h = tanh(W_h h<t-1>)", "layers": 1}, TENSORS, {"words.json": "[]"}
    )
    (folder / "metrics.json").write_text('{"validation": {"loss": 1.25}}', encoding="utf-8")
    return folder


def test_a_whole_model_is_shown(elman: Elman, model: Path) -> None:
    code, out, err = elman("inspect", model)
    assert (code, err) == (0, "")
    for part in ("h = tanh(W_h h<t-1>)", "layers.0.W_h", "(3, 4)", "17", "loss 1.25", "hash verified"):
        assert part in out
    assert "DAMAGED" not in out


def test_json_has_parameters_files_and_metrics(elman: Elman, model: Path) -> None:
    found = json.loads(elman("inspect", "--json", model).out)
    assert found["damaged"] == []
    assert found["model"]["parameters"] == 17
    assert found["model"]["config"] == {"task": "x", "cell": "h = tanh(W_h h<t-1>)", "layers": 1}
    assert [(file["name"], file["intact"]) for file in found["model"]["files"]] == [
        ("model.safetensors", True),
        ("words.json", True),
    ]
    assert found["model"]["tensors"][0] == {
        "name": "layers.0.W_h", "shape": [3, 4], "dtype": "float32", "count": 12,
    }  # fmt: skip


def test_a_shared_matrix_counts_once(elman: Elman, tmp_path: Path) -> None:
    matrix = torch.zeros(5, 3)
    tensors = {"embedding.weight": matrix, "layers.0.W": torch.zeros(3, 6), "head.weight": matrix}
    for tied, count in ((True, 33), (False, 48)):
        write_model_folder(tmp_path / "model", {"task": "x", "model": {"tied": tied}}, tensors)
        found = json.loads(elman("inspect", "--json", tmp_path / "model").out)
        assert found["model"]["parameters"] == count
        assert ("shared" in elman("inspect", tmp_path / "model").out) == tied


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "code", "expected"),
    [
        (lambda f: flip(f / "model.safetensors"), 65, "its SHA-256 differs from the recorded one"),
        (lambda f: (f / "words.json").write_text("[ ]"), 65, "2 bytes were recorded and 3 are there"),
        (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), 65, "bytes were recorded and 8 are there"),
        (lambda f: (f / "words.json").unlink(), 65, "words.json: file must exist; got none"),
        (lambda f: edit_config(f, format_version=99), 65, "must be at most 1; got 99, made by a newer Elman"),
        (lambda f: edit_config(f, files={"../x": {"bytes": 1, "sha256": ""}}), 65, "files must list model.safetensors"),
        (lambda f: edit_config(f, library_name="other"), 65, "must describe a model of elman"),
        (lambda f: (f / "config.json").write_text("{"), 65, "must be valid JSON"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), 65, "JSON"),
        (lambda f: (f / "config.json").unlink(), 66, "must hold config.json (a model) or run.json (a run)"),
        (lambda f: (f / "metrics.json").write_text("nonsense"), 65, "metrics.json: must be valid JSON"),
    ],
)
def test_damage_is_named(
    elman: Elman,
    model: Path,
    undamaged: Callable[[], None],
    damage: Callable[[Path], object],
    code: int,
    expected: str,
) -> None:
    damage(model)
    undamaged()
    outcome = elman("inspect", model)
    assert outcome.code == code
    assert expected in outcome.err
    assert outcome.err.count("error: ") == 1 and "Traceback" not in outcome.err


def test_damage_is_in_the_document_too(elman: Elman, model: Path) -> None:
    flip(model / "model.safetensors")
    outcome = elman("inspect", "--json", model)
    found = json.loads(outcome.out)
    assert outcome.code == 65 and len(found["damaged"]) == 1
    assert [file["intact"] for file in found["model"]["files"]] == [False, True]


def test_a_run_that_has_not_begun_is_shown(elman: Elman, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", task="language-model", config={"seed": 3}, data={"bytes": 7}):
        code, out, err = elman("inspect", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "run of language-model" in out and "seed  3" in out and "bytes  7" in out


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_what_is_no_folder(elman: Elman, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("x")
    got = "none" if kind == "missing" else "a file"
    assert elman("inspect", path) == (66, "", f"error: {path}: model or run folder must exist; got {got}\n")
