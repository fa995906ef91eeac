"""Gradient norm against time lag for five cells, as they start and with their keeping gates open.

python -m benchmarks.gradient_flow     # writes docs/images/gradient_flow.png and the table of the page beside it
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import elman
from elman.diagnosis import Diagnosis, LayerDiagnosis, diagnose
from elman.diagnosis.picture import draw

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURE = DOCS / "concepts" / "gradient-flow.md", DOCS / "images" / "gradient_flow.png"
CELLS = ("rnn", "lstm", "gru", "gru_no_update", "gru_no_reset")
STEPS, HIDDEN_SIZE, INPUT_SIZE = 201, 64, 16
KEEPING = {"lstm": ("b_f", 1), "gru": ("b_u", -1), "gru_no_reset": ("b_u", -1)}
BEGIN, END = "<!-- table: python -m benchmarks.gradient_flow -->", "<!-- end of table -->"


def look(cell: str, gates_open: bool) -> Diagnosis:
    """Diagnose one cell, its biases as they start or such that the direct path keeps a state for about STEPS steps."""
    layer = elman.Recurrent(cell, input_size=INPUT_SIZE, hidden_size=HIDDEN_SIZE, seed=0)
    if gates_open and cell in KEEPING:
        name, sign = KEEPING[cell]
        with torch.no_grad():
            layer.weights[name].fill_(sign * math.log(STEPS))
    return diagnose(layer, STEPS, seed=0)


def row(cell: str, start: LayerDiagnosis, opened: LayerDiagnosis) -> str:
    """Return one line of the table."""
    changed = KEEPING.get(cell)
    numbers = [f"{start.effective_memory}", f"{start.factor:.3f}", f"{start.relative[-1]:.1e}"]
    if changed is None:
        return f"| {cell} | {' | '.join(numbers)} | no gate to open | | |"
    numbers += [f"{opened.effective_memory}", f"{opened.factor:.3f}", f"{opened.relative[-1]:.1e}"]
    return f"| {cell} | {' | '.join(numbers)} |"


def table(start: Mapping[str, Diagnosis], opened: Mapping[str, Diagnosis]) -> str:
    """Return the Markdown table."""
    head = f"| cell | memory at the start | factor per step | norm at lag {STEPS - 1} "
    head += f"| memory, gates open | factor per step | norm at lag {STEPS - 1} |"
    rows = [row(cell, start[cell].layers[0], opened[cell].layers[0]) for cell in start]
    return "\n".join([head, "|---|" + 6 * "---|", *rows])


def replace_table(page: str, new: str) -> str:
    """Return the page with the text between the two markers replaced."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, draw, and write the table into the page."""
    about = (__doc__ or "").split("\n")[0]
    argparse.ArgumentParser(prog="python -m benchmarks.gradient_flow", description=about).parse_args(argv)
    torch.set_num_threads(1)
    start = {cell: look(cell, gates_open=False) for cell in CELLS}
    opened = {cell: look(cell, gates_open=True) for cell in CELLS}
    panels = {
        "as they start": {cell: found.layers[0].relative for cell, found in start.items()},
        "gates open: bias ln T": {cell: found.layers[0].relative for cell, found in opened.items()},
    }
    draw(panels, PICTURE)
    new = table(start, opened)
    PAGE.write_text(replace_table(PAGE.read_text(encoding="utf-8"), new), encoding="utf-8")
    print(new)


if __name__ == "__main__":
    main()
