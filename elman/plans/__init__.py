"""From a cell's schedule to the plan that the C++ engine executes; needs no torch."""
