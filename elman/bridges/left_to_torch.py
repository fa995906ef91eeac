"""Why a call of a layer is left to torch: the engine computes float32 on the CPU, eagerly or under torch.compile."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from elman.engines.cpu.moment import constant_while_compiling, in_halves, transform, watcher
from elman.plans.native import MISSING, available


def because_of_parameters(weights: Sequence[object]) -> str | None:
    """Return why torch runs a layer with these parameters, or None where the engine does."""
    if not available():
        return f"the engine was not built: {MISSING}"
    return _because_of("a parameter", weights)


def because_of_input(tensors: Sequence[object]) -> str | None:
    """Return why torch runs a layer on these tensors now, or None where the engine does."""
    types = (torch.float32, torch.bfloat16) if in_halves() else (torch.float32,)
    return _because_of("the input", tensors, types) or _because_of_the_moment()


def _because_of(what: str, tensors: Sequence[object], types: Sequence[torch.dtype] = (torch.float32,)) -> str | None:
    for t in tensors:
        # Other classes of tensors have a meaning of their own.
        if type(t) is not Tensor and type(t) is not Parameter:
            return f"{what} is a {type(t).__name__}"
        if t.dtype not in types or not t.is_cpu:
            return f"{what} is {t.dtype} on {t.device.type}"
    return None


def _because_of_the_moment() -> str | None:
    if torch.is_autocast_enabled("cpu") and not in_halves():
        return f"autocast to {torch.get_autocast_dtype('cpu')} is on"
    if torch.compiler.is_exporting():
        return "the exported program is to run without Elman"
    return _transform() if torch.compiler.is_compiling() else watcher()


_transform = constant_while_compiling(transform)
