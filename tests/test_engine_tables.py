"""The tables of the engine's benchmark follow from the rows: ratios, shares, verdicts, and what is not measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import generation, gradient_flow, tables
from benchmarks.cases import Case
from elman.plans.native import available


def row(case: Case, **milliseconds: float) -> dict[str, Any]:
    """A row of 100 GFLOP and 1,600 steps on a machine of 1,000 GFLOP/s: 100 ms are all of its rate."""
    peers = {name.replace("_", "."): {"median": t} for name, t in milliseconds.items()}
    known = {
        "peers": peers,
        "absent": {"jax": "jax is not installed"},
        "gflop": 100.0,
        "gemm_gflops": 1000.0,
        "steps": 1600,
    }
    return {"case": asdict(case), **known, "commit": "abc", "load": 0.5}


EQUAL, RAGGED = Case("lstm", 32, 100, 256), Case("lstm", 32, 100, 256, "ragged")
LAST = Case("lstm", 32, 400, 256, loss="last")


@pytest.fixture
def rows(tmp_path: Path) -> tables.Rows:
    found = [
        row(EQUAL, elman=110.0, elman_torch=125.0, torch_nn=120.0),
        row(RAGGED, elman=114.0, elman_torch=130.0, torch_nn=520.0, elman_equal=220.0),
        row(LAST, elman=90.0, elman_dense=100.0),
        row(Case("lstm_pasted", 32, 100, 256), elman=111.0, elman_lstm=110.0),
    ]
    path = tmp_path / "engine.json"
    path.write_text(json.dumps({"machine": {}, "rows": found}), encoding="utf-8")
    return tables.Rows.load(path)


def line(rows: tables.Rows, what: str) -> str:
    return next(t for t in tables.TARGETS if t.what.startswith(what)).line([rows])


def test_the_slower_of_layer_and_module_counts(rows: tables.Rows) -> None:
    assert rows.speed(EQUAL, "torch.nn") == pytest.approx(120 / 125)
    assert rows.share(EQUAL) == pytest.approx(0.8)


def test_verdicts_follow_from_the_values(rows: tables.Rows) -> None:
    assert "| 0.96x, **0 of 1 met**; worst lstm 32x100x256 |" in line(rows, "float32, equal lengths: LSTM")
    assert "| >= 3.00x | 4.50x | 4.56x, met |" in line(rows, "float32, ragged")
    assert "| >= 3.00x | 4.50x | 4.00x, met |" in line(rows, "float32, ragged, against packed: elman.torch")
    assert "| 0.90x, met |" in line(rows, "loss at the last")
    assert "| 1.01x, met |" in line(rows, "LSTM pasted")
    assert "| 1.04x, met |" in line(rows, "ragged by equal")  # 114 / 1,600 by 220 / 3,200
    assert "80 %" in line(rows, "share of the GEMM rate, float32")
    assert "not measured" in line(rows, "bf16, ragged")


def test_the_page_keeps_every_row_and_names_absentees(rows: tables.Rows) -> None:
    page = tables.page([tables.Measured({"processor": "one", "cores": 2}, rows, [])])
    assert page.count("| lstm 32x100x256") == 2
    assert "| lstm 32x400x256, last step |" in page
    assert "- jax: jax is not installed" in page
    assert "commits: abc" in page


def test_each_kind_of_processor_has_a_column_the_widest_first(tmp_path: Path) -> None:
    for name, time in (("avx2", 60.0), ("avx512", 40.0)):
        rows = [row(EQUAL, elman=50.0, torch_nn=time)]
        document = {"machine": {"processor": name}, "rows": rows}
        (tmp_path / f"engine_{name}.json").write_text(json.dumps(document), encoding="utf-8")
    tokens = {"elman float32": 700, "torch LSTMCell": 100}
    wrote = {"weights in": "L2", "size": [65, 256, 1], "streams": 1, "tokens": tokens}
    (tmp_path / "generation_avx512.json").write_text(json.dumps({"rows": [wrote]}), encoding="utf-8")
    table = tables.target_table(tables.load_all(tmp_path))
    assert "| aim | avx512 | avx2 |" in table
    assert "| 1.15x | 0.80x, **0 of 1 met**; worst lstm 32x100x256 | 1.20x, met |" in table
    assert "weights in L2, against the LSTMCell loop | >= 6.00x | 90 % of the memory rate | 7.00x, met | not" in table


@pytest.mark.parametrize("module", [tables, gradient_flow])
def test_what_is_asked_for_help_helps(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        module.main(["--help"])
    assert done.value.code == 0
    assert f"usage: python -m {module.__name__}" in capsys.readouterr().out


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    begin, end = tables.MARKS
    assert tables.put_between_marks(f"a\n{begin}\nold\n{end}\nb", "new") == f"a\n{begin}\nnew\n{end}\nb"
    assert tables.put_between_marks("no marks", "new") == "no marks"


def test_a_model_lies_where_its_weights_fit(tmp_path: Path) -> None:
    for index, level, size in ((0, 1, 48), (2, 2, 1024), (3, 3, 4096)):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        (folder / "level").write_text(f"{level}\n")
        (folder / "size").write_text(f"{size}K\n")
    found = generation.caches(tmp_path)
    assert found == {"L2": 2**20, "L3": 2**22}
    assert generation.weight_bytes((65, 256, 1)) == 4 * (256 * 1024 + 65 * 256)
    sizes = ((65, 256, 1), (65, 256, 2), (65, 512, 1))
    assert [generation.place(size, 2, found) for size in sizes] == ["L2", "L3", "memory"]
    assert generation.place((65, 256, 1), 1, found) == "L3"


def test_generation_is_judged_by_its_worst_model() -> None:
    rows = [
        {
            "weights in": "L3",
            "size": [65, 512, n],
            "streams": 1,
            "tokens": {"elman float32": rate, "torch LSTMCell": 10},
        }
        for n, rate in ((1, 50), (2, 14))
    ]
    two, three = generation.target_lines([rows])
    assert two.endswith("| not measured |")
    assert three.endswith("| 1.40x to 5.00x, **missed** |")


@pytest.mark.skipif(not available(), reason="the engine was not built")
def test_generation_is_held_to_torch_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = generation.measure((7, 16, 2), 3, 4, 0.0)
    assert set(found) == {"elman float32", "elman bf16", "elman int8", "torch LSTMCell", "torch nn.LSTM"}
    assert all(rate > 0 for rate in found.values())
    layer = generation.Loop.layer

    def with_gates_exchanged(self: generation.Loop, cell: Any) -> Any:
        weights = dict(layer(self, cell).weights)
        weights["W_i"], weights["W_f"] = weights["W_f"], weights["W_i"]
        made = layer(self, cell)
        return type(made)(made.cell, made.input_size, made.hidden_size, weights)

    monkeypatch.setattr(generation.Loop, "layer", with_gates_exchanged)
    with pytest.raises(SystemExit, match="logits must be torch's"):
        generation.measure((7, 16, 2), 3, 4, 0.0)
