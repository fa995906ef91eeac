"""What is torch's own, and what only looks like it: the one equals torch.nn and the schedule, the other stays out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import elman
from elman.engines import choose
from elman.engines.fused import in_one_buffer
from elman.engines.recognise import packed_weights, recognise
from elman.equations import Cell
from elman.equations.rewrite import variational, zoneout
from elman.errors import UsageError

GRU = "r = sigmoid(W_r x + b_r + R_r h<t-1> + b_s)\nz = sigmoid(W_z x + b_z + R_z h<t-1> + b_y)\n"
GRU_END = "\nh = (1 - z) * n + z * h<t-1>"
GRU_NEW = "n = tanh(W_n x + b_n + r * (R_n h<t-1> + b_m))"
LSTM = """
i = sigmoid(W_i [h<t-1>, x] + b_i)
f = sigmoid(W_f [h<t-1>, x] + b_f)
g = tanh(W_g [h<t-1>, x] + b_g)
o = sigmoid(W_o [h<t-1>, x] + b_o)
c = f * c<t-1> + i * g
h = o * tanh(c)
"""

MATCHES = {
    "rnn": ("rnn_tanh", "h = tanh(W_h h<t-1> + W_x x + b)"),
    "rnn, joined matrix, other letters": ("rnn_tanh", "a = tanh(b_a + W_a [a<t-1>, u])"),
    "rnn without bias": ("rnn_tanh", "h = tanh(W_x x + W_h h<t-1>)"),
    "rnn with two biases": ("rnn_relu", "h = relu(W_x x + b + W_h h<t-1> + b_h)"),
    "rnn through a variable": ("rnn_relu", "s = W_x x + W_h h<t-1>\nh = relu(s + b)"),
    "gru": ("gru", GRU + GRU_NEW + GRU_END),
    "gru, commuted": ("gru", GRU + "n = tanh((b_m + R_n h<t-1>) * r + (b_n + W_n x))\nh = h<t-1> * z + n * (1 - z)"),
    "gru, one bias beside the state": ("gru", GRU + "n = tanh(W_n x + r * (R_n h<t-1> + b_m))" + GRU_END),
    "gru, one bias beside the input": ("gru", GRU + "n = tanh(W_n x + b_n + r * (R_n h<t-1>))" + GRU_END),
    "lstm": ("lstm", LSTM),
    "lstm, input first": ("lstm", LSTM.replace("[h<t-1>, x]", "[x, h<t-1>]")),
    "lstm, commuted": ("lstm", LSTM.replace("f * c<t-1> + i * g", "g * i + c<t-1> * f").replace("o * tanh", "o*tanh")),
    "lstm, separate matrices": ("lstm", LSTM.replace("W_i [h<t-1>, x] + b_i", "b_i + W_i x + b_p + R_i h<t-1>")),
    "lstm, projected": ("lstm", "size: h = P\n" + LSTM.replace("h = o * tanh(c)", "h = W_p (o * tanh(c))")),
    "lstm of a paper": (
        "lstm",
        r"i_t = \sigma(W_{xi} x_t + W_{hi} h_{t-1} + b_i) \\ f_t = \sigma(W_{xf} x_t + W_{hf} h_{t-1} + b_f) \\"
        r"g_t = \tanh(W_{xg} x_t + W_{hg} h_{t-1} + b_g) \\ o_t = \sigma(W_{xo} x_t + W_{ho} h_{t-1} + b_o) \\"
        r"c_t = f_t \odot c_{t-1} + i_t \odot g_t \\ h_t = o_t \odot \tanh(c_t)",
    ),
}

MISSES = {
    "reset before the product": GRU + "n = tanh(W_n x + b_n + R_n (r * h<t-1>) + b_m)" + GRU_END,
    "gru with roles of z swapped": GRU + GRU_NEW + "\nh = z * n + (1 - z) * h<t-1>",
    "gru with r in place of z": GRU + GRU_NEW + "\nh = (1 - r) * n + z * h<t-1>",
    "gru with 2 - z": GRU + GRU_NEW + "\nh = (2 - z) * n + z * h<t-1>",
    "gru with a bias outside the reset": GRU + "n = tanh(W_n x + b_n + r * (R_n h<t-1>) + b_m)" + GRU_END,
    "gru with hard_sigmoid": (GRU + GRU_NEW + GRU_END).replace("r = sigmoid", "r = hard_sigmoid"),
    "gru with relu": GRU + GRU_NEW.replace("tanh", "relu") + GRU_END,
    "rnn with sigmoid": "h = sigmoid(W_h h<t-1> + W_x x + b)",
    "rnn with leak": "h = 0.9 * h<t-1> + tanh(W_h h<t-1> + W_x x + b)",
    "rnn with minus": "h = tanh(W_x x - W_h h<t-1> + b)",
    "rnn with a number": "h = tanh(W_h h<t-1> + W_x x + b + 1)",
    "rnn with three biases": "h = tanh(W_h h<t-1> + W_x x + b + b_1 + b_2)",
    "rnn with one bias twice": "h = tanh(W_h h<t-1> + b + W_x x + b)",
    "rnn transposed": "h = tanh(W_h^T h<t-1> + W_x x + b)",
    "rnn with two recurrent matrices": "h = tanh(W_h h<t-1> + W_x x + R h<t-1>)",
    "indrnn": "h = relu(W_x x + w_h * h<t-1> + b)",
    "lstm with hard_sigmoid": LSTM.replace("f = sigmoid", "f = hard_sigmoid"),
    "lstm with relu": LSTM.replace("g = tanh", "g = relu"),
    "lstm without the last tanh": LSTM.replace("o * tanh(c)", "o * c"),
    "lstm with the old memory out": LSTM.replace("o * tanh(c)", "o * tanh(c<t-1>)"),
    "lstm coupled": LSTM.replace("i * g", "(1 - f) * g").replace("i = sigmoid(W_i [h<t-1>, x] + b_i)\n", ""),
    "lstm peephole": LSTM.replace("+ b_o", "+ p_o * c + b_o"),
    "lstm whose gate sees the memory": LSTM.replace("W_o [h<t-1>, x]", "W_o [c<t-1>, x]"),
    "lstm with one gate twice": LSTM.replace("i * g", "f * g").replace("i = sigmoid(W_i [h<t-1>, x] + b_i)\n", ""),
    "lstm with minus": LSTM.replace("+ i * g", "- i * g"),
    "lstm with a gate of the input alone": LSTM.replace("W_i [h<t-1>, x]", "W_i x"),
    "lstm with layer norm": LSTM.replace("tanh(c)", "tanh(layer_norm(c))"),
    "lstm with a projection of the old output": LSTM.replace("h = o * tanh(c)", "h = o * tanh(c) + R h<t-1>"),
}


def layers(cell: Cell, **options: object) -> tuple[elman.Recurrent, elman.Recurrent]:
    sizes = dict.fromkeys(cell.free_sizes, 3)
    fused, schedule = (
        elman.Recurrent(cell, 4, 5, sizes=sizes, engine=engine, init={"*": "uniform:0.8"}, seed=3, **options).double()
        for engine in ("torch-fused", "torch-schedule")
    )
    return fused, schedule


def results(layer: elman.Recurrent, lengths: list[int] | None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(4, 6, 4, generator=generator, dtype=torch.float64)
    for row, length in enumerate(lengths or []):
        x[row, length:] = torch.nan
    x.requires_grad_()
    state = {n: torch.randn(4, w, generator=generator, dtype=torch.float64) for n, w in layer.state_sizes.items()}
    before = {name: value.clone().requires_grad_() for name, value in state.items()}
    y, after = layer(x, lengths, before)
    loss = (y * torch.arange(1.0, y.numel() + 1).view_as(y).cos()).sum()
    (loss + sum(value.square().sum() for value in after.values())).backward()
    found = {"y": y, **{f"after {n}": v for n, v in after.items()}, "d x": x.grad}
    found |= {f"d {n}": v.grad for n, v in before.items()} | {f"d {n}": p.grad for n, p in layer.weights.items()}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("lengths", [None, [3, 6, 1, 4]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", MATCHES)
def test_what_matches_equals_the_schedule(name: str, reverse: bool, lengths: list[int] | None) -> None:
    kind, text = MATCHES[name]
    cell = Cell(text)
    found = recognise(cell)
    assert found is not None and found.kind == kind
    fused, schedule = layers(cell, reverse=reverse)
    wanted, got = results(schedule, lengths), results(fused, lengths)
    assert list(got) == list(wanted) and len(got) == 3 + 2 * len(cell.states) - 1 + len(fused.weights)
    for key, value in wanted.items():
        torch.testing.assert_close(got[key], value, atol=1e-10, rtol=1e-8, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("name", MISSES)
def test_near_misses_are_not_matched(name: str) -> None:
    cell = Cell(MISSES[name], output="h")
    assert recognise(cell) is None
    assert choose("auto", cell).name == "torch-schedule"
    with pytest.raises(UsageError, match="engine 'torch-fused': the equations of 'cell' must be exactly"):
        choose("torch-fused", cell)


def test_another_output_or_masks_do_not_match() -> None:
    assert recognise(Cell(LSTM, output="h")) is not None
    assert recognise(Cell(LSTM, output="c")) is None
    assert recognise(Cell(LSTM, output="o")) is None
    assert recognise(zoneout(Cell(LSTM))) is None and recognise(variational(Cell(LSTM))) is None


def test_the_parameters_of_torch_go_to_their_places() -> None:
    """Torch's own modules, given the packed weights, compute the same; both biases of the GRU where they belong."""
    torch_modules = {
        "rnn": nn.RNN(4, 5, batch_first=True),
        "rnn_relu": nn.RNN(4, 5, nonlinearity="relu", batch_first=True),
        "gru_reset_after": nn.GRU(4, 5, batch_first=True),
        "lstm": nn.LSTM(4, 5, batch_first=True),
        "lstm_projected": nn.LSTM(4, 5, proj_size=3, batch_first=True),
    }
    x = torch.randn(3, 6, 4)
    for name, module in torch_modules.items():
        cell = elman.cells[name]
        sizes = dict.fromkeys(cell.free_sizes, 3)
        layer = elman.Recurrent(cell, 4, 5, sizes=sizes, engine="torch-schedule", init={"*": "uniform"}, seed=1)
        found = recognise(cell)
        assert found is not None
        flat = packed_weights(found, cell, dict(layer.weights), 4, layer.state_sizes[found.hidden])
        shapes = [tuple(p.shape) for p in module.parameters()]
        assert [tuple(p.shape) for p in flat] == shapes
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), flat, strict=True):
                parameter.copy_(value)
        # Packed, since torch warns about oneDNN when it runs a projection over padded input.
        packed = pack_padded_sequence(x, torch.tensor([6, 6, 6]), batch_first=True)
        wanted, _ = pad_packed_sequence(module(packed)[0], batch_first=True)
        torch.testing.assert_close(layer(x)[0], wanted, atol=1e-6, rtol=1e-5)


def test_weights_in_one_buffer_are_equal_and_adjacent() -> None:
    parts = [torch.randn(4, 3, requires_grad=True), torch.randn(4, 2).T.contiguous().T, torch.randn(4)]
    found = in_one_buffer(parts)
    for piece, part in zip(found, parts, strict=True):
        assert torch.equal(piece, part) and piece.is_contiguous()
    start = found[0].data_ptr()
    assert [p.data_ptr() - start for p in found] == [0, 12 * 4, 20 * 4]
    found[0].sum().backward()
    assert parts[0].grad is not None and torch.equal(parts[0].grad, torch.ones(4, 3))


def test_one_step_of_a_sequence_takes_the_schedule() -> None:
    assert choose("auto", elman.cells["lstm"], steps=1).name == "torch-schedule"
    assert choose("torch", elman.cells["lstm"], steps=2).name == "torch-fused"
    assert choose("torch-fused", elman.cells["lstm"], steps=1).name == "torch-fused"


@pytest.mark.parametrize("projected", [5, 7])
def test_a_projection_that_does_not_narrow_takes_the_schedule(projected: int) -> None:
    """Torch's kernel tells a projection from none by the sizes of its states; equal ones it refuses."""
    sizes = {"P": projected}
    layer = elman.Recurrent("lstm_projected", 4, 5, sizes=sizes, engine="torch", seed=0)
    assert layer.engine == "torch-schedule"
    assert elman.Recurrent("lstm_projected", 4, 5, sizes={"P": 4}, engine="torch").engine == "torch-fused"
    x = torch.randn(2, 3, 4)
    wanted, _ = elman.Recurrent("lstm_projected", 4, 5, sizes=sizes, seed=0, engine="reference")(x)
    torch.testing.assert_close(layer(x)[0], wanted, atol=1e-6, rtol=1e-5)
    with pytest.raises(UsageError, match="the projection of 'lstm_projected' must be narrower than its memory"):
        elman.Recurrent("lstm_projected", 4, 5, sizes=sizes, engine="torch-fused")
