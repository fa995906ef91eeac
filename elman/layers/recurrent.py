"""Recurrent: one layer of any cell, over sequences of any lengths, in either direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from elman import randomness
from elman.cells import cells
from elman.engines import Engine, choose
from elman.engines.cpu import CpuEngine
from elman.engines.cpu.moment import constant_while_compiling, transform
from elman.engines.cpu.operators import run_registered
from elman.engines.torch_engine import BoundCell, bind
from elman.equations import Cell
from elman.equations.rewrite import variational
from elman.equations.symbols import identifier
from elman.errors import ShapeError, UsageError
from elman.layers.forget_gates import forget_values
from elman.layers.initialisers import initialise
from elman.layers.lengths import prepare
from elman.layers.regularisers import Regularisers, check_probability, recurrent_columns
from elman.layers.state import State, checked_state
from elman.layers.weights import Weights


class Recurrent(nn.Module):
    """A layer that runs a cell over sequences.

    Args:
        cell: A Cell, or the name of one in elman.cells.
        input_size: I, length of the input vectors.
        hidden_size: H, length of the states.
        sizes: Sizes that the cell declares, {"P": 64}.
        engine: "auto", "reference", "cpu", "torch", "torch-schedule" or "torch-fused"; `layer.engine` tells which one
            runs.
        precision: Of products: "float32", or "bf16" for factors of bfloat16 and sums, states, weights and gradients of
            float32, by the C++ engine. Under torch.autocast to bfloat16 that engine takes "bf16" in any case.
        reverse: Read each sequence from its end.
        zoneout: Probability from 0 to 1 that a component of a state keeps its old value, in training.
        variational_dropout: Probability of dropping components of input and states, the same at all steps.
        weight_drop: Probability of dropping entries of the recurrent matrices, in training.
        init: Initialiser ("orthogonal", "glorot", "identity", "uniform", "uniform:0.1", "zeros", "ones") or number by
            parameter name; "*" for all others. None leaves the cell's own.
        forget_bias: First value inside the gates that keep the state (set with the opposite sign where a gate keeps by
            1 - u); greater is a longer memory. None leaves the cell's own.
        learn_initial_state: Make the initial state a parameter; it is zero otherwise, or what the equations state.
        seed: Makes the first values a function of this number; None draws from torch's generator.

    Raises:
        UsageError, ShapeError: an argument does not fit, or has no effect.

    Example:
        >>> layer = Recurrent("gru", input_size=8, hidden_size=16, seed=0)
        >>> y, state = layer(torch.zeros(2, 5, 8), lengths=torch.tensor([5, 3]))
        >>> y.shape, state.c.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 16]))
    """

    def __init__(
        self,
        cell: Cell | str,
        input_size: int,
        hidden_size: int,
        *,
        sizes: Mapping[str, int] | None = None,
        engine: str = "auto",
        precision: str = "float32",
        reverse: bool = False,
        zoneout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        init: Mapping[str, str | float] | None = None,
        forget_bias: float | None = None,
        learn_initial_state: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.cell = _found(cell)
        self.input_size, self.hidden_size, self.sizes = input_size, hidden_size, dict(sizes or {})
        self.reverse, self.precision, self._asked = reverse, precision, engine
        self.shapes = self.cell.parameters(input_size, hidden_size, self.sizes)
        self.widths = self.cell.check_sizes(input_size, hidden_size, self.sizes)
        self.state_sizes = self.cell.state_sizes(input_size, hidden_size, self.sizes)
        self.output_size = self.cell.output_size(input_size, hidden_size, self.sizes)
        self.regularisers = Regularisers(
            check_probability("zoneout", zoneout),
            check_probability("variational_dropout", variational_dropout),
            check_probability("weight_drop", weight_drop),
        )
        matrices = [name for name, shape in self.shapes.items() if len(shape) == 2]
        self._columns = recurrent_columns(self.cell, matrices, self.widths)
        self._check_effects()
        choose(engine, self.regularisers.cell(self.cell, training=True), sizes=self.widths, precision=precision)
        for name, shape in self.shapes.items():
            self.register_parameter(identifier(name), nn.Parameter(torch.empty(shape)))
        self._first_values(init, forget_bias, seed)
        self.learn_initial_state = learn_initial_state
        if learn_initial_state:
            for name, width in self.state_sizes.items():
                start = torch.full((width,), self.cell.starts.get(name, 0.0))
                self.register_parameter(f"initial_{identifier(name)}", nn.Parameter(start))
        self._bound: tuple[object, BoundCell] | None = None

    def _check_effects(self) -> None:
        if self.regularisers.weight_drop and not self._columns:
            raise UsageError(
                f"weight_drop: must have a recurrent matrix to act on; the cell {self.cell.name!r} has none",
                "use zoneout, or dropout between layers",
            )
        if self.regularisers.variational and not variational(self.cell).masks:
            raise UsageError(
                f"variational_dropout: must have a matrix to act before; the cell {self.cell.name!r} has none",
                "use zoneout, or dropout between layers",
            )

    def _first_values(
        self, init: Mapping[str, str | float] | None, forget_bias: float | None, seed: int | None
    ) -> None:
        if not isinstance(init, Mapping | None):
            raise UsageError(
                f"init: must be a dict by parameter name; got {init!r}", f"for all of them: {{'*': {init!r}}}"
            )
        init = dict(init or {})
        if forget_bias is not None:
            values = forget_values(self.cell, forget_bias)
            if set(values) <= set(init):
                raise UsageError(
                    f"forget_bias: must be left out where init sets {', '.join(values)}; it has no effect",
                    "give one of the two",
                )
            init = {**values, **init}
        number = int(torch.randint(2**62, ()).item()) if seed is None else seed
        initialise(self.cell, self.weights, self.widths, init, randomness.generator(number, "initialise"))

    @property
    def weights(self) -> Weights:
        """Parameters under the names of the equations: read, assign, share."""
        return Weights(self, self.shapes)

    @property
    def engine(self) -> str:
        """Name of the engine that runs this layer over whole sequences, in the present mode."""
        cell = self.regularisers.cell(self.cell, self.training)
        return self._engine(cell, None, torch.empty(0)).name

    def _engine(self, cell: Cell, steps: int | None, x: Tensor) -> Engine:
        like = self._like()
        return choose(self._asked, cell, steps, self.widths, x if like is None else like, self.precision)

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step: learned, stated by the equations, or zero.

        Args:
            batch_size: B.
        """
        like = next(self.parameters(), torch.empty(0))

        def start(name: str, width: int) -> Tensor:
            if self.learn_initial_state:
                learned: Tensor = getattr(self, f"initial_{identifier(name)}")
                return learned.expand(batch_size, width)
            return like.new_full((batch_size, width), self.cell.starts.get(name, 0.0))

        return State({name: start(name, width) for name, width in self.state_sizes.items()})

    def _start(self, state: Mapping[str, Tensor] | None, x: Tensor) -> State:
        """The state to begin with, for x (B, ...)."""
        if state is not None:
            return checked_state(self._where, state, self.state_sizes, x)
        return self.initial_state(x.shape[0]) if self.shapes else self.initial_state(x.shape[0]).to(x)

    @property
    def _where(self) -> str:
        return f"Recurrent({self.cell.name!r})"

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        lengths: Tensor | Sequence[int] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """Run the layer.

        Args:
            x: (B, T, I), or a list of (T_i, I) in any order; what stands beyond a length is never read.
            lengths: (B,) whole numbers from 1 to T; None when all are T.
            state: State to start from; None for `initial_state`.

        Returns:
            y (B, T, O), zero beyond each length; the state after each sequence's last step.

        Raises:
            ShapeError: shapes, types or lengths do not fit.
        """
        x, lengths = prepare(self._where, x, lengths, self.input_size, self._like())
        start = self._start(state, x)
        if torch.compiler.is_compiling() and (program := self._program(self.training, x.dtype, x.device.type)):
            return self._through_operators(program, x, lengths, start)
        cell = self.regularisers.cell(self.cell, self.training)
        masks = self.regularisers.masks(self._mask_sizes(cell), x)
        weights = self.regularisers.weights(dict(self.weights), self._columns, self.training)
        engine = self._engine(cell, x.shape[1], x)
        y, final = engine.run(cell, weights, x, lengths, start, masks, self.reverse)
        return y, State(final)

    def _mask_sizes(self, cell: Cell) -> dict[str, int]:
        return cell.mask_sizes(self.input_size, self.hidden_size, self.sizes)

    @constant_while_compiling
    def _program(self, training: bool, dtype: torch.dtype, device: str) -> str:
        """What the C++ engine runs, as text; empty where another engine runs."""
        cell = self.regularisers.cell(self.cell, training)
        engine = self._engine(cell, None, torch.empty(0, dtype=dtype, device=device))
        if not isinstance(engine, CpuEngine):
            return ""
        widths = {cell.input: self.input_size, **self.state_sizes, **self._mask_sizes(cell)}
        return engine.program(cell, self.shapes, self.widths, widths)

    @constant_while_compiling
    def _mask_list(self, training: bool) -> tuple[tuple[str, int], ...]:
        return tuple(self._mask_sizes(self.regularisers.cell(self.cell, training)).items())

    def _through_operators(
        self, program: str, x: Tensor, lengths: Tensor | None, start: Mapping[str, Tensor]
    ) -> tuple[Tensor, State]:
        """Run as a compiler sees it: all that is no tensor is known when it compiles."""
        masks = self.regularisers.masks(dict(self._mask_list(self.training)), x)
        named = {name: getattr(self, identifier(name)) for name in self.shapes}
        weights = self.regularisers.weights(named, self._columns, self.training)
        states, held = [start[name].float() for name in self.state_sizes], [mask.float() for mask in masks.values()]
        y, final = run_registered(program, x.float(), lengths, list(weights.values()), states, held, self.reverse)
        return y, State(dict(zip(self.state_sizes, final, strict=True)))

    def step(self, x: Tensor, state: Mapping[str, Tensor] | None = None) -> tuple[Tensor, State]:
        """Run one step, as a stream does; equal to a whole run of the same steps.

        Args:
            x: (B, I).
            state: State to start from; None for `initial_state`.

        Returns:
            y (B, O) and the state after the step.

        Raises:
            UsageError: the layer reads sequences from their end, which a stream does not have.
        """
        self._check_streams()
        if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] != self.input_size:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"{self._where}: x must have shape (B, I) with I = {self.input_size}; got {got}")
        whole = self._engine(self.cell, 1, x).name in ("reference", "cpu", "cpu-bf16")
        if torch.is_grad_enabled() or whole or transform() or self.regularisers.act(self.training):
            y, after = self(x.unsqueeze(1), None, state)
            return y.squeeze(1), after
        prepare(self._where, x.unsqueeze(1), None, self.input_size, self._like())
        start = self._start(state, x)
        bound = self._bound_cell(x, start)
        before = {f"{s}<t-1>": start[s] for s in self.cell.states}
        values = {self.cell.input: x, **bound.vectors, **bound.numbers, **before}
        bound.fill(values, bound.hoisted)
        bound.run_step(values, x.shape[0])
        return values[self.cell.output], State({s: values[s] for s in self.cell.states})

    def _check_streams(self) -> None:
        if self.reverse:
            raise UsageError(
                f"{self._where}: a step must come from a layer that reads forwards; this one reads from the end"
            )
        if self.training and self.regularisers.variational:
            raise UsageError(
                f"{self._where}: variational_dropout holds one mask for a whole sequence; single steps in training "
                "would each draw another",
                "call layer.eval() first, or run whole sequences",
            )

    def _like(self) -> Tensor | None:
        """A parameter whose type and device inputs must have; None for a cell without parameters."""
        return next(self.parameters(), None)

    def _bound_cell(self, x: Tensor, state: Mapping[str, Tensor]) -> BoundCell:
        """The weights as products of one step read them, kept while the parameters lie where they are.

        Copies would grow old unseen: torch counts no change by its fused optimisers, through .data or by NumPy.
        """
        weights = dict(self.weights)
        key = tuple((id(w), w.data_ptr(), w.device, w.dtype) for w in weights.values())
        if self._bound is None or self._bound[0] != key or not weights:
            self._bound = (key, bind(self.cell, weights, x, state, join=False))
        return self._bound[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_bound": None}

    def extra_repr(self) -> str:
        """Return what distinguishes this layer, for print."""
        parts = [repr(self.cell.name), f"input_size={self.input_size}", f"hidden_size={self.hidden_size}"]
        parts += [f"{name}={value}" for name, value in vars(self.regularisers).items() if value]
        parts += [f"{name}={value}" for name, value in {"sizes": self.sizes, "reverse": self.reverse}.items() if value]
        parts += ["learn_initial_state=True"] if self.learn_initial_state else []
        return ", ".join([*parts, f"engine={self.engine!r}"])


def _found(cell: Cell | str) -> Cell:
    if not isinstance(cell, Cell | str):
        raise UsageError(
            f"Recurrent: cell must be a Cell or the name of one; got {type(cell).__name__}",
            "write Recurrent(cell, input_size, hidden_size)",
        )
    if isinstance(cell, str) and "=" in cell:
        raise UsageError(
            f"Recurrent: cell must be a Cell or the name of one; got the equations {cell.strip().splitlines()[0]!r}",
            "write Recurrent(elman.Cell(equations), ...)",
        )
    return cells[cell] if isinstance(cell, str) else cell
