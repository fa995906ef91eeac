"""What is measured: cells, shapes, and the presets of `python -m benchmarks.engine`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from elman import Cell, cells

INVENTED = r"""
\gamma_t = \sigma(W_\gamma [h_{t-1}, x_t] + b_\gamma)
\rho_t = \sigma(W_\rho [h_{t-1}, x_t] + b_\rho)
\tilde{m}_t = \tanh(W_m [h_{t-1}, x_t] + b_m)
m_t = \gamma_t \odot m_{t-1} + (1 - \gamma_t) \odot \rho_t \odot \tilde{m}_t
h_t = \tanh(m_t + p \odot m_{t-1})
"""
"""A cell invented for the occasion: a leaky memory that is written through a second gate and read with its own past."""

LSTM_PASTED = r"""
i_t = \sigma(W_i [h_{t-1}, x_t] + b_i)
f_t = \sigma(W_f [h_{t-1}, x_t] + b_f)
g_t = \tanh(W_g [h_{t-1}, x_t] + b_g)
o_t = \sigma(W_o [h_{t-1}, x_t] + b_o)
c_t = f_t \odot c_{t-1} + i_t \odot g_t
h_t = o_t \odot \tanh(c_t)
"""

CELLS: dict[str, Cell] = {
    **{
        name: cells[name]
        for name in ("rnn", "gru", "gru_reset_after", "lstm", "lstm_peephole", "lstm_layer_norm", "min_gru")
    },
    "invented": Cell(INVENTED, name="invented"),
    "lstm_pasted": Cell(LSTM_PASTED, name="lstm_pasted"),
}
"""The cells that are measured, by name."""

SHAPES = ((32, 100, 256), (64, 50, 128), (20, 35, 650), (32, 100, 512), (1, 1000, 256), (128, 400, 256))
"""Sequences, steps and hidden size; the input is as wide as the state."""

PEERS = ("elman", "elman.torch", "torch.nn", "eager", "compile", "jax", "onnx", "torchrecurrent", "loop")
"""Who can be measured; benchmarks/peers.py says what each is."""

CONTROLS = {"elman.dense": {"loss": "dense"}, "elman.lstm": {"cell": "lstm"}, "elman.equal": {"lengths": "equal"}}
"""Elman on another case, in turns with the one that is compared to it: what differs."""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Args:
        cell: A name of CELLS.
        batch, steps, hidden: Its shape.
        lengths: "equal", or "ragged": uniform in [T / 4, T].
        way: "forward" without gradients, or "both": forward, and back to the input and every parameter.
        loss: Where the derivative comes from: "dense", every step, or "last", the last one only.
        precision: "float32" or "bf16".
        threads: Of every peer.
        allocator: "tuned": malloc keeps its pages, as in no process by default; "default": as it comes.
        memory: Measure the peak of memory of the first call, each peer in a process of its own, and not the time.
    """

    cell: str
    batch: int
    steps: int
    hidden: int
    lengths: str = "equal"
    way: str = "both"
    loss: str = "dense"
    precision: str = "float32"
    threads: int = 2
    allocator: str = "tuned"
    memory: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, T, H."""
        return self.batch, self.steps, self.hidden


Wanted = tuple[Case, tuple[str, ...]]
OWN = ("elman", "elman.torch")
FUSED = ("lstm", "gru_reset_after", "rnn")
"""Cells that torch.nn has."""


def rival(cell: str) -> str:
    """Who is the best peer of torch's for a cell: its fused kernel where there is one, else a loop."""
    return "torch.nn" if cell in FUSED else "eager"


def targets() -> Iterator[Wanted]:
    """What the target table needs, the most important first."""
    yield from _equal_and_ragged()
    yield from _single_sequence()
    for cell, shape in product(("rnn", "lstm_peephole", "lstm_layer_norm", "invented"), SHAPES[0:4:3]):
        yield Case(cell, *shape), ("elman",)
    yield Case("lstm_pasted", *SHAPES[0]), ("elman", "elman.lstm")
    yield Case("lstm_pasted", *SHAPES[3]), ("elman", "elman.lstm")
    yield Case("lstm", 32, 400, 256), ("elman", "torch.nn")
    yield Case("lstm", 32, 400, 256, loss="last"), ("elman", "elman.dense")
    yield Case("min_gru", *SHAPES[0]), ("elman", "eager")
    for shape in (SHAPES[0], SHAPES[3]):
        yield Case("lstm", *shape, allocator="default"), (*OWN, "torch.nn")


def _equal_and_ragged() -> Iterator[Wanted]:
    batches = [s for s in SHAPES if s[0] > 1]
    peers = {"equal": (*OWN, "torch.nn"), "ragged": (*OWN, "torch.nn", "elman.equal")}
    for shape, lengths, cell in product(batches, peers, ("lstm", "gru_reset_after")):
        yield Case(cell, *shape, lengths=lengths), peers[lengths]
    for shape in batches:
        yield Case("gru", *shape), ("elman", "eager")
    for shape, lengths, cell in product(batches, peers, ("lstm", "gru_reset_after")):
        if shape[2] >= 256:
            yield Case(cell, *shape, lengths=lengths, precision="bf16"), peers[lengths]


def _single_sequence() -> Iterator[Wanted]:
    for cell in ("lstm", "gru_reset_after", "rnn"):
        yield Case(cell, *SHAPES[4]), (*OWN, "torch.nn")
    for cell in ("gru", "lstm_peephole"):
        yield Case(cell, *SHAPES[4]), ("elman", "eager")


def full() -> Iterator[Wanted]:
    """Everything: every cell, shape, kind of lengths, way, precision and number of threads, with every peer."""
    yield from targets()
    yield from growth()
    for threads, precision, way, lengths, shape, cell in product(
        (2, 1), ("float32", "bf16"), ("both", "forward"), ("equal", "ragged"), SHAPES, CELLS
    ):
        if cell != "lstm_pasted":
            yield Case(cell, *shape, lengths, way, precision=precision, threads=threads), PEERS


def growth() -> Iterator[Wanted]:
    """How time and memory grow with T, B and H."""
    peers = ("elman", "torch.nn")
    for memory, cell in product((False, True), ("lstm", "gru_reset_after")):
        for steps in (100, 1_000, 10_000, 100_000):
            yield Case(cell, 1, steps, 128, memory=memory), peers
        for batch in (1, 8, 64, 512):
            yield Case(cell, batch, 50, 128, memory=memory), peers
        for hidden in (64, 256, 1024):
            yield Case(cell, 16, 50, hidden, memory=memory), peers
    for steps in (100, 1_000, 10_000, 100_000):
        yield Case("lstm", 1, steps, 128, way="forward", memory=True), peers


def quick() -> Iterator[Wanted]:
    """A sensible subset for `make bench`: one shape with every peer, and what is special about Elman."""
    for cell in CELLS:
        yield Case(cell, *SHAPES[1]), ("elman", "torch.nn", "eager", "jax", "torchrecurrent")
        yield Case(cell, *SHAPES[1], way="forward"), ("elman", "torch.nn", "eager", "jax", "onnx", "loop")
    for cell in ("lstm", "gru_reset_after"):
        yield Case(cell, *SHAPES[1], lengths="ragged"), (*OWN, "torch.nn")


PRESETS = {"quick": quick, "targets": targets, "growth": growth, "full": full}


def merged(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Each case once, with all peers that are wanted for it, in the order of first mention."""
    peers: dict[Case, dict[str, None]] = {}
    for case, names in wanted:
        peers.setdefault(case, {}).update(dict.fromkeys(names))
    return [(case, tuple(names)) for case, names in peers.items()]
