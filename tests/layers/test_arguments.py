"""What a layer refuses, with the whole text of the error, and the shapes of input it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import elman
from elman import Bidirectional, Recurrent, Stack
from elman.equations import Cell
from elman.errors import ElmanError, ShapeError, UsageError

GRU = "Recurrent('gru')"
X = torch.zeros(2, 3, 4)


def gru(**options: object) -> Recurrent:
    return Recurrent("gru", 4, 5, **options)


OPTIONS: list[tuple[Callable[[], object], type[ElmanError], str]] = [
    (lambda: Recurrent("gruu", 4, 5), UsageError,
     f"cell: unknown name 'gruu'; did you mean 'gru'?\n\nhint: known cells: {', '.join(sorted(elman.cells))}"),
    (lambda: Recurrent(3, 4, 5), UsageError,  # type: ignore[arg-type]
     "Recurrent: cell must be a Cell or the name of one; got int\n\n"
     "hint: write Recurrent(cell, input_size, hidden_size)"),
    (lambda: Recurrent("\nh = tanh(W h<t-1> + U x)", 4, 5), UsageError,
     "Recurrent: cell must be a Cell or the name of one; got the equations 'h = tanh(W h<t-1> + U x)'\n\n"
     "hint: write Recurrent(elman.Cell(equations), ...)"),
    (lambda: gru(init="zeros"), UsageError,
     "init: must be a dict by parameter name; got 'zeros'\n\nhint: for all of them: {'*': 'zeros'}"),
    (lambda: Recurrent("gru", 0, 5), ShapeError, "gru: input_size must be a whole number of at least 1; got 0"),
    (lambda: Recurrent("gru", 4, 2.5), ShapeError,  # type: ignore[arg-type]
     "gru: hidden_size must be a whole number of at least 1; got 2.5"),
    (lambda: Recurrent("lstm_projected", 4, 5), ShapeError,
     "lstm_projected: the equations declare the size P; got sizes for none\n\nhint: give it as sizes={'P': 64}"),
    (lambda: gru(sizes={"P": 3}), ShapeError,
     "gru: sizes names 'P', which the equations do not declare\n\n"
     "hint: declared: none; input and state have arguments of their own"),
    (lambda: gru(engine="cpuu"), UsageError,
     "engine: must be one of auto, reference, cpu, torch, torch-schedule, torch-fused; got 'cpuu'; "
     "did you mean 'cpu'?"),
    (lambda: gru(engine="torch-fused"), UsageError,
     "engine 'torch-fused': the equations of 'gru' must be exactly those of a torch kernel; they are not\n\n"
     "hint: use engine='auto'"),
    (lambda: Recurrent("lstm", 4, 5, engine="torch-fused", zoneout=0.1), UsageError,
     "engine 'torch-fused': the equations of 'lstm' must be exactly those of a torch kernel; zoneout and variational "
     "dropout add zoneout_c, zoneout_h\n\nhint: use engine='auto'"),
    (lambda: gru(zoneout=1.0), UsageError, "zoneout must be a probability from 0 up to, not including, 1; got 1.0"),
    (lambda: gru(zoneout=True), UsageError, "zoneout must be a probability from 0 up to, not including, 1; got True"),
    (lambda: gru(variational_dropout=-0.1), UsageError,
     "variational_dropout must be a probability from 0 up to, not including, 1; got -0.1"),
    (lambda: gru(weight_drop=float("nan")), UsageError,
     "weight_drop must be a probability from 0 up to, not including, 1; got nan"),
    (lambda: Recurrent("indrnn", 4, 5, weight_drop=0.1), UsageError,
     "weight_drop: must have a recurrent matrix to act on; the cell 'indrnn' has none\n\n"
     "hint: use zoneout, or dropout between layers"),
    (lambda: Recurrent(Cell("h = tanh(w * h<t-1> + x)", name="w"), 4, 4, variational_dropout=0.1), UsageError,
     "variational_dropout: must have a matrix to act before; the cell 'w' has none\n\n"
     "hint: use zoneout, or dropout between layers"),
    (lambda: Stack(gru(), dropout=0.1), UsageError,
     "Stack: dropout acts between layers; with 1 layer it has no effect\n\n"
     "hint: use variational_dropout, zoneout or weight_drop of the layer, or a dropout on its output"),
    (lambda: Stack.of("gru", 4, 5, locked_dropout=True), UsageError,
     "Stack: locked_dropout must come with dropout > 0; it has no effect alone"),
    (lambda: Stack(gru(), residual=True), UsageError,
     "Stack: residual must find a layer whose input and output sizes agree; none of them does"),
    (lambda: Stack(), UsageError, "Stack: must have at least one layer; got none"),
    (lambda: Stack(gru(), torch.nn.GRU(5, 5)), UsageError,  # type: ignore[arg-type]
     "Stack: layer 1 must be Recurrent or Bidirectional; got GRU"),
    (lambda: Stack.of("gru", 4, 5, layers=0), UsageError, "Stack: layers must be at least 1; got 0"),
    (lambda: Stack.of("gru", 4, 5, layers="2"), UsageError,  # type: ignore[arg-type]
     "Stack: layers must be at least 1; got '2'"),
    (lambda: Stack(gru(), gru()), ShapeError,
     "Stack: layer 1 must have input_size 5, the output size of the layer below; got 4"),
    (lambda: Bidirectional(gru(), gru()), UsageError,
     "Bidirectional: the first layer must read forwards and the second from the end (reverse=True)"),
    (lambda: Bidirectional(gru(), Recurrent("gru", 3, 5, reverse=True)), ShapeError,
     "Bidirectional: both layers must have the same input_size; got 4 and 3"),
]  # fmt: skip

CALLS: list[tuple[Callable[[], object], str]] = [
    (lambda: gru()(X[0]), f"{GRU}: x must have shape (B, T, I) with I = 4; got a tensor of shape (3, 4)\n\n"
     "hint: one sequence (T, I) becomes a batch by x.unsqueeze(0)"),
    (lambda: gru()(torch.zeros(2, 3, 5)), f"{GRU}: x must have shape (B, T, I) with I = 4; got a tensor of shape "
     "(2, 3, 5)"),
    (lambda: gru().step(torch.zeros(2, 5)), f"{GRU}: x must have shape (B, I) with I = 4; got (2, 5)"),
    (lambda: gru().weights.update(b_u=[0.0] * 5),  # type: ignore[dict-item]
     "weights['b_u']: must be a tensor of shape (5,); got list"),
    (lambda: gru()(np.zeros((2, 3, 4))), f"{GRU}: x must have shape (B, T, I) with I = 4; got ndarray"),
    (lambda: gru()(X.long()), f"{GRU}: x must be floating point; got torch.int64\n\n"
     "hint: embed token numbers first, or use x.float()"),
    (lambda: gru()(X.double()), f"{GRU}: x must be torch.float32 on cpu, as the parameters are; got torch.float64 on "
     "cpu\n\nhint: use x.to(parameter.device, parameter.dtype), or layer.to(x.device, x.dtype)"),
    (lambda: gru()(X.to("meta")), f"{GRU}: x must be torch.float32 on cpu, as the parameters are; got torch.float32 on "
     "meta\n\nhint: use x.to(parameter.device, parameter.dtype), or layer.to(x.device, x.dtype)"),
    (lambda: gru()(X[:, :0]), f"{GRU}: x must have at least one sequence and one step; got shape (2, 0, 4)"),
    (lambda: gru()(X[:0]), f"{GRU}: x must have at least one sequence and one step; got shape (0, 3, 4)"),
    (lambda: gru()([]), f"{GRU}: x must have at least one sequence; got an empty list"),
    (lambda: gru()([X[0], X[0, :0]]), f"{GRU}: sequence 1 must have shape (T, I) with T >= 1 and I = 4; got shape "
     "(0, 4)"),
    (lambda: gru()([X[0], X[0, :, :2]]), f"{GRU}: sequence 1 must have shape (T, I) with T >= 1 and I = 4; got shape "
     "(3, 2)"),
    (lambda: gru()([X[0], X[0].double()]), f"{GRU}: all sequences must have one type and device; sequence 0 has "
     "torch.float32 on cpu, sequence 1 has torch.float64 on cpu"),
    (lambda: gru()([X[0]], lengths=[3]), f"{GRU}: lengths must be left out for a list of sequences; their own lengths "
     "count"),
    (lambda: gru()(X, lengths=[3, 4]), f"{GRU}: every length must be from 1 to T = 3; got 4 for sequence 1"),
    (lambda: gru()(X, lengths=[0, 3]), f"{GRU}: every length must be from 1 to T = 3; got 0 for sequence 0"),
    (lambda: gru()(X, lengths=torch.tensor([3, -1])), f"{GRU}: every length must be from 1 to T = 3; got -1 for "
     "sequence 1"),
    (lambda: gru()(X, lengths=[3]), f"{GRU}: lengths must have shape (2,), one for each sequence; got (1,)"),
    (lambda: gru()(X, lengths=torch.tensor([[3, 2]])), f"{GRU}: lengths must have shape (2,), one for each sequence; "
     "got (1, 2)"),
    (lambda: gru()(X, lengths=[2.0, float("nan")]), f"{GRU}: lengths must be whole numbers; got torch.float32"),
    (lambda: gru()(X, lengths=torch.tensor([True, True])), f"{GRU}: lengths must be whole numbers; got torch.bool"),
    (lambda: gru()(X, lengths="ab"), f"{GRU}: lengths must be 2 whole numbers; got 'ab'"),
    (lambda: gru()(X, state=torch.zeros(2, 5)), f"{GRU}: state must be a State or a dict with c; got Tensor"),
    (lambda: gru()(X, state={"h": torch.zeros(2, 5)}), f"{GRU}: state must have c; got h"),
    (lambda: gru()(X, state={"c": torch.zeros(3, 5)}), f"{GRU}: state.c must have shape (2, 5); got (3, 5)"),
    (lambda: gru()(X, state={"c": torch.zeros(2, 5).double()}), f"{GRU}: state.c must be torch.float32 on cpu, as x "
     "is; got torch.float64 on cpu\n\nhint: use state.to(x.device, x.dtype)"),
    (lambda: Stack.of("gru", 4, 5)(X, state=gru().initial_state(2)),
     "Stack: state must be a StackState of 2 states; got State"),
    (lambda: Stack.of("gru", 4, 5)(X, state=Stack.of("gru", 4, 5, layers=3).initial_state(2)),
     "Stack: state must be a StackState of 2 states; got 3 states"),
    (lambda: Bidirectional.of("gru", 4, 5)(X, state=gru().initial_state(2)),
     "Bidirectional: state must be a StackState of 2 states; got State"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "kind", "message"), OPTIONS, ids=[text[:60] for *_, text in OPTIONS])
def test_options(build: Callable[[], object], kind: type[ElmanError], message: str) -> None:
    with pytest.raises(kind) as error:
        build()
    assert str(error.value) == message


@pytest.mark.parametrize(("call", "message"), CALLS, ids=[text[:70] for _, text in CALLS])
def test_calls(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError) as error:
        call()
    assert str(error.value) == message


def test_every_way_to_give_lengths() -> None:
    layer, x = gru(seed=0), torch.randn(3, 6, 4)
    wanted, state = layer(x, lengths=[2, 6, 4])
    for lengths in (
        (2, 6, 4),
        torch.tensor([2, 6, 4]),
        torch.tensor([2, 6, 4], dtype=torch.uint8),
        np.array([2, 6, 4]),
    ):
        assert torch.equal(layer(x, lengths=lengths)[0], wanted)
    y, listed = layer([x[0, :2], x[1], x[2, :4]])
    assert torch.equal(y, wanted) and torch.equal(listed.c, state.c)


@pytest.mark.parametrize("engine", ["auto", "torch", "reference"])
@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_the_way_back_knows_the_lengths_that_there_were(kind: Callable[[list[int]], object], engine: str) -> None:
    """A loop may fill one tensor of lengths anew for each batch before it differentiates."""
    layer, x = gru(seed=0, engine=engine), torch.randn(3, 6, 4).requires_grad_()
    lengths = kind([6, 3, 2])
    (wanted,) = torch.autograd.grad(layer(x, lengths=lengths)[0].sum(), x)
    y, _ = layer(x, lengths=lengths)
    lengths[1], lengths[2] = 2, 3  # type: ignore[index]
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], wanted)


@pytest.mark.parametrize("name", ["gru", "lstm"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
def test_lists_come_back_in_the_callers_order(name: str, order: list[int]) -> None:
    layer = Recurrent(name, 4, 5, seed=0).double()
    rows = [torch.randn(n, 4, dtype=torch.float64) for n in (3, 7, 1, 5)]
    y, state = layer([rows[n] for n in order])
    assert y.shape == (4, 7, 5)
    for place, n in enumerate(order):
        alone, end = layer(rows[n].unsqueeze(0))
        torch.testing.assert_close(y[place, : len(rows[n])], alone[0], atol=1e-12, rtol=1e-10)
        assert not y[place, len(rows[n]) :].any()
        for key, value in end.items():
            torch.testing.assert_close(state[key][place], value[0], atol=1e-12, rtol=1e-10)


def test_full_lengths_are_no_lengths() -> None:
    layer, x = Recurrent("lstm", 4, 5), torch.randn(2, 3, 4)
    assert torch.equal(layer(x, lengths=[3, 3])[0], layer(x)[0])


def test_signs_that_torch_keeps_beside_the_numbers_count() -> None:
    layer, x, start = Recurrent("gru", 3, 4), torch.randn(2, 5, 3), torch.randn(2, 4)
    assert torch.equal(
        layer(torch._neg_view(x), None, {"c": torch._neg_view(start)})[0], layer(-x, None, {"c": -start})[0]
    )


def test_learned_initial_state() -> None:
    layer = Recurrent("lstm", 4, 5, learn_initial_state=True, seed=0)
    assert {"initial_c", "initial_h"} <= set(layer.state_dict())
    torch.nn.init.constant_(layer.get_parameter("initial_c"), 0.5)
    assert torch.equal(layer.initial_state(3).c, torch.full((3, 5), 0.5))
    given = elman.State({"c": torch.full((2, 5), 0.5), "h": torch.zeros(2, 5)})
    x = torch.randn(2, 6, 4)
    torch.testing.assert_close(layer(x, [6, 2])[0], layer(x, [6, 2], given)[0])
    layer(x, [6, 2])[0].sum().backward()
    gradient = layer.get_parameter("initial_c").grad
    assert gradient is not None and bool((gradient != 0).all())
    leaf = given.c.clone().requires_grad_()
    layer(x, [6, 2], {"c": leaf, "h": given.h})[0].sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(gradient, leaf.grad.sum(0)), "the sum over rows of what each row's start receives"


def test_the_start_that_the_equations_state() -> None:
    layer = Recurrent(Cell("h = 0.5 * h<t-1> + x\nh<0> = 2"), 3, 3)
    assert torch.equal(layer(torch.zeros(1, 2, 3))[0][0, :, 0], torch.tensor([1.0, 0.5]))
    learned = Recurrent(Cell("h = 0.5 * h<t-1> + x\nh<0> = 2"), 3, 3, learn_initial_state=True)
    assert torch.equal(learned.initial_state(1).h, torch.full((1, 3), 2.0))
