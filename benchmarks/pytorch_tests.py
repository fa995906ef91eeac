"""PyTorch's own test cases of its recurrent layers, run on elman.torch's.

python -m benchmarks.pytorch_tests PATH_TO_TEST_NN...    # prints each case, writes results/pytorch_tests.json

Takes any copy of PyTorch's test/test_nn.py, test/test_modules.py or other files of its tests, and runs those test
methods that name LSTM, GRU or RNN, or are made for these modules, once with torch.nn's classes replaced by
elman.torch's and once as they are. Where a copy is older or newer than the installed torch, names that it imports may
be missing; only the cases that use one fail for it, and say so. PyTorch's test tools need the packages expecttest and
hypothesis.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import subprocess
import sys
import types
import unittest
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import elman
from elman.bridges.torch import OnEngine
from elman.plans.native import target

RESULTS = Path(__file__).parent / "results" / "pytorch_tests.json"
CONCERNED = re.compile(r"\b(LSTM|GRU|RNN)\b")
MADE_FOR = re.compile(r"_nn_(LSTM|GRU|RNN)_")


@dataclass
class Case:
    """What became of a test method.

    Args:
        name: Class and method.
        outcome: "passed", "failed" or "skipped".
        reason: The last line of the error, or why it was skipped.
        engine_calls: Calls of layers that the engine ran.
        torch_calls: Calls of layers of elman.torch that torch ran.
    """

    name: str
    outcome: str
    reason: str = ""
    engine_calls: int = 0
    torch_calls: int = 0


# ---- reading a copy


class Missing:
    """Stands for a name that the installed torch does not have; whatever uses it says so."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        """Stand in for a decorator; the test that it decorates tells what is missing."""
        if len(arguments) == 1 and isinstance(arguments[0], types.FunctionType):

            def test(_: Any) -> None:
                raise ImportError(f"the installed torch has no {self._name}")

            return test
        return self

    def __bool__(self) -> bool:
        return False


def take(module: str, name: str) -> Any:
    """Import a name, or what stands for it."""
    try:
        found = __import__(module, fromlist=[name])
        return getattr(found, name)
    except (ImportError, AttributeError):
        return Missing(f"{module}.{name}")


def lenient(node: ast.stmt) -> list[ast.stmt]:
    """Write `from a import b` so that a missing name hurts only who uses it."""
    if not isinstance(node, ast.ImportFrom) or any(alias.name == "*" for alias in node.names):
        return [node]
    lines = (f"{a.asname or a.name} = take({node.module!r}, {a.name!r})" for a in node.names)
    return [ast.copy_location(s, node) for line in lines for s in ast.parse(line).body]


def concerned(source: str) -> ast.Module:
    """Keep what the concerned test methods need: imports, definitions, and the making of tests for each device."""
    tree = ast.parse(source)
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            node.body = [m for m in node.body if not _other_test(m, source)] or [ast.Pass()]
        makes_tests = isinstance(node, ast.Expr) and "instantiate_" in ast.dump(node)
        if makes_tests or isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef | ast.Assign):
            body += lenient(node)
    tree.body = body
    return ast.fix_missing_locations(tree)


def _other_test(node: ast.stmt, source: str) -> bool:
    if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test"):
        return False
    made_for_modules = any("modules" in ast.dump(decorator) for decorator in node.decorator_list)
    return not made_for_modules and CONCERNED.search(ast.get_source_segment(source, node) or "") is None


def load(path: Path) -> types.ModuleType:
    """Run a copy as a module."""
    module = types.ModuleType(path.stem)
    module.__dict__.update({"take": take, "__file__": str(path)})
    sys.modules[path.stem] = module
    exec(compile(concerned(path.read_text(encoding="utf-8")), str(path), "exec"), module.__dict__)
    return module


# ---- running it


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count who runs the layers of elman.torch."""
    counts: Counter[str] = Counter()
    forward = OnEngine.forward

    def counting(self: OnEngine, input: Any, hx: Any = None) -> Any:
        try:
            return forward(self, input, hx)
        finally:
            counts["torch" if self.left_to_torch else "cpu"] += 1

    OnEngine.forward = counting  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        OnEngine.forward = forward  # type: ignore[method-assign]


def run(test: unittest.TestCase) -> Case:
    """Run one test method."""
    result, name = unittest.TestResult(), ".".join(test.id().split(".")[-2:])
    with counted() as counts, contextlib.redirect_stderr(io.StringIO()):
        test.run(result)
    calls = {"engine_calls": counts["cpu"], "torch_calls": counts["torch"]}
    if result.skipped:
        return Case(name, "skipped", result.skipped[0][1], **calls)
    for _, text in [*result.errors, *result.failures]:
        return Case(name, "failed", _last_words(text), **calls)
    return Case(name, "passed", **calls)


def _last_words(text: str) -> str:
    """The line of a traceback that names the error."""
    lines = [line for line in text.splitlines() if re.match(r"[\w.]*(Error|Exception|Warning|Failure)\b", line)]
    return (lines or text.strip().splitlines())[-1][:300]


def tests(module: types.ModuleType) -> Iterator[unittest.TestCase]:
    """Yield every test method of a module."""
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
            for test in unittest.defaultTestLoader.loadTestsFromTestCase(value):
                if "_nn_" not in test.id() or MADE_FOR.search(test.id()):
                    yield test  # type: ignore[misc]


def run_files(paths: list[str], on_elman: bool) -> list[Case]:
    """Run the concerned test methods of files."""
    if on_elman:
        for name in ("LSTM", "GRU", "RNN"):
            setattr(torch.nn, name, getattr(elman.torch, name))
            setattr(torch.nn.modules, name, getattr(elman.torch, name))
    warnings.simplefilter("ignore")
    return [run(test) for path in paths for test in tests(load(Path(path)))]


def in_process(paths: list[str], who: str) -> list[Case]:
    """Run the files in a process of its own, so that classes replaced there are replaced nowhere else."""
    command = [sys.executable, "-m", "benchmarks.pytorch_tests", f"--on={who}", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [Case(**case) for case in json.loads(done.stdout.splitlines()[-1])]


def main(arguments: list[str]) -> None:
    """Run both ways, print and write what is found."""
    if not arguments or arguments[0] in ("-h", "--help"):
        raise SystemExit(__doc__)
    if arguments[0].startswith("--on="):
        cases = run_files(arguments[1:], arguments[0] == "--on=elman")
        print("\n" + json.dumps([asdict(case) for case in cases]))
        return
    of_torch = {case.name: case for case in in_process(arguments, "torch")}
    rows = []
    for case in in_process(arguments, "elman"):
        with_torch = of_torch[case.name]
        if case.outcome == "failed" and with_torch.outcome == "failed":
            case.reason += f"; torch's own layers: {with_torch.reason}"
        rows.append(asdict(case) | {"on_torch": with_torch.outcome})
        who = f"engine {case.engine_calls}, torch {case.torch_calls}"
        print(f"{case.outcome:8} {case.name}  ({who}){': ' + case.reason if case.reason else ''}")
    summary = {
        "files": [Path(path).name for path in arguments],
        "torch": torch.__version__,
        "target": target(),
        "counts": dict(Counter(row["outcome"] for row in rows)),
        "passed_by_torch_only": [r["name"] for r in rows if r["outcome"] != "passed" and r["on_torch"] == "passed"],
    }
    print(f"\n{summary['counts']}; passed with torch's own layers only: {summary['passed_by_torch_only'] or 'none'}")
    RESULTS.write_text(json.dumps(summary | {"cases": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
