"""The layers of elman.torch under torch.compile, torch.export and DistributedDataParallel."""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path

import pytest
import torch
import torch._dynamo
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

import elman
from elman.plans.native import available
from tests.bridges.layers import KINDS, assert_close, pair, rows, run, states

pytestmark = [
    pytest.mark.skipif(not available(), reason="the engine was not built"),
    pytest.mark.filterwarnings("ignore"),  # of what torch imports for its compiler
]


@pytest.mark.parametrize("form", ["padded", "unbatched"])
@pytest.mark.parametrize("kind", KINDS)
@torch._dynamo.config.patch(allow_rnn=True)
def test_one_graph_gives_the_same(kind: str, form: str) -> None:
    torch._dynamo.reset()
    layer = pair(kind, num_layers=2, bidirectional=True)[0]
    wanted = run(layer, form)
    compiled = copy.deepcopy(layer)
    compiled.forward = torch.compile(compiled.forward, fullgraph=True, backend="aot_eager")
    assert_close(run(compiled, form), wanted, 1e-6)


def test_without_leave_the_layer_runs_between_two_graphs() -> None:
    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(3, 3), elman.torch.LSTM(3, 5))
    x = torch.randn(6, 2, 3)
    wanted = model(x)[0]
    found = torch.compile(model, backend="aot_eager")(x)[0]
    assert torch.allclose(found, wanted, atol=1e-6) and model[1].left_to_torch is None


def test_without_leave_nothing_within_the_layer_is_compiled() -> None:
    torch._dynamo.reset()
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _example: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    layer, x = elman.torch.LSTM(3, 5, num_layers=2, bidirectional=True), torch.randn(6, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.compile(layer, backend=keep)(x)[0].sum().backward()
    assert graphs == []


def test_an_exported_program_needs_no_elman() -> None:
    model, x = elman.torch.GRU(3, 5), torch.randn(6, 2, 3)
    program = torch.export.export(model, (x,), strict=False)
    names = {str(node.target) for node in program.graph.nodes}
    assert "aten.gru.input" in names and not any("elman" in name for name in names)
    assert torch.allclose(program.module()(x)[0], model(x)[0], atol=1e-6)


@pytest.mark.parametrize("needs", [False, True])
@pytest.mark.parametrize("form", ["padded", "packed"])
def test_torch_finds_no_fault_with_the_operator(form: str, needs: bool) -> None:
    """But for the test that compares workspaces, much of which nobody writes."""
    layer = pair("lstm", bidirectional=True)[0]
    x, start = rows(form, False)[1], [s.detach() for s in states(layer, form)]
    counts, x = (x.batch_sizes, x.data) if form == "packed" else (None, x)
    weights = [w.detach().requires_grad_(needs) for w in layer.parameters()]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.elman.layer_forward,
        (x.detach(), counts, start, weights, "LSTM", 2, False, needs),
        test_utils=checks if needs else (*checks, "test_aot_dispatch_dynamic"),
    )


def test_without_leave_torch_says_how_to_give_it() -> None:
    torch._dynamo.reset()
    layer = torch.compile(elman.torch.GRU(3, 5), fullgraph=True, backend="aot_eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"torch\._dynamo\.config\.allow_rnn=True"):
        layer(torch.randn(6, 2, 3))


@torch._dynamo.config.patch(allow_rnn=True)
def test_one_graph_under_autocast_gives_the_same() -> None:
    torch._dynamo.reset()
    layer, x = elman.torch.LSTM(3, 40), torch.randn(6, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0], layer(x)[0]
    assert torch.equal(found, wanted) and found.dtype == torch.bfloat16 and not torch.equal(found.float(), layer(x)[0])


@pytest.mark.parametrize("kind", ["gru", "rnn tanh"])
@torch._dynamo.config.patch(allow_rnn=True)
def test_transforms_within_a_graph_are_left_to_torch(kind: str) -> None:
    torch._dynamo.reset()
    ours, theirs = pair(kind)
    x = rows("padded", False)[0].detach()

    def transformed(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        slope = torch.func.grad(lambda given: ours(given)[0].square().sum())(rows)
        return slope, torch.func.jvp(lambda given: ours(given)[0], (rows,), (torch.ones_like(rows),))[1]

    found = torch.compile(transformed, fullgraph=True, backend="aot_eager")(x)
    assert torch.allclose(found[0], torch.func.grad(lambda given: theirs(given)[0].square().sum())(x), atol=1e-5)
    wanted = torch.func.jvp(lambda given: theirs(given)[0], (x,), (torch.ones_like(x),))[1]
    assert wanted.any() and torch.allclose(found[1], wanted, atol=1e-5)


def _replica(rank: int, folder: str) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(rank)
    layer = DistributedDataParallel(elman.torch.LSTM(3, 5, bidirectional=True))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        layer(_part(rank))[0].pow(2).sum().backward()
        optimizer.step()
    torch.save([p.detach() for p in layer.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # Not by the usual way out: there gloo may wait for its threads, which wait for the lock that it holds (torch 2.13).
    os._exit(0)


def _part(rank: int) -> torch.Tensor:
    return torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(rank))


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """Gradients are means over the processes, so that two learn what one does from half the sum of both parts."""
    multiprocessing.spawn(_replica, (str(tmp_path),), nprocs=2)
    torch.manual_seed(0)
    layer = nn.LSTM(3, 5, bidirectional=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (sum(layer(_part(rank))[0].pow(2).sum() for rank in range(2)) / 2).backward()
        optimizer.step()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, layer.parameters(), strict=True))
