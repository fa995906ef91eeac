"""The layers of elman.torch as modules: what torch's own classes can be used for, and what they say of themselves."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

import elman
from elman.bridges.torch import LSTM
from elman.plans.native import available
from tests.bridges.layers import KINDS, pair

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")


def x() -> Tensor:
    return torch.linspace(-1, 1, 30).view(5, 2, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_one_of_torch_with_its_names(kind: str) -> None:
    ours, theirs = pair(kind, num_layers=2, bidirectional=True)
    assert isinstance(ours, type(theirs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert repr(ours) == repr(theirs)[:-1] + ", engine='cpu')"


def test_first_values_are_those_of_torch() -> None:
    torch.manual_seed(7)
    ours = elman.torch.LSTM(3, 5, bidirectional=True)
    torch.manual_seed(7)
    theirs = nn.LSTM(3, 5, bidirectional=True)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_state_dicts_go_both_ways_through_a_file() -> None:
    ours, theirs = pair("gru")
    for source, target in ((ours, theirs), (theirs, ours)):
        with torch.no_grad():
            source.weight_hh_l0.add_(1)
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target.load_state_dict(torch.load(file, weights_only=True))
        assert torch.allclose(source(x())[0], target(x())[0], atol=1e-6)


@pytest.mark.parametrize("make", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same(make: Callable[[Any], Any]) -> None:
    layer = pair("lstm", num_layers=2)[0]
    wanted = layer(x())[0]
    twin = make(layer)
    assert type(twin) is type(layer) and torch.equal(twin(x())[0], wanted)


def test_a_class_derived_from_a_layer_runs_on_the_engine() -> None:
    class Mine(LSTM):
        def forward(self, input: Tensor, hx: Any = None) -> Any:
            y, state = super().forward(input, hx)
            return -y, state

    layer = Mine(3, 5)
    plain = nn.LSTM(3, 5)
    plain.load_state_dict(layer.state_dict())
    assert torch.allclose(layer(x())[0], -plain(x())[0], atol=1e-6) and layer.left_to_torch is None


LEFT: dict[str, tuple[Callable[[nn.RNNBase], Any], str]] = {
    "float64": (lambda m: m.double()(x().double()), "a parameter is torch.float64 on cpu"),
    "meta": (lambda m: m.to("meta")(x().to("meta")), "a parameter is torch.float32 on meta"),
    "a transform": (
        lambda m: torch.func.grad(lambda rows: m(rows)[0].sum())(x()),
        "a transform of torch.func is at work",
    ),
    "an empty batch": (lambda m: m(torch.zeros(5, 0, 3)), "the input is empty"),
    "a class of tensors": (lambda m: m(torch.Tensor._make_subclass(_Tagged, x())), "the input is a _Tagged"),
}


class _Tagged(Tensor):
    """A tensor that would notice every operation."""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", LEFT)
def test_what_is_left_to_torch_is_torchs_and_told(what: str) -> None:
    run, reason = LEFT[what]
    ours, theirs = pair("lstm")
    ours(x())
    assert ours.left_to_torch is None
    found, wanted = run(ours), run(theirs)
    assert ours.left_to_torch == reason
    for a, b in zip(_tensors(found), _tensors(wanted), strict=True):
        assert a.dtype == b.dtype and a.device == b.device and (a.is_meta or torch.equal(a, b))
    ours.to_empty(device="cpu").float()(x())
    assert ours.left_to_torch is None and ours.engine == "cpu"


@pytest.mark.filterwarnings("ignore:.torch.jit")  # of what torch imports for them
def test_derivatives_in_forward_mode_are_left_to_torch() -> None:
    found = []
    for layer in pair("gru"):
        with torch.autograd.forward_ad.dual_level():
            y = layer(torch.autograd.forward_ad.make_dual(x(), torch.ones(5, 2, 3)))[0]
            found.append(torch.autograd.forward_ad.unpack_dual(y).tangent)
    assert torch.equal(*found) and found[0].any()


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for part in value for t in _tensors(part)]


def test_replaced_parameters_count() -> None:
    ours, theirs = pair("gru")
    for layer in (ours, theirs):
        layer.weight_hh_l0 = nn.Parameter(torch.full((15, 5), 0.1))
        layer.bias_ih_l0.data = torch.full((15,), 0.2)
    assert torch.allclose(ours(x())[0], theirs(x())[0], atol=1e-6)
    zeros = {name: torch.zeros_like(p) for name, p in ours.named_parameters()}
    found = torch.func.functional_call(ours, zeros, (x(),))[0]
    assert not found.any() and ours(x())[0].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: parametrizations.weight_norm(m, "weight_hh_l0"),
        lambda m: parametrizations.orthogonal(m, "weight_hh_l0"),
        lambda m: prune.random_unstructured(m, "weight_ih_l0", amount=0.5),
    ],
    ids=["weight norm", "orthogonal", "pruning"],
)
def test_reparametrised_weights_learn(change: Callable[[nn.Module], Any]) -> None:
    found = []
    for layer in pair("lstm"):
        torch.manual_seed(5)
        change(layer)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            layer(x())[0].pow(2).sum().backward()
            optimizer.step()
        found.append(layer(x())[0])
    assert torch.allclose(*found, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_layers_are_of_their_parameters_type_whatever_torchs_default_is(kind: str) -> None:
    ours, theirs = pair(kind, num_layers=2, bidirectional=True)
    torch.set_default_dtype(torch.float64)
    try:
        found, wanted = ours(x().float())[0], theirs(x().float())[0]
    finally:
        torch.set_default_dtype(torch.float32)
    assert ours.left_to_torch is None and found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-6)


def test_steps_notice_every_update() -> None:
    """One step at a time the weights stay packed between calls; an optimiser's update must not be missed."""
    ours, theirs = pair("lstm")
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.5) for m in (ours, theirs)]
    for _ in range(4):
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            layer(x()[:1])[0].pow(2).sum().backward()
            optimizer.step()
        with torch.no_grad():
            assert torch.allclose(ours(x()[:1])[0], theirs(x()[:1])[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of the tracer, which torch's own layers give as well
def test_scripted_and_traced_models_run_without_elman() -> None:
    model = nn.Sequential(elman.torch.GRU(3, 5), _First())
    wanted = model(x())
    traced = torch.jit.trace(model, x())
    assert "aten::gru" in str(traced.inlined_graph) and torch.allclose(traced(x()), wanted, atol=1e-6)
    scripted = torch.jit.script(copy.deepcopy(model))
    assert torch.allclose(scripted(x()), wanted, atol=1e-6)


class _Twice(nn.Module):
    """A layer that goes on from its own state, and something after it."""

    def __init__(self, cls: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleDict({"a": cls(3, 5)}), nn.Linear(5, 2)

    def forward(self, rows: Tensor) -> Tensor:
        _, (h, c) = self.layers["a"](rows)
        found: Tensor = self.head(self.layers["a"](rows, (h, c))[0])
        return found


def test_graphs_of_torch_fx_hold_a_layer_as_a_whole() -> None:
    texts = []
    for cls in (elman.torch.LSTM, nn.LSTM):
        model = _Twice(cls)
        graph = torch.fx.symbolic_trace(model)
        texts.append(graph.code)
        assert type(graph.layers.a) is cls and torch.equal(graph(x()), model(x()))
    assert texts[0] == texts[1]


def test_graphs_of_torch_fx_run_nothing_twice() -> None:
    model = _Twice(elman.torch.LSTM)
    model.layers["a"].register_forward_hook(lambda _module, _given, found: (2 * found[0], found[1]))
    with pytest.raises(torch.fx.proxy.TraceError):  # as of a subclass of torch.nn's
        torch.fx.symbolic_trace(model)


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_class_of_ones_own_keeps_its_forward() -> None:
    class Doubled(elman.torch.GRU):
        def forward(self, input: Tensor) -> Tensor:
            return input * 2

    assert torch.equal(torch.jit.script(Doubled(3, 5))(x()), x() * 2)
    scripted = torch.jit.script(nn.Sequential(Doubled(3, 5)))
    assert torch.equal(scripted(x()), x() * 2)


class _First(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


def test_threads_of_the_caller_do_not_disturb_one_another() -> None:
    layer = pair("lstm", num_layers=2, bidirectional=True)[0]
    inputs = [torch.randn(7, 3, 3, generator=torch.Generator().manual_seed(n)) for n in range(8)]
    wanted = [layer(rows)[0] for rows in inputs]
    found: list[Tensor | None] = [None] * 8

    def work(n: int) -> None:
        for _ in range(20):
            found[n] = layer(inputs[n])[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True) if a is not None)


def test_the_public_names_are_lazy() -> None:
    check = (
        "import sys, elman; assert 'torch' not in sys.modules; m = elman.torch; import torch; "
        "assert issubclass(m.LSTM, torch.nn.LSTM) and 'torch._dynamo' not in sys.modules; "
        "m.LSTM(2, 3)(torch.zeros(4, 1, 2)); assert 'torch._dynamo' not in sys.modules; "
        "import elman.torch; from elman.torch import GRU"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_default_device_is_nobody_who_watches() -> None:
    layer, x = elman.torch.LSTM(3, 4), torch.randn(5, 2, 3)
    with torch.device("cpu"):
        layer(x)
        assert layer.left_to_torch is None
        with FlopCounterMode(display=False):
            layer(x)
        assert layer.left_to_torch == "a mode watches every operation"
    with torch.device("meta"):
        layer(x)
    assert layer.left_to_torch == "a mode watches every operation"
