"""One optimiser step: losses of its batches, gradients, clipping, and the refusal of what is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.randomness import drawing
from elman.training.config import TrainingConfig
from elman.training.problem import Carry, LossResult, Problem


@dataclass(frozen=True)
class StepOutcome:
    """What a step did.

    Args:
        batches: How many batches it used.
        nats: Sum over their items; 0 for a skipped step.
        items: Number of their items; 0 for a skipped step.
        gradient_norm: Euclidean norm of the whole gradient before clipping.
        carry: State for the next step; the one before this step when it was skipped.
        problem: None, or why the step was skipped: what was not finite, and where.
    """

    batches: int
    nats: float
    items: int
    gradient_norm: float
    carry: Carry
    problem: str | None = None


def take_step(
    problem: Problem, config: TrainingConfig, optimizer: torch.optim.Optimizer, epoch: int, batches: range, carry: Carry
) -> StepOutcome:
    """Run the batches, clip the mean gradient and step; a loss or gradient that is not finite skips the step.

    The gradient is the mean of the batches' gradients. It is cut by value first, then scaled by norm.
    """
    optimizer.zero_grad(set_to_none=True)
    nats, items, before = 0.0, 0, carry
    for index in batches:
        result = batch_loss(problem, config, epoch, index, carry)
        if wrong := _not_finite(problem.model, result):
            optimizer.zero_grad(set_to_none=True)
            return StepOutcome(len(batches), 0.0, 0, math.nan, before, f"{wrong} (batch {index} of epoch {epoch})")
        (result.loss / len(batches)).backward()  # type: ignore[no-untyped-call]
        nats, items, carry = nats + result.nats, items + result.items, _detached(result.carry)
    norm = float(torch.nn.utils.get_total_norm(_gradients(problem.model)))
    if not math.isfinite(norm):
        where = f"batches {batches[0]} to {batches[-1]} of epoch {epoch}"
        wrong = f"gradient norm {norm} ({where}); {_bad_gradient(problem.model)}"
        optimizer.zero_grad(set_to_none=True)
        return StepOutcome(len(batches), 0.0, 0, norm, before, wrong)
    clip(problem.model, config, norm)
    optimizer.step()
    return StepOutcome(len(batches), nats, items, norm, carry)


def batch_loss(problem: Problem, config: TrainingConfig, epoch: int, index: int, carry: Carry) -> LossResult:
    """Return the loss of one batch, with its random draws seeded by (seed, "train", epoch, index)."""
    with drawing(config.seed, "train", epoch, index), at_precision(problem.model, config):
        return problem.loss(problem.batch(epoch, index), carry)


def at_precision(model: nn.Module, config: TrainingConfig) -> torch.autocast:
    """Return the context in which training runs a model: autocast to bfloat16 for precision "bf16"."""
    device = next(model.parameters()).device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=config.precision == "bf16")


def clip(model: nn.Module, config: TrainingConfig, norm: float) -> None:
    """Clip gradients in place: each entry to +-clip_value, then all together to norm clip_norm.

    Args:
        model: Holds the gradients.
        config: Holds the limits.
        norm: Norm of the gradients as they are.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    if config.clip_value is not None:
        torch.nn.utils.clip_grad_value_(parameters, config.clip_value)
        norm = float(torch.nn.utils.get_total_norm(_gradients(model)))
    # A gradient that is short enough would be multiplied by one, all of it.
    if config.clip_norm is not None and config.clip_norm / (norm + 1e-6) < 1:
        torch.nn.utils.clip_grads_with_norm_(parameters, config.clip_norm, torch.tensor(norm))


def _gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def _detached(carry: Carry) -> Carry:
    """Cut the graph and copy: a view would keep its whole batch alive, and its layout would be lost in a checkpoint."""
    if carry is None:
        return None
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in carry.items()}


def _not_finite(model: nn.Module, result: LossResult) -> str | None:
    if not _all_finite([result.loss]):
        return f"loss {float(result.loss.detach())}; {_bad_weight(model)}"
    if result.carry is not None and not _all_finite(result.carry.values()):
        return f"carried state that is not finite; {_bad_weight(model)}"
    return None


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor.detach()).all()) for tensor in tensors)


def _bad_weight(model: nn.Module) -> str:
    for name, parameter in model.named_parameters():
        if not _all_finite([parameter]):
            return f"first bad parameter {name!r}: its weights are not finite"
    return "first bad parameter: none, all weights are finite, so the batch or the forward pass is bad"


def _bad_gradient(model: nn.Module) -> str:
    largest, name = 0.0, ""
    for key, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        if not _all_finite([parameter.grad]):
            return f"first bad parameter {key!r}: its gradient is not finite"
        if (size := float(parameter.grad.abs().max())) > largest:
            largest, name = size, key
    return f"first bad parameter {name!r}: its gradient reaches {largest:.3g}, whose square overflows"
