"""What may stand between a call and the engine: compilers, transforms, tracers, modes, autocast, classes of tensors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter
from torch.utils._device import DeviceContext


def in_halves() -> bool:
    """Say whether torch's autocast asks for products in bfloat16 on the processor, which the engine does."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def transform() -> str | None:
    """Return what is at work that the engine has no derivative or batch for; None for nothing."""
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func is at work"
    return "derivatives in forward mode are at work" if forward_ad._current_level >= 0 else None


def watcher() -> str | None:
    """Return who wants to see the operations of this moment besides a compiler; None when nobody does."""
    if torch._C._get_tracing_state() is not None:
        return "the traced program is to run without Elman"
    if (at_work := transform()) is not None:
        return at_work
    if torch._C._len_torch_dispatch_stack() or any(map(_watches, range(torch._C._len_torch_function_stack()))):
        return "a mode watches every operation"
    return None


def _watches(place: int) -> bool:
    """Say whether a mode does more than put new tensors on the processor, as torch.set_default_device("cpu") does."""
    mode = torch._C._get_function_stack_at(place)
    return not (isinstance(mode, DeviceContext) and mode.device.type == "cpu")


def unwatched(tensors: Iterable[Tensor]) -> bool:
    """Say whether the engine may run tensors without telling torch: nobody watches, and none has its own meaning."""
    if torch.compiler.is_compiling() or watcher() is not None:
        return False
    return all(type(t) is Tensor or type(t) is Parameter for t in tensors)


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hide from torch.compile what runs below an operator; nothing is imported for it where nobody compiles."""
    hidden: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*arguments: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*arguments)
        if not hidden:
            hidden.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return hidden[0](*arguments)

    return call


Function = TypeVar("Function", bound=Callable[..., Any])


def constant_while_compiling(function: Function) -> Function:
    """Make torch.compile call a function when it compiles, and take what it returns for a constant.

    That is torch.compiler.assume_constant_result, which would import the compiler here.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
