"""Every cell of the catalogue, over ragged batches: derivatives, engines, streams, order and padding.

A new cell is tested here without a new line. The tolerances: central differences with a step of 1e-5 in float64 leave
an error near 1e-9 of a gradient; float64 engines differ by rounding in sums of some tens of terms, 1e-14; float32 by
1e-6.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import elman
from elman import Recurrent
from elman.equations import Cell

LENGTHS = [2, 4, 1]
ROWS, STEPS, HIDDEN = 3, 4, 3
NAMES = sorted(elman.cells)


def input_size(cell: Cell) -> int:
    """Two, unless the equations combine input and state elementwise."""
    try:
        cell.check_sizes(2, HIDDEN, dict.fromkeys(cell.free_sizes, 2))
    except elman.errors.ShapeError:
        return HIDDEN
    return 2


def build(name: str, engine: str, reverse: bool = False) -> Recurrent:
    """A layer in float64 whose gates are not all in the middle and whose start is not zero."""
    cell = elman.cells[name]
    layer = Recurrent(
        cell,
        input_size(cell),
        HIDDEN,
        sizes=dict.fromkeys(cell.free_sizes, 2),
        engine=engine,
        reverse=reverse,
        init={"*": "uniform:0.9"},
        learn_initial_state=True,
        seed=4,
    ).double()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for state, width in layer.state_sizes.items():
            layer.get_parameter(f"initial_{state}").copy_(torch.randn(width, generator=generator, dtype=torch.float64))
    return layer


def inputs(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(ROWS, STEPS, input_size(elman.cells[name]), generator=generator, dtype=torch.float64)


def padded(x: Tensor, filling: float) -> Tensor:
    x = x.clone()
    for row, length in enumerate(LENGTHS):
        x[row, length:] = filling
    return x


def loss(layer: Recurrent, x: Tensor) -> Tensor:
    """A scalar in which every output and every final state has a weight of its own."""
    y, state = layer(x, LENGTHS)
    total = (y * torch.arange(1, y.numel() + 1).view_as(y).cos()).sum()
    for value in state.values():
        total = total + (value * torch.arange(1, value.numel() + 1).view_as(value).sin()).sum()
    return total


def everything(layer: Recurrent, x: Tensor) -> dict[str, Tensor]:
    """Outputs, final states, and the gradients of input, parameters and initial state."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    loss(layer, x).backward()
    y, state = layer(x, LENGTHS)
    found = {"y": y, **{f"state {n}": v for n, v in state.items()}, "d x": x.grad}
    found |= {f"d {n}": p.grad for n, p in layer.named_parameters()}
    return {name: value.detach() for name, value in found.items() if value is not None}


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        scale = max(1.0, float(value.abs().max()))
        error = float((found[name].double() - value).abs().max()) / scale
        assert error <= tolerance, f"{name}: {error:.1e}"  # false for NaN, too


def slopes(layer: Recurrent, x: Tensor, values: Tensor, step: float = 1e-5) -> Tensor:
    flat, found = values.view(-1), torch.empty(values.numel(), dtype=torch.float64)
    for n in range(len(flat)):
        kept = flat[n].item()
        flat[n] = kept + step
        above = loss(layer, x).item()
        flat[n] = kept - step
        found[n] = (above - loss(layer, x).item()) / (2 * step)
        flat[n] = kept
    return found.view_as(values)


@pytest.mark.parametrize("name", NAMES)
def test_derived_gradients_equal_finite_differences(name: str) -> None:
    layer, x = build(name, "reference"), padded(inputs(name), 0.0)
    found = everything(layer, x)
    with torch.no_grad():
        wanted = {"d x": slopes(layer, x, x)}
        wanted |= {f"d {n}": slopes(layer, x, p.data) for n, p in layer.named_parameters()}
    for key, value in wanted.items():
        error = float((found[key] - value).norm()) / max(float(value.norm()), 1e-2)
        assert error <= 1e-6, f"{key}: {error:.1e}"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_torch_engines_equal_the_reference(name: str, reverse: bool) -> None:
    x = padded(inputs(name), 0.0)
    wanted = everything(build(name, "reference", reverse), x)
    for engine in ("torch-schedule", "torch"):
        layer = build(name, engine, reverse)
        assert_close(everything(layer, x), wanted, 1e-10)
        assert_close(everything(layer.float(), x.float()), wanted, 1e-5)


@pytest.mark.parametrize("engine", ["reference", "torch-schedule", "torch"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_of_nan_changes_nothing(name: str, engine: str) -> None:
    layer = build(name, engine)
    wanted, found = (everything(layer, padded(inputs(name), filling)) for filling in (0.0, torch.nan))
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    for row, length in enumerate(LENGTHS):
        assert not found["y"][row, length:].any() and not found["d x"][row, length:].any()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_each_sequence_is_as_if_alone(name: str, reverse: bool) -> None:
    """One by one, from the other end by turning the data, and in another order."""
    layer, x = build(name, "torch", reverse), inputs(name)
    ahead = build(name, "torch-schedule")
    y, state = layer(x, LENGTHS)
    mixed, mixed_state = layer(x[[2, 0, 1]], [LENGTHS[n] for n in (2, 0, 1)])
    torch.testing.assert_close(mixed, y[[2, 0, 1]], atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(dict(mixed_state), dict(state.select([2, 0, 1])), atol=1e-12, rtol=1e-10)
    for row, length in enumerate(LENGTHS):
        own = x[row : row + 1, :length]
        alone, end = ahead(own.flip(1) if reverse else own)
        alone = alone.flip(1) if reverse else alone
        torch.testing.assert_close(y[row, :length], alone[0], atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(dict(state.select([row])), dict(end), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_streams_and_halves_equal_the_whole(name: str) -> None:
    layer, x = build(name, "torch").eval(), inputs(name)
    with torch.no_grad():
        whole, end = layer(x)
        first, middle = layer(x[:, :1])
        second, last = layer(x[:, 1:], state=middle)
        state, outputs = None, []
        for x_t in x.unbind(1):
            y, state = layer.step(x_t, state)
            outputs.append(y)
    for found, after in ((torch.cat([first, second], 1), last), (torch.stack(outputs, 1), state)):
        torch.testing.assert_close(found, whole, atol=1e-12, rtol=1e-10)
        assert after is not None
        torch.testing.assert_close(dict(after), dict(end), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("engine", ["reference", "torch-schedule", "torch"])
@pytest.mark.parametrize("name", NAMES)
def test_runs_are_deterministic(name: str, engine: str) -> None:
    one, two = (everything(build(name, engine), inputs(name)) for _ in range(2))
    assert all(torch.equal(one[key], value) for key, value in two.items())


def test_the_comparison_rejects_planted_errors() -> None:
    layer, x = build("gru", "torch"), padded(inputs("gru"), 0.0)
    wanted = everything(layer, x)
    for key in wanted:
        wrong = {name: value.clone() for name, value in wanted.items()}
        wrong[key].view(-1)[0] += 1e-8
        with pytest.raises(AssertionError, match=key):
            assert_close(wrong, wanted, 1e-10)
        wrong[key].view(-1)[0] = torch.nan
        with pytest.raises(AssertionError, match=key):
            assert_close(wrong, wanted, 1e-10)
