"""Elman's layers under torch.compile: one graph, the bits of eager calls, no compilation for each size of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import elman
from elman import randomness
from elman.engines.cpu.runners import Choice, Program, runner_of
from elman.errors import ShapeError
from elman.plans.native import available

pytestmark = [
    pytest.mark.skipif(not available(), reason="the engine was not built"),
    pytest.mark.filterwarnings("ignore"),  # of what torch imports for its compiler
]

I_SIZE, H_SIZE, BATCH, STEPS = 3, 5, 4, 6
LENGTHS = torch.tensor([3, 6, 1, 5])
Layer = elman.Recurrent | elman.Stack | elman.Bidirectional
LAYERS: dict[str, Callable[[], Layer]] = {
    "lstm": lambda: elman.Recurrent("lstm", I_SIZE, H_SIZE, seed=0),
    "gru from the end": lambda: elman.Recurrent("gru", I_SIZE, H_SIZE, reverse=True, seed=0),
    "learned start": lambda: elman.Recurrent("mgu", I_SIZE, H_SIZE, learn_initial_state=True, seed=0),
    "projected": lambda: elman.Recurrent("lstm_projected", I_SIZE, H_SIZE, sizes={"P": 2}, seed=0),
    "bf16": lambda: elman.Recurrent("gru", I_SIZE, H_SIZE, precision="bf16", seed=0),
    "zoneout": lambda: elman.Recurrent("lstm", I_SIZE, H_SIZE, zoneout=0.2, seed=0).eval(),
    "stack": lambda: elman.Stack.of("gru", I_SIZE, H_SIZE, layers=2, seed=0),
    "residual": lambda: elman.Stack.of("gru", I_SIZE, I_SIZE, layers=2, residual=True, seed=0),
    "both directions": lambda: elman.Bidirectional.of("lstm", I_SIZE, H_SIZE, seed=0),
    "stack of both": lambda: elman.Stack.of("gru", I_SIZE, H_SIZE, layers=2, bidirectional=True, seed=0),
}
DRAWING: dict[str, Callable[[], Layer]] = {
    "zoneout": lambda: elman.Bidirectional.of("lstm", I_SIZE, H_SIZE, zoneout=0.2, seed=0),
    "variational": lambda: elman.Bidirectional.of("lstm", I_SIZE, H_SIZE, variational_dropout=0.3, seed=0),
    "weight drop": lambda: elman.Stack.of("gru", I_SIZE, H_SIZE, layers=2, weight_drop=0.5, seed=0),
    "dropout": lambda: elman.Stack.of("gru", I_SIZE, H_SIZE, layers=3, dropout=0.5, locked_dropout=True, seed=0),
}


EQUAL = torch.full((BATCH,), STEPS)


def compiled(layer: nn.Module, backend: Any = "aot_eager") -> Callable[..., Any]:
    torch._dynamo.reset()
    return torch.compile(layer, fullgraph=True, backend=backend)


def rows(batch: int = BATCH, steps: int = STEPS, size: int = I_SIZE) -> Tensor:
    return torch.randn(batch, steps, size, generator=torch.Generator().manual_seed(2))


def run(call: Callable[..., Any], layer: nn.Module, lengths: Tensor | None, state: Any = None) -> dict[str, Tensor]:
    """Output, final states and all gradients; every number has a weight of its own."""
    layer.zero_grad()
    x = rows().requires_grad_()
    y, after = call(x, lengths, state)
    outputs = {"y": y, **after.state_dict()}
    total = torch.stack([(o * torch.arange(1.0, o.numel() + 1).view(o.shape).cos()).sum() for o in outputs.values()])
    total.sum().backward()
    gradients = {f"d {n}": p.grad for n, p in layer.named_parameters()} | {"d x": x.grad}
    return {n: v.detach() for n, v in (outputs | gradients).items()}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(("name", "lengths"), [*((name, LENGTHS) for name in LAYERS), ("lstm", None), ("stack", None)])
def test_one_graph_gives_the_bits_of_eager_calls(name: str, lengths: Tensor | None) -> None:
    layer = LAYERS[name]()
    call = compiled(layer)
    assert_same(run(call, layer, lengths), run(layer, layer, lengths))
    with torch.no_grad():
        found, wanted = call(rows(), lengths)[0], layer(rows(), lengths)[0]
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", ["lstm", "stack of both"])
def test_states_come_and_go(name: str) -> None:
    layer = LAYERS[name]()
    call = compiled(layer)
    _, state = layer(rows())
    state = state.detach()
    assert_same(run(call, layer, LENGTHS, state), run(layer, layer, LENGTHS, state))
    assert_same(run(call, layer, EQUAL, state), run(layer, layer, None, state))


@pytest.mark.parametrize("name", DRAWING)
def test_regularisers_draw_what_eager_calls_draw(name: str) -> None:
    layer = DRAWING[name]()
    call, found = compiled(layer), []
    for which in (call, layer, call):
        with randomness.drawing(3, "test"):
            found.append(run(which, layer, LENGTHS))
    assert_same(found[0], found[1])
    assert_same(found[2], found[1])
    with randomness.drawing(4, "test"):
        assert not torch.equal(run(call, layer, LENGTHS)["y"], found[0]["y"])
    torch.manual_seed(0)
    seeded = run(call, layer, LENGTHS)
    torch.manual_seed(0)
    assert_same(run(layer, layer, LENGTHS), seeded)


@pytest.mark.parametrize("name", ["lstm", "stack of both"])
def test_batches_of_other_sizes_are_not_compiled_again(name: str) -> None:
    """The second size makes the graph one for all sizes; none that follows compiles."""
    layer, counter = LAYERS[name](), CompileCounterWithBackend("aot_eager")
    call = compiled(layer, counter)
    for batch, steps in ((4, 6), (5, 9), (3, 7), (8, 2), (6, 11)):
        x, lengths = rows(batch, steps), torch.arange(batch) % steps + 1
        assert torch.equal(call(x, lengths)[0], layer(x, lengths)[0])
    assert counter.frame_count <= 2


def test_modes_and_autocast_are_told_apart() -> None:
    layer = elman.Recurrent("lstm", I_SIZE, 40, variational_dropout=0.5, seed=0)
    call, x = compiled(layer), rows()
    torch.manual_seed(0)
    trained = call(x)[0]
    layer.eval()
    assert torch.equal(call(x)[0], layer(x)[0]) and not torch.equal(call(x)[0], trained)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = call(x)[0], layer(x)[0]
    assert torch.equal(found, wanted) and not torch.equal(found, layer(x)[0])


def test_lengths_that_do_not_fit_are_told_as_in_eager_calls() -> None:
    layer = LAYERS["stack"]()
    call = compiled(layer)
    for bad in ([3, 6, 0, 5], [3, 7, 1, 5]):
        messages = []
        for which in (call, layer):
            with pytest.raises(ShapeError) as caught:
                which(rows(), torch.tensor(bad))
            messages.append(str(caught.value))
        assert messages[0] == messages[1] and "from 1 to T = 6" in messages[0]


def test_a_model_around_a_layer_is_one_graph() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = LAYERS["both directions"](), nn.Linear(2 * H_SIZE, 3)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            return self.head(self.layer(x, lengths)[0]).log_softmax(-1)

    model = Tagger()
    assert torch.equal(compiled(model)(rows(), LENGTHS), model(rows(), LENGTHS))


def test_torchs_own_compiler_takes_it() -> None:
    layer = LAYERS["lstm"]()
    found, wanted = run(compiled(layer, "inductor"), layer, LENGTHS), run(layer, layer, LENGTHS)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, atol=1e-6), name


# ---- the operators

CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
"""Of torch's, those for a forward run that keeps its workspace: much of it nobody writes, so two are not equal."""


def program(choice: Choice | None = None) -> Program:
    layer = LAYERS["lstm"]()
    return Program(layer.cell, layer.shapes, layer.widths, {"x": I_SIZE, "c": H_SIZE, "h": H_SIZE}, choice or Choice())


@pytest.mark.parametrize("needs", [(), ("x",), ("x", "weights", "start")], ids=["nothing", "x", "all"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "ragged"])
def test_torch_finds_no_fault_with_the_operator(lengths: Tensor | None, needs: tuple[str, ...]) -> None:
    layer = LAYERS["lstm"]()
    weights = [w.detach().requires_grad_("weights" in needs) for w in layer.weights.values()]
    start = [torch.randn(BATCH, H_SIZE).requires_grad_("start" in needs) for _ in range(2)]
    x = rows().requires_grad_("x" in needs)
    torch.library.opcheck(
        torch.ops.elman.forward,
        (x, lengths, weights, start, [], program().text(), False, bool(needs)),
        test_utils=CHECKS if needs else (*CHECKS, "test_aot_dispatch_dynamic"),
    )


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "ragged"])
def test_torch_finds_no_fault_with_the_shapes_of_the_way_back(lengths: Tensor | None) -> None:
    layer, x, text = LAYERS["lstm"](), rows(), program().text()
    weights, start = [w.detach() for w in layer.weights.values()], [torch.randn(BATCH, H_SIZE) for _ in range(2)]
    y, final, workspace = torch.ops.elman.forward(x, lengths, weights, start, [], text, False, True)
    wanted = [True, False] * 5 + [True]
    call = (y, [None, *final[1:]], workspace, x, lengths, weights, start, [], text, False, wanted)
    torch.library.opcheck(torch.ops.elman.backward, call, test_utils="test_faketensor")


def test_torch_finds_no_fault_with_the_small_operators() -> None:
    torch.library.opcheck(torch.ops.elman.checked_lengths, (LENGTHS, STEPS, "here"))
    torch.library.opcheck(torch.ops.elman.uniform, (torch.tensor(3), [2, 3], "a mask"))


@pytest.mark.parametrize("choice", [Choice(), Choice("scalar", 1, "bf16")])
def test_a_programme_as_text_means_the_same_anywhere(choice: Choice) -> None:
    first = program(choice)
    assert runner_of(first.text(), keep=False) is first.runner(keep=False)
    assert runner_of(first.text(), keep=True) is not first.runner(keep=False)


def test_other_equations_have_another_text() -> None:
    texts = {program().text(), program(Choice(precision="bf16")).text()}
    for cell in ("gru", "lstm_peephole"):
        layer = elman.Recurrent(cell, I_SIZE, H_SIZE)
        texts.add(Program(layer.cell, layer.shapes, layer.widths, {"x": I_SIZE, **layer.state_sizes}).text())
    assert len(texts) == 4


def test_a_second_derivative_is_refused() -> None:
    layer, x = LAYERS["lstm"](), rows().requires_grad_()
    slope = torch.autograd.grad(layer(x)[0].pow(2).sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
