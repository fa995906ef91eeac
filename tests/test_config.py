"""Recipes: options by name, tables for order only, errors that name the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from elman.config import load_recipe
from elman.errors import DataError, MissingInputError, UsageError

KNOWN = frozenset({"layers", "hidden_size", "learning_rate", "init"})


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_tables_only_group(tmp_path):
    path = written(
        tmp_path, 'layers = 3\n[task]\nhidden_size = 7\ninit = "uniform:0.1"\n[anything]\nlearning_rate = 0.5\n'
    )
    assert load_recipe(path, KNOWN) == {"layers": 3, "hidden_size": 7, "init": "uniform:0.1", "learning_rate": 0.5}


def test_a_table_is_the_value_of_an_option_that_takes_one(tmp_path):
    for text in ('column = {text = "review", layers = "l"}\n[task]\nlayers = 3\n', '[column]\ntext = "review"\n'):
        found = load_recipe(written(tmp_path, text), KNOWN | {"column"}, frozenset({"column"}))
        assert found["column"]["text"] == "review" and found.get("layers", 3) == 3


def test_unknown_option_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"recipe\.toml: unknown option 'hiden_size'; did you mean 'hidden_size'\?"):
        load_recipe(written(tmp_path, "[task]\nhiden_size = 7\n"), KNOWN)


def test_option_in_two_tables_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'layers' must be given once"):
        load_recipe(written(tmp_path, "layers = 3\n[task]\nlayers = 4\n"), KNOWN)


@pytest.mark.parametrize("text", ["layers = ", "layers 3", b"layers = '\xff'"])
def test_what_is_not_toml_is_bad_data(tmp_path, text):
    with pytest.raises(DataError, match=r"recipe\.toml: must be TOML"):
        load_recipe(written(tmp_path, text), KNOWN)


def test_missing_recipe(tmp_path):
    with pytest.raises(MissingInputError, match="there is no such file"):
        load_recipe(tmp_path / "none.toml", KNOWN)


def test_all_unknown_options_are_told_at_once(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("layer = 2\nepoch = 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"unknown option 'layer'; did you mean 'layers'\?; unknown option 'epoch'"):
        load_recipe(recipe, frozenset({"layers", "epochs"}))
