"""Optimisers: torch's AdamW and SGD, averaged SGD, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from elman.training.config import TrainingConfig

_FUSED = ("cpu", "cuda")
"""Devices on which torch's AdamW goes over the weights once instead of once an operation: a third of the time."""


class AveragedSGD(torch.optim.SGD):
    """SGD that, once averaging has begun, also keeps the mean of all weights since.

    w<t> is SGD's weight; from the step after `begin_averaging`: average = (w<1> + ... + w<n>) / n. torch's ASGD
    applies a changed learning rate one step late and cannot begin later, hence this class.

    Source: Polyak and Juditsky 1992; Merity, Keskar and Socher 2018, section 4 (NT-ASGD).
    """

    averaging = False

    def begin_averaging(self) -> None:
        """Start the mean with the next step."""
        self.averaging = True

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step of SGD and add the new weights to the mean."""
        loss: float | None = super().step(closure)
        if self.averaging:
            for parameter in _parameters(self):
                self._add_to_average(parameter)
        return loss

    @torch.no_grad()
    def _add_to_average(self, parameter: Tensor) -> None:
        state = self.state[parameter]
        if "average" not in state:
            state["average"], state["averaged"] = parameter.detach().clone(), 1
            return
        state["averaged"] += 1
        state["average"].lerp_(parameter, 1 / state["averaged"])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and averages, where there are averages."""
        for parameter in _parameters(self):
            if "average" in self.state[parameter]:
                _exchange(parameter, self.state[parameter]["average"])


def _exchange(a: Tensor, b: Tensor) -> None:
    """Exchange the values of two tensors; the copy that this takes ends here, before that of the next ones begins."""
    kept = a.detach().clone()
    a.copy_(b)
    b.copy_(kept)


@contextmanager
def averaged_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Give the model its averaged weights inside the block; no effect on optimisers without averages."""
    if not isinstance(optimizer, AveragedSGD):
        yield
        return
    optimizer.swap()
    try:
        yield
    finally:
        optimizer.swap()


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser that `config` names; weight decay applies to parameters with two or more dimensions."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "adamw":
        betas, fused = (config.beta1, config.beta2), all(p.device.type in _FUSED for p in trained)
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=fused)
    chosen = AveragedSGD if config.optimizer == "asgd" else torch.optim.SGD
    return chosen(groups, lr=config.learning_rate, momentum=config.momentum)


def averaging_is_due(losses: Sequence[float], trigger: int) -> bool:
    """Return whether NT-ASGD begins to average: the newest loss is above the best of those older than `trigger`.

    Args:
        losses: Validation losses so far, newest last.
        trigger: Non-monotone interval n; 0 begins at once.

    Source: Merity, Keskar and Socher 2018, algorithm 1.
    """
    if trigger == 0:
        return True
    # The newest is compared with min(losses[:t - n]), where t counts the losses before it.
    older = losses[: max(0, len(losses) - 1 - trigger)]
    return bool(older) and losses[-1] > min(older)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate of the coming step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimiser's state as tensors named "slot/parameter" and plain numbers under the same kind of name."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        for slot, value in sorted(optimizer.state.get(parameter, {}).items()):
            if isinstance(value, Tensor):
                tensors[f"{slot}/{name}"] = value
            elif value is not None:
                numbers[f"{slot}/{name}"] = value
    return tensors, numbers


OPTIONAL = ("momentum_buffer", "average", "averaged")
"""Slots that a parameter may lack beside others: without momentum, or before averaging."""


def slots_of(optimizer: torch.optim.Optimizer) -> dict[str, str]:
    """Return the slots that an optimiser of `make_optimizer` keeps for a parameter, each with what it holds.

    "tensor" is of the parameter's shape, "scalar" a tensor of one number, "count" a plain number.
    """
    if isinstance(optimizer, torch.optim.AdamW):
        return {"exp_avg": "tensor", "exp_avg_sq": "tensor", "step": "scalar"}
    momentum = {"momentum_buffer": "tensor"}
    return momentum | ({"average": "tensor", "averaged": "count"} if isinstance(optimizer, AveragedSGD) else {})


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Put back, bit for bit, what `optimizer_state` returned."""
    by_name = dict(model.named_parameters())
    for key, value in {**tensors, **numbers}.items():
        slot, name = key.split("/", 1)
        parameter = by_name[name]
        # Adam's step counter stays on the CPU; everything else lives beside its parameter.
        kept = value.to(parameter.device) if isinstance(value, Tensor) and value.ndim > 0 else value
        optimizer.state[parameter][slot] = kept


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
