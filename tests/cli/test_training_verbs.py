"""`elman train`, `resume`, `sample`, `score`, `evaluate`, `diagnose`, `tasks`, `demo`: from a text to its samples."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import elman as package
from elman.cli import demo_text, main, runs
from elman.cli.training import make_command
from elman.errors import BusyError
from elman.plans.native import available as native_available
from elman.tasks import TASKS, language_model_options
from elman.tasks.language_model import load
from elman.training import RunFolder

Elman = Callable[..., Any]
SENTENCE = "the quick brown fox jumps over the lazy dog and the dog sleeps on.\n"
GRU = "u = sigmoid(W_u [c<t-1>, x] + b_u)\nc~ = tanh(W_c [c<t-1>, x] + b_c)\nc = u * c~ + (1 - u) * c<t-1>\n"
SMALL = ["--hidden-size", "8", "--layers", "1", "--dropout", "0", "--streams", "4", "--sequence-length", "16"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 24 units after 40 steps: it knows a little of the sentence."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "text.txt"
    text.write_text(SENTENCE * 100, encoding="utf-8")
    words = [*SMALL, "--hidden-size", "24", "--steps", "40", "--learning-rate", "0.02", "--warmup-steps", "0", "-q"]
    assert main(["train", "language-model", str(text), "-o", str(folder / "model"), *words]) == 0
    return folder / "model"


def train(elman: Elman, corpus: Path, folder: Path, *words: object, stdin: bytes = b"") -> Any:
    return elman("train", "language-model", corpus, "-o", folder, *SMALL, *words, stdin=stdin)


def test_train_says_what_was_chosen_on_stderr_and_nothing_on_stdout(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    outcome = train(elman, corpus, tmp_path / "run", "--steps", "3", "--threads", "1", "--seed", "7")
    assert (outcome.code, outcome.out) == (0, "")
    parameters = sum(p.numel() for p in load(tmp_path / "run").model.parameters())
    first = "\n".join(outcome.err.splitlines()[:4])
    for part in (
        "vocabulary 30 (character)",
        "engine ",
        f"{parameters:,} parameters",
        "1 thread,",
        "3 steps",
        "seed 7",
    ):
        assert part in first
    assert "done after 3 steps" in outcome.err
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_says_nothing_and_json_is_one_document(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    outcome = train(elman, corpus, tmp_path / "run", "--steps", "2", "-q", "--json")
    found = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert found["steps"] == 2 and found["folder"] == str(tmp_path / "run")
    # Before it has learnt anything a model of V tokens is about as good as drawing among V.
    assert found["best"]["loss"] == pytest.approx(math.log(30), abs=0.3)


def test_stdin_is_trained_on_and_kept_for_resuming(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    data = corpus.read_bytes()
    for folder, file, stdin in (("a", corpus, b""), ("b", "-", data)):
        assert train(elman, file, tmp_path / folder, "--steps", "2", "-q", stdin=stdin).code == 0
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in "ab"]
    assert weights[0] == weights[1]
    assert (tmp_path / "b" / "text.txt").read_bytes() == data
    assert elman("resume", tmp_path / "b", "-q").code == 0
    (tmp_path / "b").rename(tmp_path / "moved")
    assert elman("resume", tmp_path / "moved", "-q").code == 0, "the text is moved with the run"


def test_the_default_folder_is_named_after_the_file(
    elman: Elman, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.chdir(corpus.parent)
        assert elman("train", "language-model", "corpus.txt", *SMALL, "--steps", "1", "-q").code == 0
    assert (corpus.parent / "corpus-model" / "config.json").is_file()


@pytest.mark.parametrize("way", ["file", "inline", "name"])
def test_cells_by_name_file_and_inline(elman: Elman, corpus: Path, tmp_path: Path, way: str) -> None:
    path = tmp_path / "mine.tex"
    path.write_text(GRU, encoding="utf-8")
    cell = {"file": str(path), "inline": GRU.replace("\n", ";"), "name": "mgu"}[way]
    run = tmp_path / "run"
    assert train(elman, corpus, run, "--steps", "2", "-q", "--cell", cell).code == 0
    path.unlink()
    assert elman("resume", run, "-q").code == 0, "the equations are kept in the run"
    found = json.loads(elman("inspect", "--json", run).out)["model"]
    expected = package.cells["mgu"] if way == "name" else package.Cell(GRU)
    assert found["config"]["cell"]["equations"] == expected.plain()
    assert found["parameters"] == sum(tensor["count"] for tensor in found["tensors"])


def test_recipe_and_options_reach_run_json(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[task]\nhidden_size = 6\nlayers = 1\ndropout = 0.0\nlevel = "word"\n'
        '[training]\nsteps = 2\noptimizer = "sgd"\n',
        encoding="utf-8",
    )
    words = ["--config", recipe, "--momentum", "0.5", "--layers", "2", "-o", tmp_path / "run", "-q"]
    assert elman("train", "language-model", corpus, *words).code == 0
    config = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["config"]
    assert (config["task"]["hidden_size"], config["task"]["level"], config["task"]["layers"]) == (6, "word", 2)
    assert (config["training"]["optimizer"], config["training"]["momentum"]) == ("sgd", 0.5)


def test_a_resumed_run_keeps_what_was_usual_when_it_began(
    elman: Elman, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shape = tmp_path / "run", ["--hidden-size", "8", "--layers", "1"]
    assert elman("train", "language-model", corpus, "-o", folder, *shape, "--steps", "2", "-q").code == 0
    saved = json.loads((folder / "run.json").read_text("utf-8"))["config"]["task"]
    assert (saved["embedding_size"], saved["sequence_length"], saved["vocabulary_size"]) == (128, 64, None)
    later = {"hidden_size": 9, "embedding_size": 3, "dropout": 0.9, "streams": 3, "sequence_length": 5}
    monkeypatch.setitem(language_model_options._BY_LEVEL, "character", later)
    said = elman("resume", folder).err
    assert "embedding 128" in said and "64 steps of back-propagation" in said


def test_a_run_inside_its_data_is_refused(elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TASKS["music"].example(tmp_path)
    monkeypatch.chdir(tmp_path / "pieces")
    for words, name in (([], "pieces-model"), (["-o", "a/b"], "a/b"), (["-o", tmp_path / "pieces" / "c"], "pieces/c")):
        code, _, err = elman("train", "music", ".", *words)
        assert code == 2 and f"{name}: run folder must lie outside the data; got one inside ." in err
    assert not any(path.is_dir() for path in Path().iterdir())


def test_a_refused_run_holds_its_folder_until_its_files_are_gone(
    elman: Elman, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def discard(folder: Path, existed: bool) -> None:
        with pytest.raises(BusyError):
            RunFolder.open(folder)
        own(folder, existed)

    own = runs.discard
    monkeypatch.setattr(runs, "discard", discard)
    assert train(elman, corpus, tmp_path / "run", "--embedding-size", "0", "--tied").code == 2
    assert not (tmp_path / "run").exists()


def test_resuming_a_finished_run_says_that_nothing_is_left_and_how_to_train_further(
    elman: Elman, corpus: Path, tmp_path: Path
) -> None:
    train(elman, corpus, tmp_path / "run", "--steps", "3")
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    outcome = elman("resume", tmp_path / "run")
    assert outcome.code == 0
    assert "nothing is left to train: this run ended after 3 steps" in outcome.err
    assert f"elman train language-model {corpus.resolve()} --steps 6 -o NEW" in outcome.err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights


def test_the_cell_of_a_file_keeps_its_name_in_the_run(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "my cell.tex"
    file.write_text("z_t =\\; \\sigma(W [h_{t-1}; x_t])\nh_t = z_t \\odot h_{t-1}\n", encoding="utf-8")
    outcome = train(elman, corpus, tmp_path / "run", "--steps", "2", "--cell", file)
    assert "x 8 my_cell," in outcome.err
    shown = elman("inspect", tmp_path / "run").out.splitlines()
    at = shown.index("name: my_cell")
    assert shown[at + 1 : at + 4] == ["output: h", "z    = sigmoid(W [h<t-1>, x])", "h<t> = z * h<t-1>"]
    (settings,) = [
        line for line in shown if line.startswith("task  ") and "hidden_size" in line and "cell name" in line
    ]
    assert r"cell name: my_cell; z_t =\; \sigma(W [h_{t-1}; x_t]); h_t = z_t \odot h_{t-1}  " in settings


def test_a_cell_of_the_catalogue_is_meant_beside_a_folder_or_file_of_its_name(
    elman: Elman, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(elman, corpus, Path("gru"), "--cell", "gru", "--steps", "2").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("gru").write_text("h = tanh(W h<t-1> + U x + b)\n", encoding="utf-8")
    assert elman("resume", tmp_path / "gru").code == 0, "the run means the same cell in any folder"
    assert elman("cells", "./gru").out != elman("cells", "gru").out, "./gru is the file"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_that_are_no_utf_8_are_kept_for_resuming(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    text, run = (tmp_path / os.fsdecode(name) for name in (b"t\xff.txt", b"r\xfe"))
    corpus.rename(text)
    assert train(elman, text, run, "--steps", "2", "--test", text, "-q").code == 0
    assert elman("resume", run, "-q").code == 0
    assert json.loads((run / "run.json").read_text("utf-8"))["config"]["file"] == str(text)


def test_a_terminated_run_is_resumed_to_the_same_weights(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    words = [*SMALL, "--steps", "150", "--checkpoint-every", "10", "--threads", "1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert elman("train", "language-model", corpus, "-o", whole, *words, "-q").code == 0
    command = [sys.executable, "-m", "elman", "train", "language-model", str(corpus), "-o", str(parts), *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(parts.glob("checkpoints/step-*")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    if child.returncode != 0:  # 0: it was done before the signal came
        assert child.returncode == 143 and f"elman resume {parts}".encode() in err
    assert out == b"" and b"Traceback" not in err
    assert elman("resume", parts, "-q").code == 0
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_sigterm_outside_of_training_is_143_too(elman: Elman, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("elman.cli.equations.read_cell", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert elman("explain", "x") == (143, "", "error: terminated\n")
    assert signal.getsignal(signal.SIGTERM) is handler, "who had the signal before gets it back"


# ---- use


def test_sample_writes_text_and_the_same_for_the_same_seed(elman: Elman, model: Path) -> None:
    first = elman("sample", model, "--prompt", "the ", "--length", "30", "--seed", "3")
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("the ") and len(first.out) == 4 + 30 + 1
    assert elman("sample", model, "--prompt", "the ", "--length", "30", "--seed", "3") == first
    assert elman("sample", model, "--prompt", "the ", "--length", "30", "--seed", "4") != first


def test_sample_i_does_not_depend_on_how_many_are_drawn(elman: Elman, model: Path) -> None:
    words = ["sample", model, "--length", "20", "--json", "--samples"]
    three, two = (json.loads(elman(*words, count).out)["samples"] for count in ("3", "2"))
    assert len(three) == 3 and three[:2] == two


def test_several_samples_are_told_apart(elman: Elman, model: Path) -> None:
    out = elman("sample", model, "--length", "5", "--samples", "2").out
    assert re.findall(r"^--- sample \d ---$", out, re.MULTILINE) == ["--- sample 1 ---", "--- sample 2 ---"]


def test_stop_ends_a_text_before_the_string(elman: Elman, model: Path) -> None:
    whole = elman("sample", model, "--length", "200", "--temperature", "0.5").out[:-1]
    assert elman("sample", model, "--length", "200", "--temperature", "0.5", "--stop", "e").out == (
        whole[: whole.index("e")] + "\n"
    )


def test_evaluate_defines_perplexity_by_its_loss(elman: Elman, model: Path, corpus: Path) -> None:
    outcome = elman("evaluate", "--json", model, corpus)
    found = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert found["tokens"] == len(SENTENCE) * 300 - 1
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert found["bits_per_character"] == pytest.approx(found["loss"] / math.log(2))
    assert found["loss"] < math.log(29), "40 steps teach more than nothing"
    piped = json.loads(elman("evaluate", "--json", model, "-", stdin=corpus.read_bytes()).out)
    assert {**piped, "data": None} == {**found, "data": None}


def test_score_is_the_sum_of_its_steps(elman: Elman, model: Path) -> None:
    outcome = elman("score", model, "--json", "--steps", stdin="the dog\r\nxq\na\u2028dog\n".encode())
    *rows, separated = json.loads(outcome.out)["sentences"]
    assert [row["text"] for row in rows] == ["the dog", "xq"]
    assert separated["text"] == "a\u2028dog", "as training reads lines"
    for row in rows:
        assert [step["token"] for step in row["steps"]] == list(row["text"])
        total = sum(math.log(step["probability"]) for step in row["steps"])
        assert row["log_probability"] == pytest.approx(total)
        assert row["perplexity"] == pytest.approx(math.exp(-total / len(row["text"])))
    assert rows[0]["perplexity"] < rows[1]["perplexity"], "what the text has is more probable than what it has not"


def test_score_as_text_has_a_line_for_each_sentence(elman: Elman, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("the dog\n\nthe fox\n", encoding="utf-8")
    lines = elman("score", model, path).out.splitlines()
    assert [line.split("\t")[-1] for line in lines] == ["TEXT", "the dog", "the fox"]


def test_score_reads_sequences_of_fasta_as_training_does(elman: Elman, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.fa"
    path.write_text(">first of two\nACGT\nacg\n\n>second\nTTT\n", encoding="ascii")
    lines = elman("score", model, path).out.splitlines()
    assert [line.split("\t")[-1] for line in lines] == ["TEXT", "ACGTACG", "TTT"]
    assert "did you mean 'two.fa'?" in elman("score", model, tmp_path / "to.fa").err


@pytest.mark.parametrize("verb", ["sample", "score", "evaluate", "diagnose", "resume", "inspect"])
def test_a_folder_that_is_not_there_has_a_near_name(elman: Elman, model: Path, corpus: Path, verb: str) -> None:
    outcome = elman(verb, model.with_name("modle"), *([corpus] if verb in ("score", "evaluate") else []))
    assert outcome.code == 66 and "folder must exist; got none; did you mean 'model'?" in outcome.err


def test_a_file_of_equations_that_is_not_there_has_a_near_name(
    elman: Elman, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.tex").write_text(GRU, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    outcome = train(elman, corpus, tmp_path / "run", "--cell", "mine.txe")
    assert outcome.code == 2 and "got 'mine.txe'; did you mean 'mine.tex'?" in outcome.err


def test_inspect_shows_model_and_run(elman: Elman, model: Path) -> None:
    code, out, err = elman("inspect", model)
    assert (code, err) == (0, "")
    for part in (package.cells["lstm"].plain().splitlines()[0], "W_f", "perplexity", "hash verified", "validation"):
        assert part in out


def test_a_damaged_checkpoint_is_named(elman: Elman, model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    checkpoint = next(copy.glob("checkpoints/step-*"))
    (checkpoint / "optimizer.safetensors").write_bytes(b"")
    outcome = elman("inspect", copy)
    assert outcome.code == 65 and "optimizer.safetensors" in outcome.err and "DAMAGED" in outcome.out


def test_a_checkpoint_of_a_newer_elman_is_not_called_damaged(elman: Elman, model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    checkpoint = next(copy.glob("checkpoints/step-*"))
    (checkpoint / "manifest.json").write_text('{"format_version": 2}')
    outcome = elman("inspect", copy)
    assert outcome.code == 65 and checkpoint.name in outcome.err and "pip install --upgrade elman" in outcome.err
    assert "of a newer Elman" in outcome.out and "DAMAGED" not in outcome.out
    assert json.loads(elman("inspect", "--json", copy).out)["damaged"] == []
    outcome = elman("resume", copy)
    assert outcome.code == 65 and checkpoint.name in outcome.err and "newer Elman" in outcome.err


def test_a_run_killed_before_it_began_leaves_its_folder_free(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").write_text("process 7 on host here\n", encoding="utf-8")
    (tmp_path / "run/.tmp-run.json-7").write_text("{", encoding="utf-8")
    assert train(elman, corpus, tmp_path / "run", "--steps", "1").code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other/lock").write_text("of mine", encoding="utf-8")
    assert "got one that holds 'lock'" in train(elman, corpus, tmp_path / "other", "--steps", "1").err


def test_a_run_killed_while_a_checkpoint_took_the_place_of_another_is_resumed(
    elman: Elman, corpus: Path, tmp_path: Path
) -> None:
    train(elman, corpus, tmp_path / "run", "--steps", "3")
    checkpoint = tmp_path / "run/checkpoints/step-000000003"
    checkpoint.rename(checkpoint.with_name(checkpoint.name + ".replaced"))
    outcome = elman("resume", tmp_path / "run")
    assert outcome.code == 0 and "nothing is left to train" in outcome.err


def test_diagnose_speaks_of_every_layer(elman: Elman, model: Path, tmp_path: Path) -> None:
    outcome = elman("diagnose", model, "--steps", "12", "--json", "--plot", tmp_path / "flow.png")
    found = json.loads(outcome.out)
    assert outcome.code == 0 and len(found["layers"]) == 1 and len(found["layers"][0]["relative"]) == 12
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    outcome = elman("diagnose", "--cell", "rnn", "--steps", "12", "--hidden-size", "5", "--input-size", "3")
    assert outcome.code == 0 and "(rnn)" in outcome.out


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_the_options_of_the_recurrent_part(elman: Elman, corpus: Path, task: str) -> None:
    """--bidirectional, too; where the model writes what comes next it is refused with the reason."""
    options = {flag for option in make_command(TASKS[task]).params for flag in option.opts}
    assert {"--cell", "--layers", "--hidden", "--hidden-size", "--bidirectional"} <= options
    if task in ("language-model", "music", "strings", "captioning"):
        refused = elman("train", task, corpus, "--bidirectional")
        assert refused.code == 2 and f"{task}: cannot be bidirectional: the direction that reads from the end sees" in (
            refused.err
        )
    else:
        assert "bidirectional" in TASKS[task].config.model_fields


def test_tasks_are_listed(elman: Elman) -> None:
    assert "language-model" in elman("tasks").out
    assert [task["name"] for task in json.loads(elman("tasks", "--json").out)] == list(TASKS)


# ---- Precision


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("target", "gain"),
    [
        ("amx", "this processor has AMX: --precision bf16 would be faster, 3 times"),
        ("avx512_bf16", "this processor has AVX-512-BF16: --precision bf16 would be faster, 1.7 times"),
        ("avx2", "--precision bf16 would be faster"),
    ],
)
def test_training_says_which_precision_runs_and_what_the_other_would_gain(
    elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, target: str, gain: str
) -> None:
    monkeypatch.setattr("elman.cli.runs.available", lambda: True)
    monkeypatch.setattr("elman.cli.runs.target", lambda: target)
    text = tmp_path / "text.txt"
    text.write_text(SENTENCE * 100, encoding="utf-8")
    words = [*SMALL, "--steps", "2", "--precision", precision, "-o", tmp_path / "run"]
    said = elman("train", "language-model", text, *words).err
    assert said.count(gain) == (precision == "float32" and target != "avx2")
    if native_available():
        assert ("engine cpu-bf16" in said) == (precision == "bf16") and "engine cpu" in said


# ---- demo


def test_the_demo_trains_and_samples_without_a_file(
    elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.cli.demonstrating.SIZES", {"layers": 1, "hidden_size": 16, "dropout": 0.0})
    monkeypatch.setattr("elman.cli.demonstrating.demo_text", lambda: demo_text.demo_text()[:20_000])
    run = tmp_path / "run"
    outcome = elman("demo", "--seconds", "1", "--json", "-o", run)
    found = json.loads(outcome.out)
    assert outcome.code == 0 and len(found["samples"]) == 3
    assert found["perplexity_after"] < found["perplexity_before"]
    assert "before training: loss" in outcome.err
    report = elman("evaluate", "--json", run, run / "text.txt")
    assert report.code == 0 and json.loads(report.out)["perplexity"] < found["perplexity_before"]


def test_the_demo_text_is_prose() -> None:
    lines = demo_text.demo_text().splitlines()
    assert sum(map(len, lines)) > 100_000
    assert len(set(lines)) == len(lines), "no paragraph twice, or validation would know training text"
    assert all(line.isascii() and line[0].isupper() for line in lines)


@pytest.mark.parametrize(
    ("paragraph", "prose"),
    [
        ("The *else* clause\n   is optional, and it runs when the loop ends by itself.",
         "The else clause is optional, and it runs when the loop ends by itself."),
        ("Heading\n=======", ""),
        ("   >>> print('hello, this is an example that is long enough to be prose')", ""),
        ("   stmt ::= expression (\"=\" expression)* and so on until the line is long enough.", ""),
        ("Too short.", ""),
    ],
)  # fmt: skip
def test_paragraphs_become_prose_or_nothing(paragraph: str, prose: str) -> None:
    assert demo_text.as_prose(paragraph) == prose
