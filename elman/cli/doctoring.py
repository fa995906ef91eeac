"""`elman doctor`: versions, processor, threads, engines, optional libraries; do the engines agree?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import click

import elman
from elman.cli.output import table, write_json, write_line
from elman.cli.verbs import json_option

REQUIRED = ("torch", "numpy", "click", "pydantic", "lark", "rich", "safetensors")
OPTIONAL = {
    "tokenizers": "vocabularies of subwords",
    "matplotlib": "curves and gradient flow as PNG",
}
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
FEATURES = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_bf16",
    "asimd",
    "sve",
    "bf16",
)


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, processor, threads, engines and optional libraries; check that the engines agree.

    Exit code 1 when something that Elman needs is missing or wrong.
    """
    found = examine()
    write_json(found) if as_json else write_line(_report(found))
    if not found["healthy"]:
        raise click.exceptions.Exit(1)


def examine() -> dict[str, Any]:
    """Return what there is to know about this installation and machine."""
    required = {name: version(name) for name in REQUIRED}
    found: dict[str, Any] = {
        "elman": elman.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "required": required,
        "optional": {name: version(name) for name in OPTIONAL},
    }
    complete = all(required.values())
    found["engine"] = engine() if complete else None
    tried = found["engine"]["agreement"].values() if complete else ()
    found["healthy"] = complete and all(row["difference"] <= row["tolerance"] for row in tried)
    return found


def version(library: str) -> str | None:
    """Return the installed version of a library; None when it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> dict[str, Any]:
    """Return name, cores and vector features of the CPU, as far as the system tells."""
    info = _cpu_info()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "name": info.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": [name for name in FEATURES if name in flags],
    }


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def engine() -> dict[str, Any]:
    """Return which engines run by default, how far they are from the reference, torch's threads and devices."""
    import torch

    from elman.plans import native

    return {
        "native": {"target": native.target(), "targets": native.engine.targets()} if native.available() else None,
        "agreement": {name: agreement(name) for name in TOLERANCES},
        "threads": torch.get_num_threads(),
        "torch_vectors": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def agreement(precision: str) -> dict[str, Any]:
    """Return the engine that runs layers of a type by default, and how far it is from the float64 reference.

    Args:
        precision: "float32" or "float64".
    """
    import torch

    from elman.cells import cells
    from elman.layers import Recurrent

    x = torch.linspace(-1, 1, 2 * 5 * 3, dtype=torch.float64).reshape(2, 5, 3)
    layer, reference = (Recurrent(cells["gru"], 3, 4, engine=name, seed=0) for name in ("auto", "reference"))
    layer, reference = layer.to(getattr(torch, precision)), reference.double()
    with torch.no_grad():
        difference = float((layer(x.to(getattr(torch, precision)))[0] - reference(x)[0]).abs().max())
    return {"engine": layer.engine, "difference": difference, "tolerance": TOLERANCES[precision]}


def _report(found: dict[str, Any]) -> str:
    cpu, tried = found["processor"], found["engine"]
    rows = [
        ["elman", found["elman"]],
        ["Python", f"{found['python']} on {found['platform']}"],
        ["processor", f"{cpu['name']}, {cpu['usable_cores']} of {cpu['cores']} cores usable"],
        ["features", " ".join(cpu["features"]) or "unknown"],
    ]
    if tried is not None:
        rows += [[f"engine of {name}", _agrees(row, tried["native"])] for name, row in tried["agreement"].items()]
        rows += [
            ["C++ engine", _native(tried["native"])],
            ["threads", f"{tried['threads']} ({tried['torch_vectors']})"],
            ["GPU", tried["gpu"] or "none"],
        ]
    rows += [[name, number or "MISSING: pip install " + name] for name, number in found["required"].items()]
    rows += [[name, number or f"not installed ({OPTIONAL[name]})"] for name, number in found["optional"].items()]
    return table([*rows, ["", "everything works" if found["healthy"] else "something is wrong, see above"]])


def _agrees(row: dict[str, Any], native: dict[str, Any] | None) -> str:
    where = f" ({native['target']})" if native and row["engine"].startswith("cpu") else ""
    return (
        f"{row['engine']}{where}; differs from the reference by {row['difference']:.1e} "
        f"(gru; at most {row['tolerance']:.0e})"
    )


def _native(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not compiled: torch runs everything"
    from elman.plans.native import BF16_UNITS

    unit = BF16_UNITS.get(found["target"])
    bf16 = f"by {unit.name}" if unit else "at the speed of float32"
    return f"{found['target']} (of {', '.join(found['targets'])}); products in bfloat16 {bf16}"
