"""`elman inspect`: what is in a model or run folder, every size and hash checked; nothing in it is executed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from elman.cli.output import table, write_json, write_line
from elman.cli.verbs import json_option
from elman.errors import ElmanError, MissingInputError, ModelFileError
from elman.storage import nearest_beside

JUDGED_ELSEWHERE = ("files", "format_version", "library_name", "library_version")


@click.command()
@click.argument("folder", metavar="MODEL_OR_RUN", type=click.Path(path_type=Path))
@json_option
def inspect(folder: Path, as_json: bool) -> None:
    """Show what a model or run folder holds: sizes, verified hashes, equations, parameters, metrics, checkpoints.

    Exit code 65 when something in it is damaged or made by a newer Elman.
    """
    found = examine(folder)
    write_json(found) if as_json else write_line(_report(found))
    if found["damaged"]:
        count = len(found["damaged"])
        raise ModelFileError(
            f"{folder}: every file must be as it was written; got {count} damaged: {'; '.join(found['damaged'])}",
            "restore what is damaged from a copy",
        )
    if newer := [row["name"] for row in found.get("run", {}).get("checkpoints", []) if row["newer"]]:
        raise ModelFileError(
            f"{folder}: every checkpoint must be of a format that this Elman reads; got {', '.join(newer)},"
            " made by a newer Elman",
            "upgrade with: pip install --upgrade elman",
        )


def examine(folder: Path) -> dict[str, Any]:
    """Return what a folder holds, with every damage under "damaged".

    Raises:
        MissingInputError: the folder does not exist, or is neither a model nor a run.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else f"none{nearest_beside(folder, folders=True)}"
        raise MissingInputError(f"{folder}: model or run folder must exist; got {got}")
    has_model, has_run = (folder / "config.json").exists(), (folder / "run.json").exists()
    if not has_model and not has_run:
        raise MissingInputError(f"{folder}: must hold config.json (a model) or run.json (a run); got neither")
    found: dict[str, Any] = {"folder": str(folder), "damaged": []}
    if has_model:
        found["model"] = _model(folder, found["damaged"])
    if has_run:
        found["run"] = _run(folder, found["damaged"])
    return found


def _model(folder: Path, damages: list[str]) -> dict[str, Any]:
    from elman.model_folder import WEIGHTS, read_config

    config = read_config(folder)
    files = [_file(folder / name, row, damages) for name, row in sorted(config["files"].items())]
    model: dict[str, Any] = {
        "made_by": f"elman {config.get('library_version')}",
        "config": {name: value for name, value in config.items() if name not in JUDGED_ELSEWHERE},
        "files": files,
    }
    # A damaged file of weights has no header worth reading.
    if all(file["intact"] for file in files if file["name"] == WEIGHTS):
        model["tensors"] = tensors(folder / WEIGHTS, config)
        model["parameters"] = sum(tensor["count"] for tensor in model["tensors"] if "shared" not in tensor)
    if (folder / "metrics.json").exists():
        model["metrics"] = _json(folder / "metrics.json", damages)
    return model


def _file(path: Path, recorded: dict[str, Any], damages: list[str]) -> dict[str, Any]:
    from elman.model_folder import check_record
    from elman.storage import record_of

    row = {"name": path.name, "bytes": recorded["bytes"], "sha256": recorded["sha256"], "intact": True}
    try:
        check_record(path, record_of(path), recorded)
    except (ModelFileError, MissingInputError) as error:
        damages.append(error.message)
        row["intact"] = False
    return row


def tensors(path: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, shape, type and number of entries of every tensor in a file, from its header.

    The output matrix of tied weights stands in the file a second time; it is told to be "shared".
    """
    from elman.tensor_file import DTYPES, read_entries

    options = config.get("model")
    tied = isinstance(options, dict) and options.get("tied") is True
    return [
        {
            "name": name,
            "shape": list(entry.shape),
            "dtype": str(DTYPES[entry.code]).removeprefix("torch."),
            "count": math.prod(entry.shape),
        }
        | ({"shared": True} if tied and name.endswith("head.weight") else {})
        for name, entry in read_entries(path).items()
    ]


def _json(path: Path, damages: list[str]) -> Any:
    from elman.storage import read_json

    try:
        return read_json(path)
    except ElmanError as error:
        damages.append(error.message)
        return None


def _run(folder: Path, damages: list[str]) -> dict[str, Any]:
    description = _json(folder / "run.json", damages) or {}
    names = ("task", "config", "data", "seed", "environment", "started")
    run: dict[str, Any] = {name: description.get(name) for name in names}
    run["checkpoints"] = [_checkpoint(path, damages) for path in sorted((folder / "checkpoints").glob("step-*"))]
    run["records"], run["curves"] = _records(folder, damages)
    return run


def _checkpoint(path: Path, damages: list[str]) -> dict[str, Any]:
    from elman.training.checkpoint import NewerFormatError, verify

    size = sum(member.stat().st_size for member in path.iterdir() if member.is_file())
    row: dict[str, Any] = {"name": path.name, "bytes": size, "intact": True, "newer": False}
    try:
        verify(path)
    except NewerFormatError:
        row |= {"intact": None, "newer": True}  # which of its files belong to it is unknown here
    except (ModelFileError, MissingInputError) as error:
        damages.append(error.message)
        row["intact"] = False
    return row


def _records(folder: Path, damages: list[str]) -> tuple[dict[str, Any], str]:
    """The last record of each kind in metrics.jsonl, and the curves as a picture of blocks."""
    from elman.training.curves import as_text
    from elman.training.metrics_log import read_records

    try:
        records = read_records(folder / "metrics.jsonl")
        return {str(record.get("kind")): record for record in records}, as_text(folder)
    except MissingInputError:
        return {}, ""  # training has not begun
    except ModelFileError as error:
        damages.append(error.message)
        return {}, ""


# ---- as text


def _report(found: dict[str, Any]) -> str:
    parts = []
    if "model" in found:
        parts += _model_report(found["model"])
    if "run" in found:
        parts += _run_report(found["run"])
    return "\n\n".join(f"# {title}\n{body}" for title, body in parts if body)


def _model_report(model: dict[str, Any]) -> list[tuple[str, str]]:
    config = model["config"]
    equations = config.get("equations") or config.get("cell")
    settings = {name: value for name, value in config.items() if value is not equations}
    shapes = [
        [t["name"], str(tuple(t["shape"])), t["dtype"], "shared" if "shared" in t else f"{t['count']:,}"]
        for t in model.get("tensors", [])
    ]
    if shapes:
        shapes.append(["total", "", "", f"{model['parameters']:,}"])
    return [
        (f"model, made by {model['made_by']}", _pairs(settings)),
        ("equations", equations_text(equations)),
        ("parameters", table(shapes)),
        ("metrics", _pairs(model.get("metrics") or {})),
        ("files", table([_row(file) for file in model["files"]])),
    ]


def equations_text(value: Any) -> str:
    """Return the equations that a config holds, whether as text or as a table with the text in it.

    What a table says besides stands above, "name: gru"; the equations begin at the left, so that they stay aligned.
    """
    if isinstance(value, dict):
        short = {name: item for name, item in value.items() if item and name not in ("text", "equations")}
        lines = [f"{name}: {_inline(item)}" for name, item in short.items()]
        return "\n".join([*lines, *(str(value[name]) for name in ("text", "equations") if value.get(name))])
    return str(value) if value else ""


def _run_report(run: dict[str, Any]) -> list[tuple[str, str]]:
    last = [[kind, _inline(record)] for kind, record in run["records"].items()]
    return [
        (f"run of {run['task']}, started {run['started']}", _pairs(run["config"] or {})),
        ("data", _pairs(run["data"] or {})),
        ("last records", table(last)),
        ("curves", run["curves"]),
        ("checkpoints", table([_row(checkpoint) for checkpoint in run["checkpoints"]])),
    ]


def _row(file: dict[str, Any]) -> list[str]:
    state = "of a newer Elman" if file.get("newer") else "hash verified" if file["intact"] else "DAMAGED"
    return [file["name"], f"{file['bytes']:,} bytes", file.get("sha256", "")[:12], state]


def _pairs(values: dict[str, Any]) -> str:
    rows = [[name, _inline(value)] for name, value in sorted(values.items()) if value is not None]
    return table(rows)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_inline(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, str):
        return "; ".join(line.strip() for line in value.splitlines() if line.strip())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
