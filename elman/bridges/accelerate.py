"""Put the recurrent layers of an existing model on Elman's engine, in place."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrize

from elman.bridges.left_to_torch import because_of_parameters
from elman.bridges.torch import GRU, LSTM, RNN, OnEngine, held_by
from elman.errors import UsageError

_SUCCESSOR: dict[type, type[OnEngine]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}


@dataclass(frozen=True)
class Entry:
    """One recurrent module of a model.

    Args:
        name: Its path in the model; empty for the model itself.
        module: What print shows of it.
        reason: Why it was left as it is; None where it was replaced.
    """

    name: str
    module: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.name or '(the model)'}: {self.module}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Report:
    """What `accelerate` did.

    Args:
        replaced: Modules that run on the engine now.
        left: Recurrent modules that torch runs as before, each with the reason.
    """

    replaced: tuple[Entry, ...]
    left: tuple[Entry, ...]

    def __str__(self) -> str:
        lines = [f"on Elman's engine: {len(self.replaced)}", *(f"  {e}" for e in self.replaced)]
        return "\n".join([*lines, f"left to torch: {len(self.left)}", *(f"  {e}" for e in self.left)])


def accelerate(model: nn.Module) -> Report:
    """Put every torch.nn.LSTM, GRU and RNN of a model on Elman's engine.

    A module stays the same object and becomes of elman.torch's class of the same name, a subclass of torch's. Its
    parameters, hooks and state_dict are untouched; an optimiser that holds the parameters goes on.

    Args:
        model: Any module; it may itself be a recurrent layer.

    Returns:
        A report of what was replaced, and of what was left and why: subclasses, another dtype or device, single-step
        cells, scripted modules. `print(report)` shows it.

    Raises:
        UsageError: `model` is no module.

    Example:
        >>> model = nn.Sequential(nn.LSTM(8, 16), nn.Identity())
        >>> print(accelerate(model))
        on Elman's engine: 1
          0: LSTM(8, 16)
        left to torch: 0
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"accelerate: model must be a torch.nn.Module; got {type(model).__name__}")
    replaced: list[Entry] = []
    left: list[Entry] = []
    for name, module in model.named_modules():
        if _is_recurrent(module):
            entry = Entry(name, " ".join(repr(module).split()), _reason(module))
            (left if entry.reason else replaced).append(entry)
            if entry.reason is None:
                module.__class__ = _successor(module)
    return Report(tuple(replaced), tuple(left))


def _is_recurrent(module: nn.Module) -> bool:
    scripted = getattr(module, "original_name", "") in {c.__name__ for c in _SUCCESSOR}
    return isinstance(module, nn.RNNBase | nn.RNNCellBase) or scripted


def _reason(module: nn.Module) -> str | None:
    """Why a module is left to torch, or None."""
    if isinstance(module, OnEngine):
        return module.left_to_torch or "is on the engine already"
    if isinstance(module, nn.RNNCellBase):
        return "a cell runs single steps"
    if not isinstance(module, nn.RNNBase):
        return "a scripted module has its code with it"
    if "forward" in vars(module):
        return "its forward was replaced on the object"
    if parametrize.type_before_parametrizations(module) not in _SUCCESSOR:
        return f"{type(module).__name__} is a class of its own"
    return because_of_parameters(held_by(module))


def _successor(module: nn.Module) -> type:
    """The class that a module gets: ours, or where torch put parametrisations into its class, one with them in it."""
    before = type(module)
    successor = _SUCCESSOR[parametrize.type_before_parametrizations(module)]
    if before in _SUCCESSOR:
        return successor
    members = {name: value for name, value in vars(before).items() if name not in ("__dict__", "__weakref__")}
    return type(before.__name__, (successor,), members)
