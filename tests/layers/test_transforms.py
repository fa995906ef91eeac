"""Layers under transforms of torch.func and in forward mode: derivatives as torch takes them, or an error; no zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elman import Recurrent, Stack
from elman.errors import UsageError
from elman.plans.native import available

X = torch.linspace(-1, 1, 36).view(2, 6, 3)
Run = Callable[[Tensor], Tensor]


def forward_mode(run: Run) -> Tensor:
    """Return the derivative of a run along a vector of ones, without torch.func."""
    with torch.autograd.forward_ad.dual_level(), torch.no_grad():
        found = run(torch.autograd.forward_ad.make_dual(X, torch.ones_like(X)))
        return torch.autograd.forward_ad.unpack_dual(found).tangent


TRANSFORMS: dict[str, Callable[[Run], Tensor]] = {
    "grad": lambda run: torch.func.grad(lambda x: run(x).square().sum())(X),
    "jacobian back": lambda run: torch.func.jacrev(run)(X),
    "jacobian forward": lambda run: torch.func.jacfwd(run)(X),
    "hessian": lambda run: torch.func.hessian(lambda x: run(x).square().sum())(X[:1, :3]),
    "vmap": lambda run: torch.vmap(lambda x: run(x.unsqueeze(0)))(X),
    "forward mode": forward_mode,
}


@pytest.mark.filterwarnings("ignore:.torch.jit")  # of what torch imports for them
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("trained", [True, False])
def test_values_are_those_of_the_schedule_in_torch(name: str, trained: bool) -> None:
    layer = Recurrent("lstm", 3, 4, seed=0).requires_grad_(trained)
    schedule = Recurrent("lstm", 3, 4, seed=0, engine="torch-schedule").requires_grad_(trained)
    engine = layer.engine
    found, wanted = (TRANSFORMS[name](lambda x, m=m: m(x)[0]) for m in (layer, schedule))
    assert wanted.any() and torch.equal(found, wanted) and layer.engine == engine


def test_derivatives_of_a_ragged_stack_in_training_are_those_of_the_way_back() -> None:
    stack = Stack.of("gru", 3, 4, layers=2, bidirectional=True, dropout=0.3, zoneout=0.2, seed=0)

    def loss(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return stack(x, [6, 2])[0].square().sum()

    x = X.clone().requires_grad_()
    loss(x).backward()
    assert torch.allclose(torch.func.grad(loss)(X), x.grad, atol=1e-6)


def test_many_layers_of_one_kind_run_as_one() -> None:
    layers = [Recurrent("mgu", 3, 4, seed=n) for n in range(3)]
    parameters, _ = torch.func.stack_module_state(layers)  # type: ignore[arg-type]

    def step(weights: dict[str, Tensor]) -> Tensor:
        found: Tensor = torch.func.functional_call(
            _Step(layers[0]), {f"layer.{n}": w for n, w in weights.items()}, X[:, 0]
        )
        return found

    with torch.no_grad():
        found = torch.vmap(step)(parameters)
        assert torch.allclose(found, torch.stack([m.step(X[:, 0])[0] for m in layers]), atol=1e-6)


class _Step(torch.nn.Module):
    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.step(x)[0]


@pytest.mark.skipif(not available(), reason="the engine was not built")
@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("options", [{"engine": "cpu"}, {"precision": "bf16"}])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_engine_refuses_them(name: str, options: dict[str, Any]) -> None:
    layer = Recurrent("lstm", 3, 4, **options)
    with pytest.raises(UsageError, match=r"^engine 'cpu.*': must run where torch asks for derivatives by its way back"):
        TRANSFORMS[name](lambda x: layer(x)[0])


@pytest.mark.skipif(not available(), reason="the engine was not built")
def test_many_gradients_at_once_are_refused() -> None:
    layer = Recurrent("gru", 3, 4)
    with pytest.raises(UsageError, match=r"gradients must come one at a time; got many at once"):
        torch.autograd.functional.jacobian(lambda x: layer(x)[0], X, vectorize=True)
    schedule = Recurrent("gru", 3, 4, engine="torch-schedule")
    assert torch.autograd.functional.jacobian(lambda x: schedule(x)[0], X, vectorize=True).any()
