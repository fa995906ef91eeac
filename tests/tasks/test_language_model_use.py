"""Trained language models in use: probabilities sum to one, sampling feeds back, folders are complete."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from elman.cli import application
from elman.errors import DataError, DivergedError, MissingInputError, ModelFileError, UsageError
from elman.model_folder import read_model_folder, write_model_folder
from elman.plans.native import available
from elman.tasks.language_model import VOCABULARY, LanguageModelConfig, LanguageModelProblem, load
from elman.tasks.language_model_use import LoadedLanguageModel

PASTED = r"""
\Gamma_u = \sigma(W_u[c^{<t-1>}, x^{<t>}] + b_u)
\tilde{c}^{<t>} = \tanh(W_c[c^{<t-1>}, x^{<t>}] + b_c)
c^{<t>} = \Gamma_u * \tilde{c}^{<t>} + (1 - \Gamma_u) * c^{<t-1>}
"""


def saved(folder: Path, text: str, **options: Any) -> LanguageModelProblem:
    """Save an untrained model, whose probabilities are as good as any, to folder / "model"."""
    (folder / "text.txt").write_text(text, encoding="utf-8")
    chosen = {"cell": "gru", "hidden_size": 8, "embedding_size": 5, "streams": 1, "sequence_length": 5, **options}
    problem = LanguageModelProblem(folder / "text.txt", LanguageModelConfig(**chosen), 3, folder / "stores")
    with torch.no_grad():
        for weight in problem.model.parameters():
            weight.mul_(2.0)  # further from uniform
    problem.save_model(folder / "model")
    return problem


def made(folder: Path, text: str, **options: Any) -> LoadedLanguageModel:
    saved(folder, text, **options)
    return load(folder / "model")


# ---- probabilities


def test_probabilities_of_all_strings_sum_to_one(tmp_path):
    """Three letters, and "?" for every unknown one."""
    model = made(tmp_path, "abc" * 20)
    strings = ["".join(letters) for letters in itertools.product("abc?", repeat=3)]
    scored = model.score(strings)
    assert math.fsum(math.exp(s.log_probability) for s in scored) == pytest.approx(1.0, abs=1e-6)
    assert len({s.log_probability for s in scored}) == 64
    known = [s for s in scored if "?" not in s.text]
    assert all((s.unknown == 0) == ("?" not in s.text) for s in scored)
    assert math.fsum(math.exp(s.log_probability) for s in known) < 0.9


def test_score_is_conditioned_on_the_end_of_a_line_and_what_comes_before(tmp_path):
    model = made(tmp_path, "abc\ncab\n" * 10)
    scored = model.score(["cab"])[0]
    with torch.no_grad():
        token, state, expected = model.codec.encode("\n"), None, []
        for letter in "cab":
            logits, state = model.model.step(torch.tensor(token), state)
            token = model.codec.encode(letter)
            expected.append((letter, float(torch.softmax(logits[0].double(), 0)[int(token[0])])))
    assert [name for name, _ in scored.steps] == list("cab")
    assert [p for _, p in scored.steps] == pytest.approx([p for _, p in expected], rel=1e-5)
    assert scored.log_probability == pytest.approx(sum(math.log(p) for _, p in expected), rel=1e-5)
    assert scored.perplexity == pytest.approx(math.prod(p for _, p in expected) ** (-1 / 3), rel=1e-5)


@pytest.fixture(params=["engine", "torch"])
def runs_by(request, monkeypatch):
    """What runs the model: the engine's stepper, or torch as where there is no engine."""
    if request.param == "torch":
        monkeypatch.setattr("elman.tasks.language_model_use.available", lambda: False)
    elif not available():
        pytest.skip("the engine was not built")
    return request.param


def test_long_sentences_are_scored_in_pieces(tmp_path, monkeypatch, runs_by):
    model = made(tmp_path, "abc\ncab\n" * 10)
    sentences = ["abcacb" * 5, "", "a", "abcabca", "abcabcab"]
    whole = model.score(sentences)
    module = {"engine": "elman.runtime.stepper", "torch": "elman.tasks.language_model_steps"}[runs_by]
    monkeypatch.setattr(f"{module}._PIECE", 7)
    pieces = model.score(sentences)
    for one, other in zip(pieces, whole, strict=True):
        assert [p for _, p in one.steps] == pytest.approx([p for _, p in other.steps], rel=1e-5)
    assert [sentence.tokens for sentence in pieces] == [30, 0, 1, 7, 8]


@pytest.mark.skipif(not available(), reason="the engine was not built")
@pytest.mark.parametrize(
    "options",
    [{}, {"level": "word", "tied": True, "hidden_size": 5}, {"embedding_size": 0, "layers": 3, "residual": True}],
)
def test_the_engine_writes_and_scores_as_torch_does(tmp_path, monkeypatch, options):
    text = "the cat sat on the mat\nthe dog sat on the cat\n" * 30
    model = made(tmp_path, text, **options)
    how = {"samples": 3, "length": 80, "seed": 4, "stop": ("mat",)}
    by_engine, scored = model.sample(**how), model.score(["the cat", "the dog sat xyz", ""])
    changed = model.precision_loss("int8")
    monkeypatch.setattr("elman.tasks.language_model_use.available", lambda: False)
    assert model.sample(**how) == by_engine
    for one, other in zip(model.score(["the cat", "the dog sat xyz", ""]), scored, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-5)
        assert one.unknown == other.unknown
    assert changed.tokens == 16 * 64 and abs(changed.nats) < 0.05 and changed.nats != 0


def by_hand(bias):
    with torch.no_grad():
        bias[2] += 1.0


def by_a_fused_optimizer(bias):
    bias.grad = -torch.eye(len(bias))[2]
    torch.optim.SGD([bias], lr=1.0, fused=True).step()


@pytest.mark.skipif(not available(), reason="the engine was not built")
@pytest.mark.parametrize("change", [by_hand, by_a_fused_optimizer])
def test_weights_changed_in_place_are_packed_again(tmp_path, change):
    model = made(tmp_path, "abc" * 20)
    before = model.score(["abc"])[0].log_probability
    change(model.model.head.bias)
    after = model.score(["abc"])[0].log_probability
    with torch.no_grad():
        logits, _ = model.model(torch.tensor([[model.start, 1, 2]]))
    wanted = torch.log_softmax(logits[0].double(), 1)[[0, 1, 2], [1, 2, 3]].sum()
    assert after == pytest.approx(float(wanted), rel=1e-5)
    assert abs(after - before) > 0.1


@pytest.mark.skipif(not available(), reason="the engine was not built")
def test_what_a_precision_loses_is_measured_and_refused_past_a_bound(tmp_path):
    text = "the cat sat on the mat\n" * 30
    model = made(tmp_path, text)
    sentences = ["the cat sat", "on the mat", "tttttt"]
    exact, narrow = model.score(sentences), model.score(sentences, "int8")
    lost = sum(e.log_probability - n.log_probability for e, n in zip(exact, narrow, strict=True)) / 27
    found = model.precision_loss("int8", sentences)
    assert (found.nats, found.tokens) == (pytest.approx(lost, rel=1e-9), 27)
    found.check(found.nats)
    with pytest.raises(UsageError, match=r"int8 must lose at most .* nats per token against float32; it loses"):
        found.check(found.nats - 1e-9)
    with pytest.raises(UsageError, match="at least 1 token"):
        model.precision_loss("int8", [""])
    other = tmp_path / "other.txt"
    other.write_text("the mat sat\n", encoding="utf-8")
    whole, low = model.evaluate(other), model.evaluate(other, precision="bf16")
    assert low["loss"] - whole["loss"] == pytest.approx(low["precision_loss"], abs=1e-6)
    assert low["precision_loss"] != 0 and low.keys() - whole.keys() == {"precision_loss", "precision_loss_error"}
    assert low["bits_per_character"] == pytest.approx(whole["bits_per_character"], rel=0.02)
    with pytest.raises(UsageError, match="streams: has no effect"):
        model.evaluate(other, 2, "bf16")


def test_nothing_has_probability_one(tmp_path):
    scored = made(tmp_path, "abc" * 20).score([""])[0]
    assert (scored.tokens, scored.log_probability, scored.unknown) == (0, 0.0, 0)


@pytest.mark.parametrize("level", ["character", "word", "subword"])
def test_evaluation_of_a_text_is_its_score_after_the_first_token(tmp_path, level):
    text = "the cat sat\n" * 30
    model = made(tmp_path, text, level=level)
    other = tmp_path / "other.txt"
    other.write_text("the cat\nsat\n", encoding="utf-8")
    found = model.evaluate(other)
    # A score begins after the end of a line; an evaluation at the first token, so here both read the same.
    end = "\n" if level != "word" else "<eos>"
    other.write_text("\nthe cat\nsat\n", encoding="utf-8")
    from_line = model.evaluate(other)
    ids = [int(i) for i in model.codec.encode("the cat\nsat\n")]
    scored = model.score(["the cat\nsat\n"])[0]
    assert [name for name, _ in scored.steps].count(end) == 2
    assert from_line["tokens"] == found["tokens"] + 1 == scored.tokens == len(ids)
    assert from_line["loss"] == pytest.approx(-scored.log_probability / scored.tokens, rel=1e-5)
    assert from_line["perplexity"] == pytest.approx(scored.perplexity, rel=1e-5)
    assert from_line["bits_per_character"] == pytest.approx(-scored.log_probability / math.log(2) / 12, rel=1e-5)


def test_unknown_tokens_of_a_text_are_counted(tmp_path):
    model = made(tmp_path, "abc" * 20)
    other = tmp_path / "other.txt"
    other.write_text("abxxc", encoding="utf-8")
    found = model.evaluate(other)
    assert (found["unknown"], found["tokens"]) == (2, 4)
    assert "bits_per_character" not in found
    other.write_text("a", encoding="utf-8")
    with pytest.raises(DataError, match="must have at least 2 tokens; got 1"):
        model.evaluate(other)


# ---- sampling


def test_the_token_chosen_is_the_one_fed_back(tmp_path, monkeypatch):
    """A spy on the model in torch: what it is given after the prompt is what was written."""
    monkeypatch.setattr("elman.tasks.language_model_use.available", lambda: False)
    model = made(tmp_path, "abcdefgh" * 20)
    given: list[list[int]] = []
    step = model.model.step

    def spy(tokens, state=None):
        given.append(tokens.tolist())
        return step(tokens, state)

    monkeypatch.setattr(model.model, "step", spy)
    texts = model.sample(prompt="ab", length=30, samples=4, seed=1)
    assert len(set(texts)) == 4
    for row, text in enumerate(texts):
        read = [int(tokens[row]) for tokens in given]
        assert read[0] == model.start
        fed_back = model.codec.decode(read[1:])
        assert text[: len(fed_back)] == fed_back
        assert len(text) == 32 and len(fed_back) >= 31


@pytest.mark.parametrize("level", ["character", "word", "subword"])
@pytest.mark.parametrize("prompt", ["", "the", "the cat\n"])
def test_samples_begin_with_the_prompt(tmp_path, level, prompt):
    model = made(tmp_path, "the cat sat\n" * 30, level=level)
    texts = model.sample(prompt=prompt, length=5, samples=3)
    assert all(text.startswith(prompt) and len(text) > len(prompt) for text in texts)


def test_unknown_is_never_written(tmp_path):
    model = made(tmp_path, "the cat sat\n" * 30, level="word")
    with torch.no_grad():
        model.model.head.bias[model.codec.unknown] = 1e4
    assert model.score(["dog"])[0].steps[0][1] == pytest.approx(1.0)
    for options in ({}, {"greedy": True}, {"top_k": 2}):
        text = model.sample(length=40, **options)[0]
        assert "<unk>" not in text and set(text.split()) <= {"the", "cat", "sat"}


def test_greedy_takes_the_most_probable(tmp_path):
    model = made(tmp_path, "abcd\n" * 20)
    text = model.sample(prompt="a", length=6, greedy=True)[0]
    assert text == model.sample(prompt="a", length=6, top_k=1, seed=9)[0]
    for t in range(1, 7):
        best = max("abcd\n", key=lambda letter: model.score([text[:t] + letter])[0].log_probability)
        assert text[t] == best


def test_options_of_sampling_have_effects(tmp_path):
    model = made(tmp_path, "the quick brown fox jumps over the lazy dog\n" * 5)
    plain = {"length": 60, "seed": 5}
    first = model.sample(**plain)
    assert model.sample(**plain) == first
    changes = ({"length": 20}, {"seed": 6}, {"temperature": 0.2}, {"top_k": 2}, {"top_p": 0.3}, {"prompt": "fox"})
    for change in changes:
        assert model.sample(**{**plain, **change}) != first, change
    assert model.sample(length=60, greedy=True) != first
    assert first[0].startswith(model.sample(**{**plain, "length": 20})[0])


def test_sample_ends_before_the_stop_string(tmp_path):
    model = made(tmp_path, "abcd\n" * 20)
    whole = model.sample(length=200, seed=2)[0]
    assert "dc" in whole and "\n" in whole
    assert model.sample(length=200, seed=2, stop=("dc",))[0] == whole[: whole.index("dc")]
    assert model.sample(length=200, seed=2, stop=("dc", "\n"))[0] == whole[: min(whole.index("dc"), whole.index("\n"))]
    with pytest.raises(UsageError, match="must not be an empty string"):
        model.sample(stop=("",))


def test_one_text_is_no_list_of_its_characters(tmp_path):
    model = made(tmp_path, "abcd\n" * 20)
    for call in (
        lambda: model.score("abc"),
        lambda: model.precision_loss("bf16", "abc"),
        lambda: model.sample(stop="abc"),
    ):
        with pytest.raises(UsageError, match="must be a list; got one text, 'abc'") as found:
            call()
        assert found.value.hint == "write ['abc']"


@pytest.mark.parametrize(("level", "word"), [("character", "x"), ("word", "dog")])
def test_prompts_the_model_cannot_read_are_refused(tmp_path, level, word):
    model = made(tmp_path, "the cat sat\n" * 30, level=level)
    with pytest.raises(UsageError, match=f"does not have '{word}'"):
        model.sample(prompt=f"the {word}")


# ---- folders


@pytest.mark.parametrize(
    "options",
    [
        {"cell": PASTED},
        {"cell": PASTED + r"\hat{y}^{<t>} = g_2(V c^{<t>})"},
        {"cell": "lstm_projected", "projection_size": 4},
        {"level": "word", "tied": True, "embedding_size": 8},
        {"level": "subword", "embedding_size": 0, "layers": 1},
        {"zoneout": 0.2, "variational_dropout": 0.1, "weight_drop": 0.3, "residual": True},
    ],
    ids=["pasted", "output equation", "projected", "tied words", "one-hot subwords", "regularised"],
)
def test_folder_holds_the_whole_model(tmp_path, options):
    problem = saved(tmp_path, "the cat sat on the mat\n" * 30, **options)
    problem.model.eval()
    model = load(tmp_path / "model")
    assert not any(weight.is_meta for weight in model.model.parameters())
    found, wanted = model.model.state_dict(), problem.model.state_dict()
    assert list(found) == list(wanted) and all(torch.equal(found[name], wanted[name]) for name in found)
    assert model.model.is_tied == problem.config.tied
    assert len(list(model.model.parameters())) == len(list(problem.model.parameters()))
    assert model.evaluate(tmp_path / "text.txt")["loss"] == pytest.approx(_exact(problem), rel=1e-6)


def _exact(problem: LanguageModelProblem) -> float:
    tokens = torch.from_numpy(problem.stores["train"].tokens.astype("int64")).unsqueeze(0)
    with torch.no_grad():
        nats = problem.model.head.nats(problem.model(tokens[:, :-1])[0], tokens[:, 1:])
    return float(nats) / (tokens.shape[1] - 1)


def test_cell_of_a_file_is_saved_as_equations(tmp_path):
    (tmp_path / "mine.tex").write_text(PASTED, encoding="utf-8")
    saved(tmp_path, "abc\n" * 30, cell=str(tmp_path / "mine.tex"))
    (tmp_path / "mine.tex").unlink()
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["cell"]["name"] == "mine" and "tanh(W_c" in config["cell"]["equations"]
    assert str(tmp_path) not in json.dumps(config)
    assert load(tmp_path / "model").model.recurrent.layers[0].cell.states == ("c",)


def test_model_card_shows_the_equations(tmp_path):
    saved(tmp_path, "abc\n" * 30, cell=PASTED)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "W_u [c<t-1>, x]" in card and "given by the user" in card and "elman sample" in card


def _changed(folder: Path, change: dict[str, Any]) -> Path:
    config, tensors = read_model_folder(folder)
    for name, value in change.items():
        place, *rest = name.split(".")
        config[place] = {**config[place], rest[0]: value} if rest else value
    extra = {VOCABULARY: (folder / VOCABULARY).read_bytes()}
    write_model_folder(folder.parent / "changed", config, tensors, extra)
    return folder.parent / "changed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "chess"}, "task must be 'language-model'; got 'chess'"),
        ({"model": 3}, "must describe a model and a cell"),
        ({"model.vocabulary_size": 10**12}, "vocabulary_size must be from 2"),
        ({"model.hidden_size": 60_000}, "must have at most 2,000,000,000 parameters"),
        ({"model.hidden_size": 9}, "must have shape"),
        ({"model.layers": 1}, "must hold the model's tensors only"),
        ({"model.flavour": 1}, "flavour: Extra inputs are not permitted"),
        ({"cell.equations": "import os"}, "must describe a language model"),
        ({"cell.equations": None}, "must describe a language model"),
        ({"cell.output": "nothing"}, "must describe a language model"),
        ({"cell.init": "x"}, "must describe a language model; init must be a table of parameters; got 'x'"),
    ],
)
def test_other_content_is_refused(tmp_path, change, message):
    saved(tmp_path, "abc\n" * 30)
    with pytest.raises(ModelFileError, match=message):
        load(_changed(tmp_path / "model", change))


def test_vocabulary_of_another_size_is_refused(tmp_path):
    saved(tmp_path, "abc\n" * 30)
    path = tmp_path / "model" / VOCABULARY
    path.write_text(path.read_text("utf-8").replace('"a", ', ""), encoding="utf-8")
    with pytest.raises(ModelFileError, match="vocabulary"):
        load(tmp_path / "model")
    config, tensors = read_model_folder(_changed_vocabulary(tmp_path))
    assert config["model"]["vocabulary_size"] == 5 and tensors
    with pytest.raises(ModelFileError, match="must have 5 tokens; got 4"):
        load(tmp_path / "changed")


def _changed_vocabulary(folder: Path) -> Path:
    (folder / "again").mkdir()
    saved(folder / "again", "abc\n" * 30)
    config, tensors = read_model_folder(folder / "again" / "model")
    codec = json.loads((folder / "again" / "model" / VOCABULARY).read_text(encoding="utf-8"))
    codec["tokens"].pop()
    write_model_folder(folder / "changed", config, tensors, {VOCABULARY: json.dumps(codec)})
    return folder / "changed"


def test_missing_model(tmp_path):
    with pytest.raises(MissingInputError):
        load(tmp_path / "none")


def test_command_line_measures_the_test_text_at_the_end(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 60, encoding="utf-8")
    (tmp_path / "test.txt").write_text("the mat sat\n" * 9, encoding="utf-8")
    words = ["train", "language-model", str(tmp_path / "text.txt"), "-o", str(tmp_path / "run"), "--json"]
    sizes = ["--hidden-size", "8", "--embedding-size", "4", "--sequence-length", "8", "--steps", "3"]
    done = CliRunner().invoke(application, [*words, *sizes, "--test", str(tmp_path / "test.txt")])
    assert done.exit_code == 0, done.output
    expected = load(tmp_path / "run").evaluate(tmp_path / "test.txt")
    found = json.loads(done.stdout)["test"]
    assert found == {name: expected[name] for name in found} and found["tokens"] == 12 * 9 - 1
    assert "test: loss" in done.stderr


def test_a_model_that_diverged_is_refused(tmp_path: Path) -> None:
    """Before, evaluate told a loss of nan, and sample and score refused."""
    saved(tmp_path, "abc\n" * 30)
    config, tensors = read_model_folder(tmp_path / "model")
    tensors["head.bias"][1] = torch.inf
    vocabulary = (tmp_path / "model" / VOCABULARY).read_bytes()
    write_model_folder(tmp_path / "model", config, tensors, {VOCABULARY: vocabulary})
    with pytest.raises(DivergedError, match=r"tensor 'head\.bias' must hold finite numbers; got inf"):
        load(tmp_path / "model")
