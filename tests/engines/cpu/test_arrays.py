"""How the engine reads the caller's arrays: any distance of sequences and steps, packed rows, parameters in one array;
the same bits as from plain arrays in each form, and an error for what is no such array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from elman.cells import cells
from elman.engines.cpu.runners import Choice, Program, Runner, empty
from elman.plans.native import available

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

B, T, INPUT, H = 5, 7, 3, 18
LENGTHS = torch.tensor([7, 6, 6, 2, 1])
SHAPES = {f"W_{gate}": (H, H + INPUT) for gate in "ifgo"} | {f"b_{gate}": (H,) for gate in "ifgo"}
SIZES = {"I": INPUT, "H": H}


def runner() -> Runner:
    widths = {"x": INPUT, "c": H, "h": H}
    return Program(cells["lstm"], SHAPES, SIZES, widths, Choice(threads=1)).runner(keep=True)


@dataclass
class Call:
    """One run, forward and back."""

    x: Tensor
    dy: Tensor
    y: Tensor
    dx: Tensor
    weights: Sequence[Tensor]
    counts: Tensor | None = None
    reverse: bool = False
    add_dx: bool = False

    def run(self) -> dict[str, Tensor]:
        native, start = runner().native, [torch.linspace(-1, 1, B * H).view(B, H) for _ in range(2)]
        packed = [empty(native.packed_floats(back)) for back in (False, True)]
        for back in (False, True):
            native.pack(self.weights, packed[back], back, 1)
        if self.x.dim() == 2:
            workspace = empty(native.packed_workspace_floats(self.counts, True))
        else:
            workspace = empty(native.workspace_floats(B, T, self.counts, True))
        final, d_start = ([empty(B, H) for _ in range(2)] for _ in range(2))
        d_weights = [torch.zeros_like(w) for w in self.weights]
        native.forward(
            self.weights, packed[0], workspace, self.x, self.counts, start, [], self.y, final, self.reverse, True, 1
        )
        native.backward(
            self.weights, packed[1], workspace, self.x, self.counts, start, [], self.dy, [torch.ones(B, H), None],
            self.dx, d_weights, d_start, self.reverse, 1, self.add_dx,
        )  # fmt: skip
        found = {"y": self.y, "dx": self.dx, "d_weights": torch.cat([d.flatten() for d in d_weights])}
        return found | {"final": torch.stack(final), "d_start": torch.stack(d_start)}


def plain(counts: Tensor | None = None, reverse: bool = False) -> Call:
    generator = torch.Generator().manual_seed(4)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weights = [draw(*shape) for shape in SHAPES.values()]
    return Call(draw(B, T, INPUT), draw(B, T, H), empty(B, T, H), empty(B, T, INPUT), weights, counts, reverse)


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("counts", [None, LENGTHS], ids=["equal", "ragged"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_steps_first_and_part_of_a_row_give_the_bits_of_plain_rows(counts: Tensor | None, reverse: bool) -> None:
    call = plain(counts, reverse)
    wanted = call.run()

    def steps_first(rows: Tensor, columns: int) -> Tensor:
        """Equal rows, with steps before sequences in memory and more columns on either side."""
        room = torch.full((T, B, columns + 5), torch.nan)
        room[..., 2 : 2 + columns] = rows.transpose(0, 1)
        return room[..., 2 : 2 + columns].transpose(0, 1)

    found = replace(
        call,
        x=steps_first(call.x, INPUT),
        dy=steps_first(call.dy, H),
        y=steps_first(call.y, H),
        dx=steps_first(call.dx, INPUT),
    )
    assert_equal(found.run(), wanted)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_packed_rows_give_the_bits_of_padded_ones(reverse: bool) -> None:
    call = plain(LENGTHS, reverse)
    wanted = call.run()

    def packed(rows: Tensor) -> Tensor:
        return pack_padded_sequence(rows, LENGTHS, batch_first=True).data

    sizes = pack_padded_sequence(call.x, LENGTHS, batch_first=True).batch_sizes
    rows = int(LENGTHS.sum())
    y, dx = torch.full((rows, 2 * H), 7.0), empty(rows, INPUT)
    found = replace(call, x=packed(call.x), dy=packed(call.dy), y=y[:, H:], dx=dx, counts=sizes).run()
    assert_equal(found, wanted | {"y": packed(wanted["y"]), "dx": packed(wanted["dx"])})
    assert (y[:, :H] == 7).all()


def test_parameters_may_follow_one_another_in_an_array() -> None:
    call = plain(LENGTHS)
    wanted = call.run()
    weights = [torch.cat([*call.weights[:4]]), torch.cat([*call.weights[4:]])]
    assert_equal(replace(call, weights=weights).run(), wanted)


def test_a_derivative_can_be_added() -> None:
    call = plain(LENGTHS)
    wanted = call.run()["dx"].clone()
    before = torch.randn(B, T, INPUT, generator=torch.Generator().manual_seed(5))
    found = replace(call, dx=before.clone(), add_dx=True).run()["dx"]
    assert torch.equal(found, before + wanted)


def test_arrays_of_numpy_are_read_in_place() -> None:
    call = plain(LENGTHS)
    wanted = call.run()["y"].clone()
    native, start = runner().native, [torch.linspace(-1, 1, B * H).view(B, H).numpy()] * 2
    weights = [w.numpy() for w in call.weights]
    packed, final = np.empty(native.packed_floats(False), np.float32), [np.empty((B, H), np.float32)] * 2
    workspace = np.empty(native.workspace_floats(B, T, LENGTHS.numpy(), True), np.float32)
    native.pack(weights, packed, False, 1)
    y, x = np.full((T, B, H), np.nan, np.float32), np.ascontiguousarray(call.x.numpy().transpose(1, 0, 2))
    native.forward(
        weights, packed, workspace, x.transpose(1, 0, 2), LENGTHS.numpy(), start, [], y.transpose(1, 0, 2), final,
        False, True, 1,
    )  # fmt: skip
    assert np.array_equal(y.transpose(1, 0, 2), wanted.numpy())


WRONG: dict[str, dict[str, Any]] = {
    "another type": {"x": torch.zeros(B, T, INPUT, dtype=torch.float64)},
    "columns apart": {"x": torch.zeros(B, T, 2 * INPUT)[..., ::2]},
    "too few sequences": {"y": empty(B - 1, T, H)},
    "another width": {"dx": empty(B, T, INPUT + 1)},
    "packed beside padded": {"y": empty(B * T, H)},
    "a parameter too short": {"weights": plain().weights[:7] if available() else []},
    "a parameter over a boundary": {"weights": [torch.zeros(4 * H * (H + INPUT) + 1), torch.zeros(4 * H - 1)]},
    "rising batch sizes": {"x": torch.zeros(3, INPUT), "counts": torch.tensor([1, 2])},
    "lengths of another number": {"counts": torch.tensor([1, 2])},
    "a length of nothing": {"counts": torch.tensor([7, 6, 6, 2, 0])},
}


@pytest.mark.parametrize("what", WRONG)
def test_other_arrays_are_refused(what: str) -> None:
    call = replace(plain(), **WRONG[what])
    with pytest.raises((TypeError, ValueError), match=r"must|incompatible"):
        call.run()
