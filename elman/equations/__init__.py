"""What a cell is: notation, expressions, derivatives, schedule, printing. Imports no torch."""

from __future__ import annotations

from elman.equations.cell import Cell
from elman.equations.derivative import Accumulation
from elman.equations.expressions import Equation
from elman.equations.output import OutputEquation
from elman.equations.program import Block, Operation
from elman.equations.schedule import Round, Schedule

__all__ = ["Accumulation", "Block", "Cell", "Equation", "Operation", "OutputEquation", "Round", "Schedule"]
