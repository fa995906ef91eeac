"""The benchmark of the engine: peers are held to an oracle and then timed, rows are kept, absentees named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from benchmarks import clock, engine, handwritten, peers, worker
from benchmarks.cases import CELLS, CONTROLS, PRESETS, Case, merged
from benchmarks.clock import in_turns, quartiles
from elman.plans.native import available

ROOT = Path(__file__).parents[1]
CASE = Case("lstm", 5, 7, 8, threads=1)
pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(worker, "GEMM_SIZE", 64)
    monkeypatch.setattr(clock, "TURN", 0.001)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("lengths", ["equal", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_elman_and_loops_by_hand_agree_on_every_cell(cell: str, lengths: str) -> None:
    for way in ("forward", "both"):
        case = Case(cell, 5, 7, 8, lengths, way, threads=1)
        row = worker.measure(case, ["elman", "torch.nn", "eager", "loop"], 0.0)
        missing = {"loop"} if way == "both" else set()
        assert set(row["absent"]) == missing | (
            {"torch.nn"} if cell not in ("rnn", "gru_reset_after", "lstm") else set()
        )
        assert all(peer["error"] < 2e-6 and peer["median"] > 0 for peer in row["peers"].values())


def test_a_control_is_another_case_in_turns_with_the_first() -> None:
    last = worker.measure(Case("lstm", 3, 9, 8, loss="last", threads=1), ["elman", "elman.dense"], 0.0)
    pasted = worker.measure(Case("lstm_pasted", 3, 9, 8, threads=1), ["elman", "elman.lstm"], 0.0)
    for row, names in ((last, {"elman", "elman.dense"}), (pasted, {"elman", "elman.lstm"})):
        assert set(row["peers"]) == names
        assert all(peer["error"] < 2e-6 and peer["median"] > 0 for peer in row["peers"].values())


@pytest.mark.parametrize("wrong", ["elman", "eager"])
def test_one_that_computes_something_else_stops_the_run(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = peers.BUILDERS[wrong]

    def with_other_weights(s: peers.Setting) -> peers.Peer:
        weights = {n: w * (1.01 if n == "W_f" else 1.0) for n, w in s.weights.items()}
        return build(replace(s, weights=weights, joined=handwritten.joined("lstm", weights, s.case.hidden)))

    monkeypatch.setitem(worker.BUILDERS, wrong, with_other_weights)
    with pytest.raises(worker.WrongResultError, match=f"{wrong} of .*y must be within"):
        worker.measure(CASE, ["elman", "eager"], 0.0)


def test_gradients_of_weights_are_held_to_the_first_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_other_gradient(s: peers.Setting) -> peers.Peer:
        peer = peers.eager(s)
        return replace(peer, results=lambda: {n: v * (1.01 if n == "dR" else 1.0) for n, v in peer.results().items()})

    monkeypatch.setitem(worker.BUILDERS, "eager", with_other_gradient)
    with pytest.raises(worker.WrongResultError, match="dR must be within"):
        worker.measure(CASE, ["elman", "eager"], 0.0)


class Inside:
    """A worker in this process."""

    asked: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, allocator: str, threads: int) -> None:
        assert (allocator, threads) == ("tuned", 1)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(tuple(request["peers"]))
        return worker.measure(Case(**request["case"]), request["peers"], 0.0)

    def close(self) -> None:
        """Nothing to end."""


def test_rows_are_kept_and_missing_peers_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "Worker", Inside)
    monkeypatch.setattr(Inside, "asked", [])
    options = ["--cells", "rnn,lstm", "--shapes", "2x3x4", "--threads", "1", "--output", str(tmp_path / "rows.json")]
    engine.main([*options, "--peers", "elman,eager"])
    first = json.loads((tmp_path / "rows.json").read_text())
    assert [row["case"]["cell"] for row in first["rows"]] == ["rnn", "lstm"]
    assert first["machine"]["torch"] == torch.__version__
    engine.main([*options, "--peers", "elman"])
    assert json.loads((tmp_path / "rows.json").read_text()) == first
    engine.main([*options, "--peers", "torchrecurrent"])
    assert Inside.asked == [("elman", "eager")] * 2 + [("elman", "eager", "torchrecurrent")] * 2
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert all("torchrecurrent" in row["absent"] and set(row["peers"]) == {"elman", "eager"} for row in rows)


def test_no_case_begins_after_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine.main(["--minutes", "0", "--output", str(tmp_path / "rows.json"), "--cells", "lstm", "--shapes", "2x3x4"])
    assert not (tmp_path / "rows.json").exists()
    assert "1 cases left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cells", "gruu"], "--cells must be among"),
        (["--shapes", "3x4"], "--shapes must be like 32x100x256"),
        (["--preset", "quick", "--cells", "lstm"], "--preset must stand alone"),
    ],
)
def test_wrong_options_are_told(options: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        engine.main(options)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_each_case_once_with_known_peers(preset: str) -> None:
    wanted = merged(list(PRESETS[preset]()))
    assert len({case for case, _ in wanted}) == len(wanted) > 0
    assert all(case.cell in CELLS and set(names) <= {*worker.BUILDERS, *CONTROLS} for case, names in wanted)


def test_a_worker_process_measures_time_and_memory() -> None:
    process = worker.Worker("default", 1)
    try:
        request = {"case": vars(replace(CASE, memory=True)), "peers": ["elman"], "seconds": 0.0}
        assert process.ask(request)["peers"]["elman"]["peak_mib"] > 0
        request["case"] = vars(replace(CASE, allocator="default"))
        assert process.ask(request)["peers"]["elman"]["calls"] >= 3
    finally:
        process.close()


def test_turns_alternate_and_leave_out_the_first_of_short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "TURN", 0.05)
    order = ""

    def called(name: str) -> None:
        nonlocal order
        order += name

    times = in_turns({"a": lambda: called("a"), "b": lambda: called("b")}, 0.0)
    assert order.startswith("ab" + "a" * 51 + "b" * 51 + "a")
    assert {name: len(found) for name, found in times.items()} == {"a": 150, "b": 150}
    assert quartiles([0.003, 0.001, 0.002]) == {"median": 2.0, "low": 1.5, "high": 2.5, "calls": 3}


def test_peaks_of_memory_are_seen() -> None:
    """In a process of its own: one that kept pages from before would not have to grow."""
    script = "import torch; from benchmarks.clock import peak_of; print(peak_of(lambda: torch.ones(2**24).sum()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 60 < float(done.stdout) < 90  # 64 MiB
