"""`elman cells` and `elman explain`: cells as equations, their derivatives, parameters and costs, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elman.cli.output import table, write, write_json, write_line
from elman.cli.verbs import json_option, refuse
from elman.errors import EquationError, UsageError
from elman.readers.cells import equations_of, read_cell

if TYPE_CHECKING:
    from elman.equations import Cell

SIZE = click.IntRange(1, 1 << 20)


@click.command()
@click.argument("name", required=False)
@click.option("--bptt", is_flag=True, help="Print the derived back-propagation through time.")
@click.option("--latex", is_flag=True, help="Print LaTeX instead of plain notation.")
@click.option("--svg", metavar="FILE", help="Draw the unrolled cell into FILE; - for stdout.")
@json_option
def cells(name: str | None, bptt: bool, latex: bool, svg: str | None, as_json: bool) -> None:
    """List the cells of the catalogue, or show the one called NAME.

    NAME may also be a file of equations or the equations themselves.
    """
    asked = [option for option, given in (("--bptt", bptt), ("--latex", latex), ("--svg", svg)) if given]
    if name is None:
        refuse("elman cells", [f"{option} shows one cell; got no NAME" for option in asked], "elman cells gru --bptt")
        return _list_cells(as_json)
    if svg is not None:
        contradictions = [(bptt, "--bptt"), (latex, "--latex"), (as_json, "--json")]
        refuse("elman cells", [f"{o} and --svg exclude each other" for given, o in contradictions if given])
        return _draw(read_cell(name), svg)
    cell = read_cell(name)
    if as_json:
        return write_json(document(cell))
    choose: dict[tuple[bool, bool], Callable[[], str]] = {
        (False, False): lambda: _heading(cell) + cell.plain(),
        (False, True): cell.latex,
        (True, False): cell.backward_plain,
        (True, True): cell.backward_latex,
    }
    return write_line(choose[bptt, latex]())


def _heading(cell: Cell) -> str:
    return f"# {cell.name}" + (f": {cell.source}" if cell.source else "") + "\n"


def _list_cells(as_json: bool) -> None:
    from elman.cells import cells as catalogue

    if as_json:
        return write_json(
            [{"name": cell.name, "states": cell.states, "source": cell.source} for cell in catalogue.values()]
        )
    rows = [["NAME", "STATES", "MATRICES", "RECURRENT PRODUCTS", "SOURCE"]]
    for name, cell in catalogue.items():
        shapes = cell.parameters(8, 8, dict.fromkeys(cell.free_sizes, 8)).values()
        matrices = sum(len(shape) == 2 for shape in shapes)
        rows.append([name, " ".join(cell.states), str(matrices), str(cell.schedule.recurrent_products), cell.source])
    return write_line(table(rows))


def _draw(cell: Cell, file: str) -> None:
    from elman.equations.drawing import svg
    from elman.storage import write_file

    text = svg(cell)
    if file == "-":
        return write(text)
    path = Path(file)
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--svg: must be a file in a folder that exists; got {file!r}")
    write_file(path, [text.encode("utf-8")])
    return None


def _named_numbers(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    pairs = _pairs(values)
    if wrong := [f"{name}={value}" for name, value in pairs.items() if not value.isdecimal() or len(value) > 7]:
        raise click.BadParameter(f"must be NAME=NUMBER, as in P=64; got {', '.join(wrong)}")
    return {name: int(value) for name, value in pairs.items()}


def _named_words(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    return _pairs(values)


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if not all(value.partition("=")):
            raise click.BadParameter(f"must be NAME=VALUE; got {value!r}")
    return {value.partition("=")[0]: value.partition("=")[2] for value in values}


@click.command()
@click.argument("equations", metavar="FILE")
@click.option("--input-size", type=SIZE, default=128, show_default=True, help="I, for shapes and costs.")
@click.option("--hidden-size", type=SIZE, default=128, show_default=True, help="H, for shapes and costs.")
@click.option(
    "--size",
    "sizes",
    metavar="NAME=NUMBER",
    multiple=True,
    callback=_named_numbers,
    help="A size that the equations declare; repeat for several. H if not given.",
)
@click.option("--output", metavar="NAME", help="Which name is the output of a step; inferred if not given.")
@click.option(
    "--function",
    "functions",
    metavar="NAME=FUNCTION",
    multiple=True,
    callback=_named_words,
    help="What a function means that the equations leave open, as g_1=relu; repeat for several.",
)
@json_option
def explain(
    equations: str,
    input_size: int,
    hidden_size: int,
    sizes: dict[str, int],
    output: str | None,
    functions: dict[str, str],
    as_json: bool,
) -> None:
    """Parse and check the equations in FILE; print what follows from them.

    FILE is a text in plain notation or LaTeX, - for stdin, a name of the catalogue, or the equations themselves.
    """
    if equations != "-" and _explain_output_equation(equations_of(equations), hidden_size, functions, as_json):
        return None
    cell = read_cell(equations, output, functions or None)
    full = {**dict.fromkeys(cell.free_sizes, hidden_size), **sizes}
    found = document(cell, input_size, hidden_size, full)
    if as_json:
        return write_json(found)
    return write_line(_explanation(cell, found))


def _explain_output_equation(text: str | None, hidden_size: int, functions: dict[str, str], as_json: bool) -> bool:
    """Explain a text that is an output equation and no cell; say whether it was one."""
    from elman.equations import OutputEquation

    try:
        head = None if text is None else OutputEquation.alone(text, functions)
    except EquationError:
        return False  # read_cell tells what is wrong, with the name of the file
    if head is None:
        return False
    sizes = {name.rstrip("<>"): hidden_size for name in head.reads}
    shapes = {name: ["K", *shape[1:]] for name, shape in head.parameters(1, sizes).items()}
    found = {"output_equation": str(head), "reads": list(head.reads), "bidirectional": head.bidirectional}
    if as_json:
        write_json({**found, "parameters": shapes})
    else:
        rows = [["reads", ", ".join(head.reads)], ["directions", "both" if head.bidirectional else "one"]]
        rows += [[name, "(" + ", ".join(map(str, shape)) + ")"] for name, shape in shapes.items()]
        write_line(f"# output equation\n{head}\n\n{table(rows)}")
    return True


def document(
    cell: Cell, input_size: int = 128, hidden_size: int = 128, sizes: dict[str, int] | None = None
) -> dict[str, Any]:
    """Return everything that follows from a cell's equations, for JSON."""
    sizes = {**dict.fromkeys(cell.free_sizes, hidden_size), **(sizes or {})}
    shapes = cell.parameters(input_size, hidden_size, sizes)
    return {
        "name": cell.name,
        "source": cell.source,
        "plain": cell.plain(),
        "latex": cell.latex(),
        "backward": cell.backward_plain(),
        "backward_latex": cell.backward_latex(),
        "input": cell.input,
        "states": cell.state_sizes(input_size, hidden_size, sizes),
        "output": cell.output,
        "output_equation": None if cell.head is None else str(cell.head),
        "sizes": {"I": input_size, "H": hidden_size, **sizes},
        "parameters": {name: list(shape) for name, shape in shapes.items()},
        "initialisation": dict(cell.init),
        "parameter_count": sum(count(shape) for shape in shapes.values()),
        "recurrent_products": cell.schedule.recurrent_products,
        "flops": cell.flops(input_size, hidden_size, sizes),
        "bytes": cell.bytes(input_size, hidden_size, sizes),
    }


def count(shape: tuple[int, ...]) -> int:
    """Return the number of entries of a shape."""
    size = 1
    for n in shape:
        size *= n
    return size


def _explanation(cell: Cell, found: dict[str, Any]) -> str:
    sections = [
        ("equations", found["plain"]),
        ("LaTeX", found["latex"]),
        ("what was read", _roles(found)),
        ("parameters", _parameters(cell, found)),
        ("cost of one step of one sequence", _costs(found)),
        ("back-propagation through time", found["backward"]),
    ]
    return "\n\n".join(f"# {title}\n{body}" for title, body in sections)


def _roles(found: dict[str, Any]) -> str:
    sizes = ", ".join(f"{name} = {value}" for name, value in found["sizes"].items())
    states = ", ".join(f"{name} ({size})" for name, size in found["states"].items())
    rows = [["input", found["input"]], ["states", states], ["output", found["output"]], ["sizes", sizes]]
    if found["output_equation"] is not None:
        rows.append(["output equation", found["output_equation"]])
    return table(rows)


def _parameters(cell: Cell, found: dict[str, Any]) -> str:
    rows = []
    for name, shape in found["parameters"].items():
        written = f"({', '.join(map(str, shape))})"
        start = cell.init.get(name)
        rows.append([name, written, "" if start is None else f"starts {start}"])
    return table([*rows, ["total", f"{found['parameter_count']:,}", ""]])


def _costs(found: dict[str, Any]) -> str:
    operations, memory = found["flops"], found["bytes"]
    loop = f"{found['recurrent_products']} recurrent products"
    rows = [
        [
            "forward",
            f"{operations['forward']:,} operations",
            f"{operations['hoisted']:,} of them before the loop over time",
        ],
        ["in the loop", f"{operations['recurrent'] + operations['pointwise']:,} operations", loop],
        ["backward", f"{operations['backward']:,} operations", ""],
        ["memory", f"{memory['parameters']:,} bytes", "parameters in float32"],
        ["", f"{memory['saved']:,} bytes", "kept for the way back"],
    ]
    return table(rows)
