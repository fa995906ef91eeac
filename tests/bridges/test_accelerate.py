"""`elman.accelerate` on models that know nothing of Elman: what becomes of each module, and what stays as it was."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import elman
from elman.bridges.accelerate import Report
from elman.errors import UsageError
from elman.plans.native import available

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")


class Tagger(nn.Module):
    """A model as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.encoder = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.decoder = nn.ModuleDict({"gru": nn.GRU(10, 4, batch_first=True), "rnn": nn.RNN(4, 3, batch_first=True)})
        self.head = nn.Linear(3, 2)

    def forward(self, words: Tensor) -> Tensor:
        y, _ = self.encoder(self.embed(words))
        for layer in self.decoder.values():
            y, _ = layer(y)
        found: Tensor = self.head(y)
        return found


class Loud(nn.LSTM):
    """A subclass that computes something of its own."""

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, state = super().forward(input, hx)
        return 2 * y, state


class Doubled(nn.Module):
    """A parametrisation."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def words() -> Tensor:
    return torch.arange(24).view(4, 6).remainder(11)


def reasons(report: Report) -> dict[str, str | None]:
    return {entry.name: entry.reason for entry in report.left}


def test_every_layer_is_replaced_and_computes_the_same() -> None:
    torch.manual_seed(0)
    model = Tagger()
    before, names, state = model(words()), [n for n, _ in model.named_modules()], copy.deepcopy(model.state_dict())
    report = elman.accelerate(model)
    assert [e.name for e in report.replaced] == ["encoder", "decoder.gru", "decoder.rnn"] and not report.left
    assert isinstance(model.encoder, elman.torch.LSTM) and isinstance(model.decoder["gru"], elman.torch.GRU)
    assert [n for n, _ in model.named_modules()] == names
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.allclose(model(words()), before, atol=1e-6)
    assert model.encoder.engine == "cpu" and model.encoder.left_to_torch is None


def test_an_optimizer_from_before_goes_on() -> None:
    torch.manual_seed(0)
    plain = Tagger()
    model = copy.deepcopy(plain)
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.05) for m in (plain, model)]
    parameters = list(model.parameters())
    losses: list[list[float]] = [[], []]
    for step in range(6):
        if step == 2:
            elman.accelerate(model)
        for found, m, optimizer in zip(losses, (plain, model), optimizers, strict=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(m(words()).flatten(0, 1), words().flatten().remainder(2))
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and losses[0][-1] < losses[0][0]


def test_hooks_stay() -> None:
    model = Tagger()
    seen: list[str] = []
    model.encoder.register_forward_hook(lambda *_: seen.append("after"))
    model.encoder.register_forward_pre_hook(lambda *_: seen.append("before"))
    model.encoder.register_full_backward_hook(lambda *_: seen.append("back"))
    model.encoder.weight_hh_l0.register_hook(lambda d: seen.append("gradient") or 0 * d)
    elman.accelerate(model)
    model(words()).sum().backward()
    assert seen[:2] == ["before", "after"] and {"back", "gradient"} == set(seen[2:])
    assert not model.encoder.weight_hh_l0.grad.any() and model.encoder.weight_ih_l0.grad.any()


def test_the_model_itself_may_be_the_layer() -> None:
    layer = nn.GRU(3, 4)
    report = elman.accelerate(layer)
    assert type(layer) is elman.torch.GRU
    assert str(report) == "on Elman's engine: 1\n  (the model): GRU(3, 4)\nleft to torch: 0"


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_what_is_left_is_told_with_the_reason() -> None:
    model = nn.ModuleDict(
        {
            "loud": Loud(3, 4),
            "wide": nn.LSTM(3, 4).double(),
            "far": nn.LSTM(3, 4, device="meta"),
            "cell": nn.LSTMCell(3, 4),
            "patched": nn.GRU(3, 4),
            "script": torch.jit.script(nn.GRU(3, 4)),
            "fine": nn.RNN(3, 4),
        }
    )
    model["patched"].forward = lambda x: x
    report = elman.accelerate(model)
    assert [e.name for e in report.replaced] == ["fine"]
    assert reasons(report) == {
        "loud": "Loud is a class of its own",
        "wide": "a parameter is torch.float64 on cpu",
        "far": "a parameter is torch.float32 on meta",
        "cell": "a cell runs single steps",
        "patched": "its forward was replaced on the object",
        "script": "a scripted module has its code with it",
    }
    assert type(model["wide"]) is nn.LSTM and type(model["loud"]) is Loud
    assert "  wide: LSTM(3, 4): a parameter is torch.float64 on cpu" in str(report).splitlines()


def test_a_second_time_changes_nothing() -> None:
    model = Tagger()
    elman.accelerate(model)
    report = elman.accelerate(model)
    assert not report.replaced and set(reasons(report).values()) == {"is on the engine already"}


def test_shared_modules_stay_shared() -> None:
    layer = nn.LSTM(3, 3)
    model = nn.Sequential(nn.ModuleList([layer]), layer)
    assert len(elman.accelerate(model).replaced) == 1 and model[1] is model[0][0] is layer


def test_parametrised_layers_stay_parametrised() -> None:
    torch.manual_seed(0)
    layer, x = nn.LSTM(3, 4), torch.randn(5, 2, 3)
    parametrize.register_parametrization(layer, "weight_hh_l0", Doubled())
    before = layer(x)[0]
    assert len(elman.accelerate(layer).replaced) == 1
    assert torch.allclose(layer(x)[0], before, atol=1e-6) and layer.left_to_torch is None
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original.zero_()
    assert not torch.allclose(layer(x)[0], before, atol=1e-3)
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    assert type(layer) is elman.torch.LSTM


class Dropped(nn.Module):
    """A parametrisation that draws numbers."""

    def forward(self, weight: Tensor) -> Tensor:
        return nn.functional.dropout(weight, 0.5)


def test_a_look_at_a_parametrised_layer_changes_nothing() -> None:
    """Spectral norm makes a step of its power iteration, and dropout draws, each time that the weight is made."""
    layer = nn.LSTM(3, 4)
    parametrizations.spectral_norm(layer, "weight_ih_l0")
    parametrize.register_parametrization(layer, "weight_hh_l0", Dropped())
    before, draws = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
    report = elman.accelerate(layer)
    assert len(report.replaced) == 1 and "engine='cpu'" in repr(layer)
    assert layer.engine == "cpu" and layer.left_to_torch is None
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)
    assert layer.double().engine == "torch" and layer.left_to_torch == "a parameter is torch.float64 on cpu"


def test_an_accelerated_model_is_copied_and_pickled() -> None:
    model = Tagger()
    elman.accelerate(model)
    wanted = model(words())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(words()), wanted) and type(twin.encoder) is elman.torch.LSTM
        with torch.no_grad():
            twin.encoder.weight_hh_l0.zero_()
        assert not torch.equal(twin(words()), wanted)


def test_no_module_is_refused() -> None:
    with pytest.raises(UsageError, match=r"accelerate: model must be a torch\.nn\.Module; got list"):
        elman.accelerate([nn.LSTM(3, 4)])
