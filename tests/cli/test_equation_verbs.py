"""`elman cells`, `elman explain`, `elman doctor`, `elman completion` and what all verbs share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest

import elman as package
from elman.cli import application
from elman.equations import Cell
from elman.plans import native

GRU = r"""
\tilde{c}^{<t>} = \tanh(W_c[\Gamma_r * c^{<t-1>}, x^{<t>}] + b_c)
\Gamma_u = \sigma(W_u[c^{<t-1>}, x^{<t>}] + b_u)
\Gamma_r = \sigma(W_r[c^{<t-1>}, x^{<t>}] + b_r)
c^{<t>} = \Gamma_u * \tilde{c}^{<t>} + (1 - \Gamma_u) * c^{<t-1>}
"""
Elman = Callable[..., Any]


def process(
    *words: str, stdin: bytes | None = b"", shell: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m elman` as a process of its own."""
    command = [sys.executable, "-m", "elman", *words]
    root = Path(package.__file__).parents[1]
    inherited = {**os.environ, "PYTHONPATH": str(root), **environment}
    if shell:
        command = ["bash", "-c", shell.replace("ELMAN", f"{sys.executable} -m elman")]
    return subprocess.run(command, input=stdin, capture_output=True, env=inherited, check=False, timeout=120)


# ---- what all verbs share


def commands() -> list[click.Command]:
    return list(application.commands.values())


@pytest.mark.parametrize("command", commands(), ids=lambda command: str(command.name))
def test_every_verb_and_option_is_documented(command: click.Command) -> None:
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{command.name} {option.opts[0]}"


def test_version_and_help_go_to_stdout_and_load_no_torch(elman: Elman) -> None:
    assert elman("--version") == (0, f"elman {package.__version__}\n", "")
    check = "import sys; from elman.cli import main; code = main(['--help']); sys.exit(code or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "explain" in done.stdout


def test_module_runs_like_the_command() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"elman {package.__version__}\n".encode())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "error: elman: command must be one of cells, "),
        (["explain", "--hiden-size", "3", "x"], "did you mean '--hidden-size'?"),
        (["cells", "lstmm"], "did you mean 'lstm'?"),
        (["cells", "gru", "lstm"], "error: elman cells: "),
        (["explain"], "error: elman explain: "),
        (["explain", "h = tanh(W h<t-1>)", "--hidden-size", "0"], "error: elman explain: "),
        (["explain", "h = tanh(W h<t-1>)", "--size", "P=-1"], "error: elman explain: "),
        (["diagnose"], "error: elman diagnose: give either a MODEL or --cell; got none"),
        (["diagnose", "m", "--cell", "gru"], "got both"),
        (["cells", "--latex"], "error: elman cells: --latex shows one cell; got no NAME"),
    ],
)
def test_usage_errors(elman: Elman, words: list[str], expected: str) -> None:
    code, out, err = elman(*words)
    assert code == 2
    assert out == ""
    assert expected in err and err.count("error: ") == 1 and "Traceback" not in err


def test_train_alone_asks_for_a_task_in_one_line(elman: Elman) -> None:
    code, out, err = elman("train")
    assert (code, out) == (2, "")
    assert err.startswith("error: elman train: task must be given, one of language-model, ")
    assert len(err.splitlines()) == 3 and "elman tasks" in err.splitlines()[2]


def test_the_command_alone_shows_its_help(elman: Elman) -> None:
    code, out, err = elman()
    assert (code, err) == (0, "") and out.startswith("Usage: elman ")


def test_nearest_command_is_named(elman: Elman) -> None:
    assert "got 'trian'; did you mean 'train'?" in elman("trian").err


def test_all_contradictions_are_told_at_once(elman: Elman) -> None:
    code, _, err = elman("cells", "gru", "--svg", "-", "--bptt", "--latex", "--json")
    assert code == 2
    assert [line for line in err.splitlines() if line.startswith("  ")] == [
        "  --bptt and --svg exclude each other",
        "  --latex and --svg exclude each other",
        "  --json and --svg exclude each other",
    ]


def test_an_unexpected_exception_is_one_line_and_a_traceback_with_debug(
    elman: Elman, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr("elman.cli.equations.read_cell", fail)
    code, out, err = elman("explain", "x")
    assert (code, out) == (1, "")
    assert err == "error: unexpected ZeroDivisionError: one\n\nhint: run with --debug and report what it shows\n"
    for words in (["explain", "x", "--debug"], ["--debug", "explain", "x"]):
        code, _, err = elman(*words)
        assert code == 1 and "Traceback" in err and err.count("error: ") == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "memory: more is needed than there is"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 1, "memory: more is needed"),
        (RecursionError(), 1, "input: must not be nested this deeply"),
        (PermissionError(13, "Permission denied", "/x/y"), 74, "/x/y: must be usable; got Permission denied"),
        (FileNotFoundError(2, "No such file or directory", "/x/y"), 66, "/x/y: must be usable"),
        (OSError(28, "No space left on device"), 74, "file system: must be usable; got No space left on device"),
        (BrokenPipeError(), 141, ""),
        (SystemExit(143), 143, ""),
    ],
)
def test_exit_codes(elman: Elman, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("elman.cli.equations.read_cell", fail)
    outcome = elman("explain", "x")
    assert outcome.code == code
    # click ends the line of a ^C.
    assert outcome.err.lstrip().startswith(f"error: {text}") if text else outcome.err == ""


def test_a_name_cannot_steer_the_terminal(elman: Elman) -> None:
    err = elman("explain", "/tmp/\x1b[31mred\x07.tex").err
    assert "\x1b" not in err and "\\x1b[31mred\\x07" in err


def test_data_is_utf_8_whatever_the_locale() -> None:
    done = process("cells", GRU, "--svg", "-", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "Γ" in done.stdout.decode("utf-8")


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = "ELMAN explain 'h = tanh(W h<t-1> + U x)' | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}"
    done = process(shell="for i in 1 2 3; do true; done; " + shell)
    assert done.stdout.strip() in (b"0", b"141") and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_an_error() -> None:
    done = process(shell="ELMAN explain 'h = tanh(W h<t-1> + U x)' >/dev/full")
    assert done.returncode == 74
    assert done.stderr == b"error: stdout: must be writable; got No space left on device\n"


def test_closed_streams_are_errors() -> None:
    done = process(shell="ELMAN explain - <&-")
    assert (done.returncode, done.stderr) == (66, b"error: stdin: must be open; got a closed one\n")
    done = process(shell="ELMAN explain 'h = tanh(W h<t-1> + U x)' >&-")
    assert (done.returncode, done.stderr) == (74, b"error: stdout: must be open; got a closed one\n")


# ---- explain


def test_explain_reads_a_file_stdin_and_the_equations_themselves(elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "mine.tex"
    path.write_text(GRU, encoding="utf-8")
    expected = Cell(GRU)
    for words, stdin in ((["explain", path], b""), (["explain", "-"], GRU.encode()), (["explain", GRU], b"")):
        code, out, err = elman(*words, stdin=stdin)
        assert (code, err) == (0, "")
        for part in (expected.plain(), expected.latex(), expected.backward_plain()):
            assert part in out


def test_explain_json_has_shapes_and_costs(elman: Elman) -> None:
    code, out, _ = elman("explain", "--json", "--input-size", "3", "--hidden-size", "5", GRU)
    found = json.loads(out)
    assert code == 0
    assert found["states"] == {"c": 5} and found["output"] == "c" and found["input"] == "x"
    assert found["parameters"]["W_c"] == [5, 8] and found["parameters"]["b_r"] == [5]
    assert found["parameter_count"] == 3 * (5 * 8 + 5)
    # Two rounds of recurrent products: two gates of c<t-1>, then r * c<t-1>: 3 matrices of 5 x 5.
    assert found["recurrent_products"] == 3 and found["flops"]["recurrent"] == 3 * 2 * 25
    assert found["plain"] == Cell(GRU).plain()


def test_semicolons_separate_inline_equations(elman: Elman) -> None:
    found = json.loads(elman("explain", "--json", "z = sigmoid(W_z x + b_z); h = z * h<t-1> + (1 - z) * (W_h x)").out)
    assert list(found["states"]) == ["h"]


def test_declared_sizes_functions_and_output_are_used(elman: Elman) -> None:
    text = "size: h = P; c = g_1(W_c h<t-1> + U_c x); h = R c"
    words = ["explain", "--json", text, "--size", "P=7", "--function", "g_1=relu", "--output", "c"]
    found = json.loads(elman(*words).out)
    assert found["states"] == {"h": 7} and found["output"] == "c"
    assert "relu(W_c" in found["plain"]


@pytest.mark.parametrize(
    ("data", "code", "expected"),
    [
        (b"h = tanh(W h<t-1> + q x)", 65, "broken.tex: line 1: unknown name 'q'\n    h = tanh(W h<t-1> + q x)\n"),
        (b"h = tanh(W h<t-1>\xff)", 65, "must be UTF-8; got the byte 0xff at offset 17"),
        (b"h = \0", 65, "must be text; got a zero byte at offset 4"),
        (b"", 65, "error: "),
        (b"(" * 100_000, 65, "error: "),
        (b"h = 1\n" * 300_000, 65, "must have at most 1048576 bytes; got more"),
    ],
)
def test_broken_equations(elman: Elman, tmp_path: Path, data: bytes, code: int, expected: str) -> None:
    path = tmp_path / "broken.tex"
    path.write_bytes(data)
    outcome = elman("explain", path)
    assert outcome.code == code and outcome.out == ""
    assert expected in outcome.err and outcome.err.count("error: ") == 1 and "Traceback" not in outcome.err


def test_a_missing_file_and_a_folder_are_no_equations(elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "gru.tex").write_text(GRU, encoding="utf-8")
    outcome = elman("explain", tmp_path / "grru.tex")
    assert outcome == (66, "", f"error: {tmp_path}/grru.tex: file must exist; got none; did you mean 'gru.tex'?\n")
    assert elman("explain", tmp_path) == (
        65,
        "",
        f"error: {tmp_path}: must be a file; got a folder\n\nhint: name a file in it\n",
    )


# ---- cells


def test_cells_lists_the_catalogue(elman: Elman) -> None:
    listed = json.loads(elman("cells", "--json").out)
    assert {"rnn", "gru", "lstm"} <= {cell["name"] for cell in listed}
    lines = elman("cells").out.splitlines()
    assert len(lines) == 1 + len(listed)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], lambda cell: cell.plain()),
        (["--latex"], lambda cell: cell.latex()),
        (["--bptt"], lambda cell: cell.backward_plain()),
        (["--bptt", "--latex"], lambda cell: cell.backward_latex()),
    ],
)
def test_one_cell_is_printed_and_parses_back(elman: Elman, options: list[str], text: Callable[[Cell], str]) -> None:
    code, out, err = elman("cells", "lstm", *options)
    assert (code, err) == (0, "")
    assert text(package.cells["lstm"]) in out
    if not options:
        assert Cell(out).plain() == package.cells["lstm"].plain(), "the heading is a comment"


def test_a_cell_is_drawn_into_a_file_and_onto_stdout(elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "gru.svg"
    assert elman("cells", "gru", "--svg", path) == (0, "", "")
    assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert elman("cells", "gru", "--svg", "-").out == path.read_text(encoding="utf-8")
    outcome = elman("cells", "gru", "--svg", tmp_path / "no" / "gru.svg")
    assert outcome.code == 2 and "--svg: must be a file in a folder that exists" in outcome.err


@pytest.mark.parametrize("name", sorted(package.cells))
def test_every_cell_of_the_catalogue_can_be_drawn(name: str, elman: Elman) -> None:
    root = ElementTree.fromstring(elman("cells", name, "--svg", "-").out)
    assert root.findtext("{http://www.w3.org/2000/svg}desc") == package.cells[name].plain()


# ---- completion and doctor


def test_completion_scripts_and_what_they_call(elman: Elman) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = elman("completion", shell)
        assert code == 0 and "_ELMAN_COMPLETE" in out
    environment = {"_ELMAN_COMPLETE": "bash_complete", "COMP_WORDS": "elman exp", "COMP_CWORD": "1"}
    check = "import sys; from elman.cli import main; sys.argv[0] = 'elman'; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.stdout == "plain,explain\n"


def test_doctor_reports_versions_and_agreeing_engines(elman: Elman) -> None:
    code, out, err = elman("doctor", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["elman"] == package.__version__ and found["healthy"]
    agreement = found["engine"]["agreement"]
    assert 0 < agreement["float32"]["difference"] <= 1e-5 and agreement["float64"]["difference"] <= 1e-10
    assert found["engine"]["threads"] >= 1
    said = elman("doctor").out
    assert "everything works" in said
    if native.available():
        assert agreement["float32"]["engine"] == "cpu"
        assert f"engine of float32  cpu ({native.target()}); differs from the reference by" in said


def test_doctor_fails_when_engines_disagree(elman: Elman, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = {
        "native": None,
        "agreement": {
            "float32": {"engine": "cpu", "difference": 0.1, "tolerance": 1e-5},
            "float64": {"engine": "torch", "difference": 0.0, "tolerance": 1e-10},
        },
        "threads": 1,
        "torch_vectors": "x",
        "gpu": None,
    }
    monkeypatch.setattr("elman.cli.doctoring.engine", lambda: engine)
    outcome = elman("doctor")
    assert outcome.code == 1 and "something is wrong" in outcome.out


def test_an_output_equation_alone_is_explained(elman: Elman, tmp_path: Path) -> None:
    """The notes' bidirectional output equation, as printed."""
    file = tmp_path / "head.tex"
    file.write_text(r"$$\cdot \hat{y}^{<t>} = g(W_y[\vec{a}^{<t>}, \overleftarrow{a}^{<t>}] + b_y)$$", encoding="utf-8")
    code, out, err = elman("explain", file, "--hidden-size", "4")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "y^ = softmax(W_y [a>, a<] + b_y)"
    assert "directions  both" in out
    assert "(K, 8)" in out
    assert json.loads(elman("explain", file, "--json")[1])["bidirectional"] is True
