"""Weights: the parameters of a layer under the names of its equations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import torch
from torch import Tensor, nn

from elman.equations.symbols import identifier
from elman.errors import ShapeError, nearest


class Weights(MutableMapping[str, Tensor]):
    """A view of a layer's parameters by name.

    Reading gives the nn.Parameter. Assigning a parameter shares it; assigning a tensor copies its values.

    Args:
        layer: The module that holds the parameters, under Python's spelling of their names.
        shapes: Shape of every parameter by the name in the equations.

    Raises:
        KeyError: there is no such parameter; the nearest is told.
        ShapeError: what is assigned has another shape, or cannot be shared.
    """

    def __init__(self, layer: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._layer, self._shapes = layer, shapes

    def _attribute(self, name: str) -> str:
        if name not in self._shapes:
            known = ", ".join(self._shapes)
            raise KeyError(f"weights: must be one of {known}; got {name!r}{nearest(name, self._shapes)}")
        return identifier(name)

    def __getitem__(self, name: str) -> Tensor:
        found: Tensor = getattr(self._layer, self._attribute(name))
        return found

    def __setitem__(self, name: str, value: Tensor) -> None:
        attribute, shape, present = self._attribute(name), self._shapes[name], self[name]
        if not isinstance(value, Tensor):
            raise ShapeError(f"weights[{name!r}]: must be a tensor of shape {shape}; got {type(value).__name__}")
        if tuple(value.shape) != shape:
            raise ShapeError(f"weights[{name!r}]: must have shape {shape}; got {tuple(value.shape)}")
        if not isinstance(value, nn.Parameter):
            with torch.no_grad():
                present.copy_(value)
        elif (value.dtype, value.device) != (present.dtype, present.device):
            raise ShapeError(
                f"weights[{name!r}]: a shared parameter must be {present.dtype} on {present.device}, as the one it "
                f"replaces; got {value.dtype} on {value.device}",
                "to copy the values, assign value.detach()",
            )
        else:
            setattr(self._layer, attribute, value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"weights[{name!r}]: a parameter of the equations cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __repr__(self) -> str:
        return f"Weights({', '.join(f'{name}: {shape}' for name, shape in self._shapes.items())})"
