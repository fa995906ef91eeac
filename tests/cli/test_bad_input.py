"""Bad input to the command line: one clear error, the right exit code, no traceback, nothing damaged."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import elman as package
from elman.cli import main
from elman.cli.synonyms import SYNONYMS, nearest_option
from elman.tasks import TASKS
from elman.training import RunFolder

Elman = Callable[..., Any]
SENTENCE = "the quick brown fox jumps over the lazy dog and the dog sleeps on.\n"
SMALL = ["--hidden-size", "8", "--layers", "1", "--dropout", "0", "--steps", "2", "--streams", "2", "-q"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of two steps, made by the command line."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "text.txt"
    text.write_text(SENTENCE * 40, encoding="utf-8")
    assert main(["train", "language-model", str(text), "-o", str(folder / "model"), *SMALL]) == 0
    return folder / "model"


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained model that a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "model"))


def refused(outcome: Any, code: int, *parts: str) -> None:
    """Check that a run ended with one clear error and said nothing else on stdout."""
    assert outcome.code == code, outcome.err
    assert outcome.err.count("error: ") == 1
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err and "unexpected" not in outcome.err
    assert outcome.out == ""
    for part in parts:
        assert part in outcome.err


# ---- texts


TEXTS: dict[str, tuple[bytes | None, int, str]] = {
    "missing": (None, 66, "did you mean 'texts.txt'?"),
    "empty": (b"", 65, "empty"),
    "binary": (b"\x7fELF\x02\x01\x00\x00" * 500, 65, "byte offset 6"),
    "bad UTF-8": (SENTENCE.encode() * 60 + b"\xff" + SENTENCE.encode(), 65, f"byte offset {67 * 60:,} (line 61)"),
    "UTF-16": (SENTENCE.encode("utf-16") * 60, 65, "it begins as UTF-16 does"),
    "one line": (b"a line", 65, "text.txt"),
    "one character": (b"a", 65, "text.txt"),
    "too short for a batch": (SENTENCE.encode(), 65, "text.txt"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_that_cannot_be_trained_on(
    elman: Elman, tmp_path: Path, undamaged: Callable[[], None], kind: str
) -> None:
    data, code, part = TEXTS[kind]
    (tmp_path / "texts.txt").write_bytes(b"x")
    path = tmp_path / "text.txt"
    if data is not None:
        path.write_bytes(data)
    undamaged()
    outcome = elman("train", "language-model", path, "-o", tmp_path / "run", "--steps", "2", "--streams", "64")
    refused(outcome, code, part)
    assert not (tmp_path / "run").exists(), "nothing is left of a run that was refused"


def test_a_folder_is_no_text(elman: Elman, tmp_path: Path) -> None:
    refused(elman("train", "language-model", tmp_path, "-o", tmp_path / "run"), 65, "got a folder")


def test_every_synonym_leads_to_an_option_that_exists(elman: Elman) -> None:
    verbs = [["train", name] for name in TASKS] + [["sample"], ["predict"]]
    known = {word for verb in verbs for word in elman(*verb, "--help").out.replace(",", " ").split()}
    assert set(SYNONYMS) <= known
    for option, words in SYNONYMS.items():
        assert all(nearest_option(f"--{word}", [option]) == f"; did you mean {option!r}?" for word in words.split())
    assert nearest_option("--cepstra", ["--test", "--epochs"]) == ""  # the dashes are alike in any two
    assert nearest_option("--tset", ["--test", "--epochs"]) == "; did you mean '--test'?"


def test_an_empty_stdin_is_no_text(elman: Elman, tmp_path: Path) -> None:
    outcome = elman("train", "language-model", "-", "-o", tmp_path / "run", stdin=b"")
    refused(outcome, 65, "error: stdin: must hold text; the file is empty")
    assert not (tmp_path / "run").exists()


# ---- options


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--hidden-size", str(10**18)], ["--hidden-size: must be at most 65536; got 1000000000000000000"]),
        (["--layers", str(10**6)], ["--layers: must be at most 1024; got 1000000"]),
        (["--hidden-size", "65536", "--layers", "1024"], ["must have at most 2,000,000,000 parameters"]),
        (["--hidden-size", "9" * 5000], ["--hidden-size: must be"]),
        (["--streams", "65536"], ["corpus.txt"]),
        (["--learning-rate", "inf"], ["--learning-rate: must be a finite number; got inf"]),
        (["--dropout", "1"], ["--dropout: must be less than 1; got 1"]),
        (["--level", "sentence"], ["--level: must be one of character, word, subword; got sentence"]),
        (["--hidden-sise", "3"], ["got '--hidden-sise'; did you mean '--hidden-size'?"]),
        (["--lr", "0.1"], ["got '--lr'; did you mean '--learning-rate'?"]),
        (["--bs", "3"], ["got '--bs'; did you mean '--streams'?"]),
        (["--nhid", "3"], ["got '--nhid'; did you mean '--hidden-size'?"]),
        (["--num_layers", "3"], ["got '--num_layers'; did you mean '--layers'?"]),
        (["--epoch", "3"], ["got '--epoch'; did you mean '--epochs'?"]),
        (["--frobnicate", "3"], ["got '--frobnicate'\n"]),
        (["--cell", "gruu"], ["got 'gruu'; did you mean 'gru'?"]),
        (["--momentum", "0.9"], ["--momentum has an effect with --optimizer sgd or asgd only"]),
        (["--embedding-size", "0", "--tied"], ["tied"]),
        (["--steps", "0", "--minutes", "-1", "--seed", "x"],
         ["3 options cannot be used as given", "--steps: must be", "--minutes: must be", "--seed: must be"]),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(
    elman: Elman, corpus: Path, tmp_path: Path, undamaged: Callable[[], None], words: list[str], parts: list[str]
) -> None:
    undamaged()
    code = 65 if words[0] == "--streams" else 2
    refused(elman("train", "language-model", corpus, "-o", tmp_path / "run", *words), code, *parts)
    assert not (tmp_path / "run").exists()


def test_an_unknown_task_is_answered_with_the_nearest(elman: Elman, corpus: Path) -> None:
    refused(elman("train", "langage-model", corpus), 2, "got 'langage-model'; did you mean 'language-model'?")


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        (b"hiden_size = 3\n", 2, "unknown option 'hiden_size'; did you mean 'hidden_size'?"),
        (b"hidden_size = = 3\n", 65, "line 1"),
        (b"hidden_size = '3 units'\n", 2, "hidden_size: must be a whole number; got '3 units'"),
        (b"hidden_size = true\n", 2, "hidden_size: must be neither true nor false; got True"),
        (b"tied = 3\n", 2, "tied: must be true or false; got 3"),
        (b"\xff\xfe", 65, "recipe.toml"),
        (None, 66, "recipe.toml"),
    ],
)
def test_recipes(elman: Elman, corpus: Path, tmp_path: Path, text: bytes | None, code: int, part: str) -> None:
    recipe = tmp_path / "recipe.toml"
    if text is not None:
        recipe.write_bytes(text)
    refused(elman("train", "language-model", corpus, "-o", tmp_path / "run", "--config", recipe), code, part)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("h = tanh(W h<t-1> + U x + q)", "unknown name 'q'"),
        ("h = tanh(W h<t-1> + U x", "h = tanh(W h<t-1> + U x"),
        ("h = 3", "error: "),
        ("r = tanh(W s)\ns = tanh(U r)\nh = r + h<t-1>", "error: "),
    ],
)
def test_broken_equations_show_file_line_and_caret(
    elman: Elman, corpus: Path, tmp_path: Path, text: str, part: str
) -> None:
    path = tmp_path / "mine.tex"
    path.write_text(text, encoding="utf-8")
    outcome = elman("train", "language-model", corpus, "-o", tmp_path / "run", "--cell", path)
    refused(outcome, 65, f"error: {path}: ", part)
    assert not (tmp_path / "run").exists()


# ---- folders


def test_a_run_folder_that_holds_something_else(
    elman: Elman, corpus: Path, tmp_path: Path, undamaged: Callable[[], None]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"jpeg")
    undamaged()
    outcome = elman("train", "language-model", corpus, "-o", tmp_path / "photos", *SMALL)
    refused(outcome, 2, "must be new or empty; got one that holds 'one.jpg'")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["one.jpg"]


def test_a_run_folder_that_is_used(elman: Elman, corpus: Path, model: Path, undamaged: Callable[[], None]) -> None:
    undamaged()
    refused(elman("train", "language-model", corpus, "-o", model, *SMALL), 2, f"elman resume {model}")


def test_a_run_folder_that_is_a_file(elman: Elman, corpus: Path, undamaged: Callable[[], None]) -> None:
    undamaged()
    refused(elman("train", "language-model", corpus, "-o", corpus, *SMALL), 2, "must be a folder; got a file")


def test_a_second_process_on_a_run_folder(
    elman: Elman, corpus: Path, model: Path, undamaged: Callable[[], None]
) -> None:
    with RunFolder.open(model):
        undamaged()
        refused(elman("resume", model), 75, f"in use by process {os.getpid()}")
        refused(elman("train", "language-model", corpus, "-o", model, *SMALL), 75, "in use by process")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_place(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(elman("train", "language-model", corpus, "-o", tmp_path / "locked" / "run", *SMALL), 74, "locked")


def test_a_place_that_cannot_exist(elman: Elman, corpus: Path, undamaged: Callable[[], None]) -> None:
    undamaged()
    refused(elman("train", "language-model", corpus, "-o", corpus / "run", *SMALL), 74, "Not a directory")


@pytest.mark.parametrize("kind", ["missing", "empty folder", "file", "no run.json"])
def test_resuming_what_is_no_run(
    elman: Elman, model: Path, tmp_path: Path, undamaged: Callable[[], None], kind: str
) -> None:
    place = {"missing": tmp_path / "no", "empty folder": tmp_path / "e", "file": tmp_path / "f", "no run.json": model}
    (tmp_path / "e").mkdir()
    (tmp_path / "f").write_text("x")
    (model / "run.json").unlink()
    undamaged()
    refused(elman("resume", place[kind]), 66, str(place[kind]))


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        (lambda run: run.update(task="chess"), 65, "task must be one of language-model, "),
        (lambda run: run["config"]["task"].update(layers=-1), 65, "config must be one of language-model"),
        (lambda run: run["config"].pop("file"), 65, "config must be one of language-model; got 'file'"),
        (lambda run: run.update(format_version=99), 65, "made by a newer Elman"),
        (lambda run: run.update(task=[]), 65, "task must be one of"),
        (lambda run: run["config"].update(file="/no/such/text"), 66, "/no/such/text"),
    ],
)
def test_resuming_an_edited_run(
    elman: Elman, model: Path, undamaged: Callable[[], None], change: Callable[[Any], Any], code: int, part: str
) -> None:
    run = json.loads((model / "run.json").read_text(encoding="utf-8"))
    change(run)
    (model / "run.json").write_text(json.dumps(run), encoding="utf-8")
    undamaged()
    refused(elman("resume", model, "-q"), code, part)


def test_resuming_on_changed_data(elman: Elman, corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert elman("train", "language-model", corpus, "-o", run, *SMALL).code == 0
    corpus.write_text(SENTENCE * 301, encoding="utf-8")
    refused(elman("resume", run, "-q"), 65, "data must be what the run began with")


# ---- models


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit(folder: Path, *keys: str, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    inner = config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


DAMAGES: dict[str, tuple[Callable[[Path], Any], int]] = {
    "truncated tensors": (lambda f: os.truncate(f / "model.safetensors", 1000), 65),
    "empty tensors": (lambda f: os.truncate(f / "model.safetensors", 0), 65),
    "flipped byte": (lambda f: flip(f / "model.safetensors"), 65),
    "flipped header": (lambda f: flip(f / "model.safetensors", 3), 65),
    "larger sizes": (lambda f: edit(f, "model", "hidden_size", value=60_000), 65),
    "absurd sizes": (lambda f: edit(f, "model", "hidden_size", value=10**18), 65),
    "negative sizes": (lambda f: edit(f, "model", "layers", value=-1), 65),
    "other equations": (lambda f: edit(f, "cell", "equations", value="h = tanh(W_h h<t-1> + W_x x)"), 65),
    "broken equations": (lambda f: edit(f, "cell", "equations", value="h = = ("), 65),
    "other task": (lambda f: edit(f, "task", value="chess"), 65),
    "newer format": (lambda f: edit(f, "format_version", value=99), 65),
    "missing tensors": (lambda f: (f / "model.safetensors").unlink(), 66),
    "missing vocabulary": (lambda f: (f / "vocabulary.json").unlink(), 66),
    "missing config": (lambda f: (f / "config.json").unlink(), 66),
    "edited vocabulary": (lambda f: flip(f / "vocabulary.json", 20), 65),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{'a': 1}"), 65),
    "config is deep": (lambda f: (f / "config.json").write_text("[" * 200_000), 65),
    "tensors are a link": (lambda f: _link(f / "model.safetensors"), 65),
    "config is a folder": (lambda f: _folder(f / "config.json"), 65),
}


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_models(elman: Elman, model: Path, undamaged: Callable[[], None], kind: str) -> None:
    damage, code = DAMAGES[kind]
    damage(model)
    undamaged()
    refused(elman("sample", model, "--length", "3"), code)


@pytest.mark.parametrize("verb", [["sample"], ["score"], ["evaluate"], ["diagnose"], ["inspect"]])
@pytest.mark.parametrize("kind", ["missing", "file", "empty folder"])
def test_what_is_no_model(elman: Elman, tmp_path: Path, corpus: Path, verb: list[str], kind: str) -> None:
    (tmp_path / "e").mkdir()
    folder = {"missing": tmp_path / "no", "file": corpus, "empty folder": tmp_path / "e"}[kind]
    words = [corpus] if verb == ["evaluate"] else []
    refused(elman(*verb, folder, *words, stdin=b"text\n"), 66, str(folder))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--temperature", "nan"], "--temperature: must be"),
        (["--temperature", "0"], "--temperature: must be more than 0; got 0"),
        (["--length", "-5"], "--length: must be at least 1; got -5"),
        (["--top-p", "1.5", "--top-k", "0"], "2 options cannot be used as given"),
        (["--greedy", "--temperature", "0.5"], "--greedy draws nothing"),
        (["--prompt", "\u4f60\u597d"], "prompt: must use the vocabulary of the model"),
        (["--stop", ""], "stop"),
    ],
)
def test_sampling_options(elman: Elman, trained: Path, words: list[str], part: str) -> None:
    refused(elman("sample", trained, *words), 2, part)


def test_texts_to_evaluate(elman: Elman, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    for data, code, part in [
        (None, 66, "text.txt"),
        (b"", 65, "empty"),
        (b"t", 65, "must have at least 2 tokens"),
        (b"\xef\xbb\xbf", 65, "must have at least 2 tokens; got 0"),
        (b"the \xff", 65, "byte offset 4"),
    ]:
        if data is not None:
            path.write_bytes(data)
        refused(elman("evaluate", trained, path), code, part)


def test_another_alphabet_is_counted_as_unknown(elman: Elman, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\u4f60\u597d\n" * 5, encoding="utf-8")
    outcome = elman("evaluate", "--json", trained, path)
    found = json.loads(outcome.out)
    assert outcome.code == 0 and found["unknown"] == 10 and found["tokens"] == 14


def test_nothing_to_score(elman: Elman, trained: Path) -> None:
    refused(elman("score", trained, stdin=b" \n\n"), 65, "stdin: must have at least one line of text")
    refused(elman("score", trained, stdin=b"\xff\n"), 65, "stdin: must be UTF-8; got the byte 0xff at offset 0")


# ---- the machine


def run_limited(words: list[str], limit: int) -> subprocess.CompletedProcess[str]:
    """Run `elman` in a process that cannot write a file beyond `limit` bytes."""

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "elman", *words],
        preexec_fn=restrict,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("limit", [1_000, 12_000])
def test_a_full_disk(corpus: Path, tmp_path: Path, undamaged: Callable[[], None], limit: int) -> None:
    """1 kB is too little for the token store, 12 kB for a checkpoint."""
    undamaged()
    words = ["train", "language-model", str(corpus), "-o", str(tmp_path / "run"), *SMALL, "--level", "word"]
    done = run_limited(words, limit)
    refused(Failed(done.returncode, done.stdout, done.stderr), 74, "must be writable", "File too large")
    assert not list(tmp_path.rglob(".tmp-*"))


class Failed:
    """What a process left, in the shape of an outcome."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, where the system lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs privileges")
    yield place
    # Lazily: the token store of the run that failed may still be mapped.
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_small_file_system_that_fills_up(elman: Elman, corpus: Path, small_disk: Path) -> None:
    words = ["--hidden-size", "200", "--layers", "1", "--dropout", "0", "--steps", "2", "--streams", "2", "-q"]
    outcome = elman("train", "language-model", corpus, "-o", small_disk / "run", *words)
    refused(outcome, 74, "No space left on device", "bytes are free")
    assert not list(small_disk.rglob(".tmp-*"))
    assert elman("inspect", small_disk / "run").code == 0, "what was there before is whole"
