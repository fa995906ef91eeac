"""Run a model equation by equation in float64 and keep every value: what all diagnoses read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.engines.torch_engine import FUNCTIONS
from elman.equations.program import Operation
from elman.errors import UsageError
from elman.layers import Bidirectional, Recurrent, Stack


class Programme:
    """The operations of one layer with its weights bound, for one step at a time.

    Args:
        layer: The layer; its weights are read once, without regularisers.
        dtype: Type to compute in.
    """

    def __init__(self, layer: Recurrent, dtype: torch.dtype = torch.float64) -> None:
        self.layer = layer
        self.cell = layer.regularisers.cell(layer.cell, training=False)
        schedule = self.cell.schedule
        self.step, self.operations = schedule.step, (*schedule.hoisted, *schedule.step)
        self.states, self.input, self.output = schedule.states, schedule.input, schedule.output
        self.weights = {name: weight.detach().to(dtype) for name, weight in layer.weights.items()}
        self.products = {op.target: self.matrix(op) for op in self.operations if op.block is not None}

    def matrix(self, operation: Operation) -> Tensor:
        """Return the matrix that a product multiplies by: the columns of its block, transposed where it says so."""
        block = operation.block
        assert block is not None
        blocks = self.cell.parameter_blocks(block.matrix)
        widths = [self.layer.widths[b.size] for b in blocks]
        columns: Tensor = self.weights[block.matrix].split(widths, dim=1)[block.index]  # type: ignore[no-untyped-call]
        return columns.T if operation.function == "product_transposed" else columns

    def steps(self, x: Tensor) -> Iterator[dict[str, Tensor]]:
        """Run over x (B, T, I) from the initial state, in the layer's own direction; yield all values of each step.

        Values come in the order in which they are computed: the input, the states before, then the programme's.
        """
        before = self.initial(x)
        for x_t in (x.flip(1) if self.layer.reverse else x).unbind(1):
            values = self.fill({self.input: x_t, **before}, self.operations)
            before = {f"{name}<t-1>": values[name] for name in self.states}
            yield values

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        """Return the states before the first step, "c<t-1>" -> (B, S)."""
        state = self.layer.initial_state(x.shape[0])
        return {f"{name}<t-1>": state[name].detach().to(x.dtype) for name in self.states}

    def fill(self, values: dict[str, Tensor], operations: Iterable[Operation]) -> dict[str, Tensor]:
        """Compute operations one after the other into `values`."""
        rows = values[self.input].shape[0]
        for op in operations:
            value = self.value(op, values)
            values[op.target] = self.own(value, rows) if op.target in self.states else value
        return values

    @staticmethod
    def own(value: Tensor, rows: int) -> Tensor:
        """Return a state (B, S) as a tensor of its own that can be differentiated by, whatever it is made of.

        d = h<t-1> is the tensor that the step before calls h, and s = b has no rows and no part in any graph.
        """
        return value.expand(rows, -1).clone().requires_grad_()

    def value(self, operation: Operation, values: Mapping[str, Tensor]) -> Tensor:
        """Return what one operation computes."""
        if operation.function == "number":
            return values[self.input].new_tensor(operation.value)
        arguments = [values[name] if name in values else self.weights[name] for name in operation.arguments]
        if operation.block is not None:
            return arguments[0] @ self.products[operation.target].T
        return FUNCTIONS[operation.function](*arguments)

    def repeat_pointwise(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute a step again from `given`, which holds all its values, keeping the products as they are."""
        return self.fill(dict(given), (op for op in self.operations if op.block is None))


@dataclass
class Trace:
    """One layer run over a batch in the order in which it reads it: step 0 is the first one computed.

    Attributes:
        name: "layer 1", "layer 2 backward" ...
        programme: What was run.
        values: All values of every step, by name.
    """

    name: str
    programme: Programme
    values: list[dict[str, Tensor]]

    @property
    def states(self) -> list[dict[str, Tensor]]:
        """The states after every step, by name, (B, S)."""
        return [{name: values[name] for name in self.programme.states} for values in self.values]

    @property
    def outputs(self) -> list[Tensor]:
        """Outputs of every step, (B, O)."""
        return [values[self.programme.output] for values in self.values]


Run = Callable[[Recurrent, Tensor, str], Tensor]


def walk(module: nn.Module, x: Tensor, run: Run, level: int = 1) -> Tensor:
    """Run a Recurrent, Bidirectional or Stack over x (B, T, I), calling `run(layer, x, name)` for layer and direction.

    Returns:
        y (B, T, O) of the module.

    Raises:
        UsageError: the module is none of these.
    """
    match module:
        case Recurrent():
            return run(module, x, f"layer {level}")
        case Bidirectional():
            parts = {"forward": module.forward_layer, "backward": module.backward_layer}
            return torch.cat([run(layer, x, f"layer {level} {way}") for way, layer in parts.items()], dim=-1)
        case Stack():
            for number, layer in enumerate(module.layers, start=level):
                y = walk(layer, x, run, number)
                x = x + y if module.residual and x.shape == y.shape else y
            return x
        case _:
            known = "Recurrent, Bidirectional or Stack"
            raise UsageError(f"diagnosis: the module must be a {known}; got {type(module).__name__}")


def in_order(outputs: list[Tensor], reverse: bool) -> Tensor:
    """Return outputs of one step after the other as (B, T, O) in the order of the input."""
    y = torch.stack(outputs, dim=1)
    return y.flip(1) if reverse else y


def trace_module(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Trace]]:
    """Return y (B, T, O) and the traces of all layers, from input to output, with gradients."""
    traces = []

    def run(layer: Recurrent, x: Tensor, name: str) -> Tensor:
        programme = Programme(layer, x.dtype)
        trace = Trace(name, programme, list(programme.steps(x)))
        traces.append(trace)
        return in_order(trace.outputs, layer.reverse)

    return walk(module, x.detach().requires_grad_(), run), traces
