"""The documentation is executed: Python blocks run, doctests hold, shell blocks are what the command line understands.

A block is marked by the word behind its fence. `python` runs, in file order, in one namespace a file; one that starts
with `>>>` is a doctest. Lines of a `shell` block are parsed: `elman ...` by the command line itself, `make ...` against
the Makefile. `latex`, `text`, `json` and `html` are shown only. No other word is allowed, so that nothing escapes by a
misspelling.
"""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import torch._dynamo

import elman
from elman.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "reference" not in path.parts),
]
# Each answer of the quiz runs in a namespace of its own, in test_quiz.py.
RUN_ELSEWHERE = {"quiz.md"}
SHOWN_ONLY = {"latex", "text", "json", "html"}
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = sorted(m.name for m in pkgutil.walk_packages(elman.__path__, "elman.") if not m.name.endswith("__main__"))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the word behind the fence, what it holds, and the line on which that begins."""

    language: str
    text: str
    line: int


def blocks(page: str, *languages: str) -> list[Block]:
    found = [Block(m[1], m[2], page.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(page)]
    return [block for block in found if not languages or block.language in languages]


def run_block(block: Block, where: str, namespace: dict[str, Any]) -> None:
    if block.text.lstrip().startswith(">>>"):
        example = doctest.DocTestParser().get_doctest(block.text, namespace, where, where, block.line - 1)
        # The parser copies the namespace; a later block must see what this one defines.
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, clear_globs=False)
        namespace.update(example.globs)
        assert result.failed == 0, f"{where}: the output differs, see above"
        return
    exec(compile("\n" * (block.line - 1) + block.text, where, "exec"), namespace)


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


RUN_HERE = [path for path in PAGES if path.name not in RUN_ELSEWHERE and blocks(path.read_text("utf-8"), "python")]


@pytest.mark.parametrize("path", RUN_HERE, ids=page_name)
def test_python_blocks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch._dynamo.reset()  # it remembers which functions another test's settings made it leave out
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(path.read_text(encoding="utf-8"), "python"):
        run_block(block, str(path), namespace)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_blocks_are_marked(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    unknown = [b for b in blocks(text) if b.language not in {"python", "shell", *SHOWN_ONLY}]
    assert not unknown, f"mark the block as python, shell or one of {sorted(SHOWN_ONLY)}"
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(blocks(text)), "a fence that is not closed"


def commands(block: Block) -> list[list[str]]:
    """Return the words of each line, comments left out and continued lines joined; a pipe separates commands."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [shlex.split(part) for line in words if line for part in shlex.join(line).split(" '|' ")]


def parse(words: list[str]) -> None:
    """Let the command line parse `elman WORDS` as it would, and run nothing.

    Raises:
        click.ClickException: a verb or option that does not exist, a value out of range, a missing argument.
    """
    from elman.cli import application

    command: click.Command = application
    while isinstance(command, click.Group):
        assert words, f"a verb is missing behind {command.name}"
        if words[0] in ("--help", "--version"):
            return
        context = click.Context(command)
        below = command.get_command(context, words[0])
        assert below is not None, f"no verb {words[0]!r}; known: {', '.join(command.list_commands(context))}"
        command, words = below, words[1:]
    if "--help" not in words:
        command.make_context(command.name, words).close()


def write_inputs(words: list[str]) -> None:
    """Make what a command reads exist: words that look like file names, and the folder that training leaves."""
    for word in words:
        if re.fullmatch(r"[\w-]+\.(txt|tex)", word):
            Path(word).write_text("a line of text\n", encoding="utf-8")
    Path("run").mkdir(exist_ok=True)


SHELL = [(path, block) for path in PAGES for block in blocks(path.read_text(encoding="utf-8"), "shell")]


@pytest.mark.parametrize(("path", "block"), SHELL, ids=[f"{page_name(path)}:{block.line}" for path, block in SHELL])
def test_shell_blocks_are_understood(path: Path, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for words in commands(block):
        if words[0] == "elman":
            write_inputs(words)
            parse(words[1:])
        elif "make" in words:
            assert set(words[words.index("make") + 1 :]) <= set(targets)


def output_of(words: list[str]) -> str:
    return words[words.index("-o") + 1]


@pytest.mark.parametrize(("path", "block"), SHELL, ids=[f"{page_name(path)}:{block.line}" for path, block in SHELL])
def test_what_an_example_writes_is_what_the_block_trains_on(
    path: Path, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    waiting: set[str] = set()
    for words in commands(block):
        if words[1:2] == ["example"] and "-o" in words:
            assert main(words[1:]) == 0
            waiting.add(words[2])
        elif words[1:2] == ["train"] and words[2] in waiting:
            assert Path(words[3]).exists(), f"{words[3]} is not what `elman example` wrote: {sorted(Path().rglob('*'))}"
            waiting.remove(words[2])


@pytest.mark.parametrize(("path", "block"), SHELL, ids=[f"{page_name(path)}:{block.line}" for path, block in SHELL])
def test_no_folder_of_a_block_is_trained_into_twice(path: Path, block: Block) -> None:
    folders = [output_of(words) for words in commands(block) if words[1:2] == ["train"] and "-o" in words]
    assert len(folders) == len(set(folders)), "the second would be refused: a run folder must be new"


def test_shell_block_with_an_unknown_option_would_be_found() -> None:
    with pytest.raises((click.ClickException, ValueError), match="--temprature"):
        parse(["sample", "run", "--temprature", "0.8"])
    with pytest.raises(AssertionError, match="no verb 'tarin'"):
        parse(["tarin", "language-model", "text.txt"])


def test_commands_are_split_as_a_shell_does() -> None:
    block = Block("shell", 'elman sample run \\\n  --prompt "a b"   # three\n\nelman cells | head -n 3\n', 1)
    expected = ["elman sample run --prompt 'a b'", "elman cells", "head -n 3"]
    assert commands(block) == [shlex.split(line) for line in expected]


def test_block_with_a_wrong_output_would_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    run_block(Block("python", ">>> x = 1 + 1\n>>> x\n2\n", 1), "page", names)
    run_block(Block("python", "y = x + 1\n", 5), "page", names)
    assert names["y"] == 3
    with pytest.raises(AssertionError, match="output differs"):
        run_block(Block("python", ">>> x\n5\n", 1), "page", names)
    assert "Expected:\n    5\nGot:\n    2" in capsys.readouterr().out


@pytest.mark.parametrize("name", MODULES)
def test_doctests_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0, f"{name}: {result.failed} of {result.attempted} examples fail, see above"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [t for t in targets if t and "reference/" not in t and not (path.parent / t).exists()]
    assert not missing, f"no such file: {', '.join(missing)}"


def test_reference_pages_show_every_cell_and_every_verb(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from elman.cli import application

    page = (tmp_path / "cells.md").read_text(encoding="utf-8")
    for name, cell in elman.cells.items():
        assert f"## {name}\n" in page
        assert cell.plain() in page
        assert cell.backward_plain() in page
        assert (tmp_path / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg")
    page = (tmp_path / "command-line.md").read_text(encoding="utf-8")
    for verb in application.list_commands(click.Context(application)):
        assert f"## elman {verb}\n" in page


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_time_indices_are_written_as_code(path: Path) -> None:
    """Outside code, Markdown takes <t> for a tag of HTML, and the reader sees nothing."""
    text = FENCE.sub(lambda match: "\n" * match[0].count("\n"), path.read_text(encoding="utf-8"))
    outside = [re.sub(r"`[^`]*`", "", line) for line in text.splitlines() if not line.startswith("    ")]
    swallowed = [line for line in outside if re.search(r"<[A-Za-z]", line)]
    assert not swallowed, "write it between backticks:\n" + "\n".join(swallowed)
