"""State: what a recurrent layer carries from step to step, by the cell's own names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from elman.engines.rows import chosen_rows
from elman.equations.symbols import identifier
from elman.errors import ShapeError, UsageError, nearest


class State(Mapping[str, Tensor]):
    """The states of one layer: `state.c` and `state["c"]` are (B, S). Immutable; every method returns a new one.

    A name that Python cannot spell has its spelling as an attribute: `state["c~"]` is `state.c_tilde`.

    Args:
        values: Tensors by state name, all with the same number of rows.

    Example:
        >>> state = State({"c": torch.zeros(2, 3)})
        >>> state.c.shape, list(state)
        (torch.Size([2, 3]), ['c'])
    """

    __slots__ = ("_values",)
    _values: dict[str, Tensor]

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            raise KeyError(
                f"state: must be one of {', '.join(self._values)}; got {name!r}{nearest(name, self._values)}"
            )
        return self._values[name]

    def __getattr__(self, name: str) -> Tensor:
        values: dict[str, Tensor] = object.__getattribute__(self, "_values")
        for known, value in values.items():
            if name in (known, identifier(known)):
                return value
        raise AttributeError(f"state: must be one of {', '.join(values)}; got {name!r}{nearest(name, values)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"state: cannot be changed in place; got an assignment to {name!r}")

    # Two states are equal only when they are the same object: tensors do not compare to one truth value.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}: {tuple(value.shape)}' for name, value in self._values.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return State, (self._values,)

    def map(self, change: Callable[[Tensor], Tensor]) -> State:
        """Return a state with `change` applied to every tensor."""
        return State({name: change(value) for name, value in self._values.items()})

    def detach(self) -> State:
        """Return the state cut off from the graph, as truncated back-propagation does between segments."""
        return self.map(torch.Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> State:
        """Return the state on another device or in another type; arguments as of Tensor.to."""
        return self.map(lambda value: value.to(*args, **kwargs))

    def select(self, rows: Sequence[int] | Tensor) -> State:
        """Return the given rows, in that order.

        Args:
            rows: Their numbers, those below 0 counted from the end; or (B,) of bool, True for a row to keep.

        Raises:
            ShapeError: there is no such row.
        """

        def chosen(value: Tensor) -> Tensor:
            numbers = torch.arange(len(value), device=value.device)
            try:
                return chosen_rows(value, numbers[torch.as_tensor(rows, device=value.device)])
            except (IndexError, TypeError, ValueError) as error:
                raise ShapeError(
                    f"select: rows must be numbers from 0 to {len(value) - 1}, or a bool tensor of shape "
                    f"({len(value)},); got {rows!r}"
                ) from error

        return self.map(chosen)

    def reset(self, rows: Tensor, to: State | None = None) -> State:
        """Return the state with some rows set back.

        Args:
            rows: (B,) of bool; True where a new sequence starts.
            to: What those rows become; None for zeros.
        """

        def set_back(name: str, value: Tensor) -> Tensor:
            if not isinstance(rows, Tensor) or rows.shape != value.shape[:1] or rows.dtype != torch.bool:
                got = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else repr(rows)
                raise ShapeError(f"reset: rows must be a bool tensor of shape ({value.shape[0]},); got {got}")
            start = torch.zeros_like(value) if to is None else to[name]
            return torch.where(rows.to(value.device).unsqueeze(1), start, value)

        return State({name: set_back(name, value) for name, value in self._values.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Return a flat dict of tensors, for safetensors or torch.save."""
        return dict(self._values)

    @staticmethod
    def from_state_dict(values: Mapping[str, Tensor]) -> State:
        """Rebuild what `state_dict` gave."""
        return State(values)


def checked_state(where: str, state: Mapping[str, Tensor], widths: Mapping[str, int], x: Tensor) -> State:
    """Return a state that a caller gave, refusing what does not fit.

    Args:
        where: Name of the layer, for errors.
        state: Tensors (B, S) by name.
        widths: S by name.
        x: The input, (B, ...); the state has its B, type and device.

    Raises:
        ShapeError: a name, a shape, a type or a device does not fit.
    """
    if not isinstance(state, Mapping):
        raise ShapeError(
            f"{where}: state must be a State or a dict with {', '.join(widths)}; got {type(state).__name__}"
        )
    if set(state) != set(widths):
        raise ShapeError(f"{where}: state must have {', '.join(widths)}; got {', '.join(state) or 'nothing'}")
    for name, width in widths.items():
        value, shape = state[name], (x.shape[0], width)
        if tuple(value.shape) != shape:
            raise ShapeError(f"{where}: state.{name} must have shape {shape}; got {tuple(value.shape)}")
        if value.device != x.device or (value.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type)):
            raise ShapeError(
                f"{where}: state.{name} must be {x.dtype} on {x.device}, as x is; got {value.dtype} on {value.device}",
                "use state.to(x.device, x.dtype)",
            )
    return state if isinstance(state, State) else State(state)


class StackState(Sequence[Any]):
    """The states of layers that belong together, in order: `state[0].c`. Immutable; the methods are those of State.

    Args:
        layers: Their states, from the lowest layer up.
    """

    __slots__ = ("_layers",)
    _layers: tuple[Any, ...]

    def __init__(self, layers: Sequence[State | StackState]) -> None:
        object.__setattr__(self, "_layers", tuple(layers))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"state: cannot be changed in place; got an assignment to {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return StackState, (self._layers,)

    def __getitem__(self, index: Any) -> Any:
        return self._layers[index]

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"StackState({', '.join(map(repr, self._layers))})"

    def map(self, change: Callable[[Tensor], Tensor]) -> StackState:
        """Return a state with `change` applied to every tensor."""
        return StackState([layer.map(change) for layer in self._layers])

    def detach(self) -> StackState:
        """Return the state cut off from the graph."""
        return self.map(torch.Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> StackState:
        """Return the state on another device or in another type."""
        return self.map(lambda value: value.to(*args, **kwargs))

    def select(self, rows: Sequence[int] | Tensor) -> StackState:
        """Return the given rows, in that order."""
        return StackState([layer.select(rows) for layer in self._layers])

    def reset(self, rows: Tensor, to: StackState | None = None) -> StackState:
        """Return the state with some rows set back to zeros, or to those of another state."""
        others = to if to is not None else [None] * len(self)
        return StackState([layer.reset(rows, other) for layer, other in zip(self._layers, others, strict=True)])

    def state_dict(self) -> dict[str, Tensor]:
        """Return a flat dict of tensors; the number of the layer comes first, "0.c"."""
        return {f"{n}.{name}": v for n, layer in enumerate(self._layers) for name, v in layer.state_dict().items()}

    @staticmethod
    def from_state_dict(values: Mapping[str, Tensor]) -> StackState:
        """Rebuild what `state_dict` gave."""
        groups: dict[int, dict[str, Tensor]] = {}
        for name, value in values.items():
            number, dot, rest = name.partition(".")
            if not dot or not number.isdecimal():
                raise UsageError(f"StackState: names must begin with the number of a layer, '0.c'; got {name!r}")
            groups.setdefault(int(number), {})[rest] = value
        return StackState([_rebuilt(groups[n]) for n in sorted(groups)])


def states_of(where: str, state: StackState | None, layers: int) -> Sequence[Any]:
    """Return one state a layer, None for each where there is no state.

    Raises:
        ShapeError: the state is that of something else.
    """
    if state is None:
        return [None] * layers
    if not isinstance(state, StackState) or len(state) != layers:
        got = f"{len(state)} states" if isinstance(state, StackState) else type(state).__name__
        raise ShapeError(f"{where}: state must be a StackState of {layers} states; got {got}")
    return state


def _rebuilt(values: dict[str, Tensor]) -> State | StackState:
    nested = all(name.partition(".")[0].isdecimal() and "." in name for name in values)
    return StackState.from_state_dict(values) if nested else State(values)
