"""How many characters or words a second a language model writes, one stream or many, beside loops in torch.

    python -m benchmarks.generation        # about a minute; writes benchmarks/results/generation_TARGET.json

The loops choose by torch.multinomial from a softmax, as Elman does; the weights of the first products are the same.
The LSTMCell loop is the best that torch offers for single steps: nn.LSTM packs its weights again at every one.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.clock import in_turns
from benchmarks.engine import commit, machine, results
from elman.cells import cells
from elman.runtime.layer import Layer
from elman.runtime.stepper import Stepper

Size = tuple[int, int, int]
MODELS: tuple[Size, ...] = ((65, 256, 1), (65, 512, 1), (65, 512, 2), (10_000, 650, 2))
"""Vocabulary, hidden size, layers."""

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

PRECISIONS = ("float32", "bf16", "int8")
LENGTH = 100
Rows = list[dict[str, Any]]
"""Of a result file: the tokens a second of a model and a number of streams, by way to write."""


class Loop(nn.Module):
    """Embedding, LSTMs and read-out in torch, a token at a time."""

    def __init__(self, vocabulary: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.cells = nn.ModuleList(nn.LSTMCell(hidden, hidden) for _ in range(layers))
        self.head = nn.Linear(hidden, vocabulary)
        self.whole = nn.LSTM(hidden, hidden, layers)
        with torch.no_grad():
            for n, cell in enumerate(self.cells):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(self.whole, f"{name}_l{n}").copy_(getattr(cell, name))

    def choose(self, h: Tensor) -> Tensor:
        """Draw the next token of each stream from h (B, H)."""
        return torch.multinomial(self.head(h).softmax(-1), 1).squeeze(1)

    @torch.inference_mode()
    def by_cells(self, streams: int, length: int) -> Tensor:
        """Write with LSTMCell; return the logits before the first choice."""
        token = torch.zeros(streams, dtype=torch.long)
        states: list[Any] = [None] * len(self.cells)
        first = None
        for _ in range(length):
            h = self.embedding(token)
            for n, cell in enumerate(self.cells):
                states[n] = cell(h, states[n])
                h = states[n][0]
            first = self.head(h) if first is None else first
            token = self.choose(h)
        return first if first is not None else torch.empty(0)

    @torch.inference_mode()
    def by_module(self, streams: int, length: int) -> None:
        """Write with nn.LSTM over single steps."""
        token, state = torch.zeros(streams, dtype=torch.long), None
        for _ in range(length):
            h, state = self.whole(self.embedding(token).unsqueeze(0), state)
            token = self.choose(h[0])

    def stepper(self, precision: str) -> Stepper:
        """The same weights for Elman."""
        with torch.no_grad():
            layers = [self.layer(cell) for cell in self.cells]
            head, bias, embedding = (
                t.detach().numpy() for t in (self.head.weight, self.head.bias, self.embedding.weight)
            )
        return Stepper(layers, head, bias, embedding, precision=precision)

    def layer(self, cell: Any) -> Layer:
        """The weights of an LSTMCell under the names of the equations: W_i over [h, x]."""
        weights = {}
        for n, gate in enumerate("ifgo"):
            part = slice(n * cell.hidden_size, (n + 1) * cell.hidden_size)
            weights[f"W_{gate}"] = torch.cat([cell.weight_hh[part], cell.weight_ih[part]], 1).numpy()
            weights[f"b_{gate}"] = (cell.bias_ih[part] + cell.bias_hh[part]).numpy()
        return Layer(cells["lstm"], cell.input_size, cell.hidden_size, weights)


def weight_bytes(size: Size) -> int:
    """Bytes that a step reads in float32; what the first layer makes of a token is a row of a table."""
    vocabulary, hidden, layers = size
    return 4 * hidden * (4 * hidden * (2 * layers - 1) + vocabulary)


def caches(folder: Path = CACHES) -> dict[str, int]:
    """Bytes of the first core's L2 and L3, as the kernel tells them; {} where it does not."""
    found = {}
    for index in sorted(folder.glob("index*")):
        name, size = f"L{(index / 'level').read_text().strip()}", (index / "size").read_text().strip()
        if name in ("L2", "L3"):
            found[name] = int(size.removesuffix("K")) * 1024
    return found


def place(size: Size, threads: int, found: dict[str, int]) -> str:
    """Where the weights of a model lie: in L2 (of all threads' cores together), in L3 or in memory."""
    if not found:
        return "somewhere"
    if weight_bytes(size) <= threads * found.get("L2", 0):
        return "L2"
    return "L3" if weight_bytes(size) <= found.get("L3", 0) else "memory"


def measure(size: Size, streams: int, length: int, seconds: float) -> dict[str, Any]:
    """Tokens a second of every way to write; the logits of Elman in float32 are held to torch's first.

    Raises:
        SystemExit: they differ.
    """
    torch.manual_seed(0)
    loop = Loop(*size)
    steppers = {f"elman {p}": loop.stepper(p) for p in PRECISIONS}
    wanted = loop.by_cells(1, 1).numpy()
    found, _ = steppers["elman float32"].read([[0]])
    if not np.allclose(found, wanted, atol=1e-4):
        raise SystemExit(f"generation: logits must be torch's; they differ by {abs(found - wanted).max():.1e}")

    def writing(stepper: Stepper) -> Callable[[], object]:
        return lambda: stepper.generate([0], length, samples=streams)

    calls: dict[str, Callable[[], object]] = {name: writing(stepper) for name, stepper in steppers.items()}
    calls["torch LSTMCell"] = lambda: loop.by_cells(streams, length)
    calls["torch nn.LSTM"] = lambda: loop.by_module(streams, length)
    for call in calls.values():
        call()
    times = in_turns(calls, seconds)
    return {name: round(streams * length / float(np.median(t))) for name, t in times.items()}


def target_lines(columns: Sequence[Rows]) -> list[str]:
    """The lines of the target table: float32, one stream, against the LSTMCell loop; a column a processor."""
    lines = []
    for where, must in (("L2", 6.0), ("L3", 1.5)):
        what = f"generation, float32, weights in {where}, against the LSTMCell loop"
        verdicts = (_verdict(rows, where, must) for rows in columns)
        lines.append(" | ".join([f"| {what}", f">= {must:.2f}x", "90 % of the memory rate", *verdicts]) + " |")
    return lines


def _verdict(rows: Rows, where: str, must: float) -> str:
    tokens = [r["tokens"] for r in rows if r["weights in"] == where and r["streams"] == 1]
    if not tokens:
        return "not measured"
    ratios = sorted(t["elman float32"] / t["torch LSTMCell"] for t in tokens)
    shown = " to ".join(f"{r:.2f}x" for r in dict.fromkeys((ratios[0], ratios[-1])))
    return f"{shown}, {'met' if ratios[0] >= must else '**missed**'}"


def table(rows: Rows) -> str:
    """Tokens a second, as a section of the page; nothing where they were not measured."""
    if not rows:
        return ""
    names = list(rows[0]["tokens"])
    lines = [
        "### Generation, tokens a second",
        "",
        "| V, H, L; streams | weights (float32) | read | " + " | ".join(names) + " |",
    ]
    lines.append("|---|---|---|" + "---|" * len(names))
    for row in rows:
        values = " | ".join(f"{row['tokens'][name]:,}" for name in names)
        size = weight_bytes(tuple(row["size"]))
        weights = f"{size / 1e6:.1f} MB, in {row['weights in']}"
        read = f"{size * row['tokens']['elman float32'] / 1e9:.0f} GB/s" if row["streams"] == 1 else ""
        lines.append(f"| {', '.join(map(str, row['size']))}; {row['streams']} | {weights} | {read} | {values} |")
    return "\n".join(lines)


def load(path: Path) -> Rows:
    """Read a result file; no rows where there is none."""
    rows: Rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all models."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each way to write (default 1)")
    parser.add_argument("--threads", type=int, default=2, help="threads (default 2)")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    rows = []
    for size in MODELS:
        where = place(size, options.threads, caches())
        for streams in (1, 16):
            tokens = measure(size, streams, LENGTH, options.seconds)
            row = {"size": size, "weights in": where, "streams": streams, "threads": options.threads, "tokens": tokens}
            rows.append(row)
            print(*size, streams, where, tokens, flush=True)
    document = {"machine": machine(), "commit": commit(), "load": round(os.getloadavg()[0], 1), "rows": rows}
    results("generation").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
