"""The repository keeps its own rules: no machine's paths, no banned names, short functions, pins in one place."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Written in halves, so that this file does not hold what it looks for.
FORBIDDEN = {
    "the path of a workplace": r"(?<![\w.~-])/(wo" + r"rk|ro" + r"ot|ho" + r"me|Us" + r"ers|tm" + r"p/v|o" + r"pt)/",
    "the host of a package registry": r"(py"
    + r"pi|pytho"
    + r"nhosted|download\.py"
    + r"torch|conda\.a"
    + r"naconda)\.org",
    "a note to oneself": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a stub": r"\bNotImpl" + r"emented(Error)?\b",
    "a swallowed error": r"except[^\n:]*:\s*pas" + r"s\b",
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager", "managers"}
LONGEST_FILE, LONG_FUNCTION = 500, 45


def tracked() -> list[Path]:
    """Return the files of the repository: what git tracks or would add; without git, what make leaves alone."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    folders = ("elman", "tests", "docs", "benchmarks", "examples", "requirements")
    return [path for folder in folders for path in (ROOT / folder).rglob("*.*") if "__pycache__" not in path.parts]


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the repository; the licence and what is not UTF-8 are left out."""
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:4096] and path.name != "LICENSE":
            yield path.relative_to(ROOT), data.decode("utf-8", errors="replace")


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in texts()
        for match in re.finditer(FORBIDDEN[what], text)
    ]
    assert not found, f"{what} in\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("the path of a workplace", "see /wo" + "rk/shared"),
        ("the path of a workplace", '"/tm' + 'p/v/bin/python"'),
        ("the host of a package registry", "https://py" + "pi.org/simple"),
        ("a note to oneself", "# TO" + "DO: later"),
        ("a stub", "raise NotImpl" + "ementedError"),
        ("a swallowed error", "except OSError:\n        pas" + "s"),
    ],
)
def test_forbidden_text_would_be_found(what: str, text: str) -> None:
    assert re.search(FORBIDDEN[what], text)


def test_files_say_what_they_hold() -> None:
    named = [path for path, _ in texts() if {*path.parts[:-1], path.stem} & BANNED_NAMES]
    assert not named, f"a name that says nothing: {', '.join(map(str, named))}"


def code_lines(node: ast.AST, source: list[str]) -> int:
    """Return the lines of `node` that hold code: no blanks, no comments, no docstrings."""
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", len(source))
    documented: set[int] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant) and isinstance(inner.value.value, str):
            documented.update(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    lines = ((number, source[number - 1].strip()) for number in range(first, last + 1))
    return sum(1 for number, line in lines if line and not line.startswith("#") and number not in documented)


def sources() -> dict[str, tuple[list[str], ast.Module]]:
    read = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "elman").rglob("*.py"))}
    return {str(path.relative_to(ROOT)): (text.splitlines(), ast.parse(text)) for path, text in read.items()}


def test_code_lines_leave_out_comments_blanks_and_docstrings() -> None:
    source = (
        '"""Module."""\n\n# why\nx = 1\n\ndef f():\n    """What.\n\n    More.\n    """\n    return "text"  # here\n'
    )
    assert code_lines(ast.parse(source), source.splitlines()) == 3


def test_files_stay_short() -> None:
    lengths = {name: code_lines(tree, lines) for name, (lines, tree) in sources().items()}
    long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert not long, f"files of more than {LONGEST_FILE} lines of code: {long}"
    assert statistics.median(lengths.values()) <= 250


def test_functions_stay_short() -> None:
    lengths = sorted(
        (code_lines(node, lines), f"{name}:{node.lineno} {node.name}")
        for name, (lines, tree) in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    percentile = lengths[int(0.95 * len(lengths))][0]
    assert percentile <= LONG_FUNCTION, f"the 95th percentile is {percentile}; the longest: {lengths[-5:]}"
    assert statistics.median(length for length, _ in lengths) <= 9


def requirements() -> list[Requirement]:
    groups = PROJECT["optional-dependencies"].values()
    found = [Requirement(text) for text in [*PROJECT["dependencies"], *(text for group in groups for text in group)]]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_versions_are_pinned_in_one_place() -> None:
    for requirement in requirements():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">="}, f"pyproject.toml gives floors; got {requirement}"
        pinned = pins()[canonicalize_name(requirement.name)]
        assert pinned in requirement.specifier, f"{requirement} excludes the pin {pinned}"


def test_torch_is_new_enough() -> None:
    """2.10 mends the loading of hostile files, 2.11 has the stable binary interface."""
    (torch,) = [requirement for requirement in requirements() if requirement.name == "torch"]
    assert not list(torch.specifier.filter(["2.9.1", "2.10.0"]))
    assert pins()["torch"] in SpecifierSet(">=2.11")


def test_workflows_run_make_targets_only() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"demo", "test", "check", "bench", "docs"} <= targets
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    commands = [c for path in workflows for c in re.findall(r"^ *- run: (.*)$", path.read_text("utf-8"), re.MULTILINE)]
    assert commands
    assert not [command for command in commands if command.removeprefix("make ") not in targets]
    assert len(commands) == sum(path.read_text("utf-8").count("run:") for path in workflows)


def test_contributing_fits_a_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_citation_names_the_version() -> None:
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "elman" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    assert version
    assert f"\nversion: {version[1]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
