"""The process in which cases are measured: one JSON case a line in, one JSON row a line out.

`python -m benchmarks.engine` starts it with the allocator and the threads that the cases ask for; neither can be
changed in a process that runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import peers, peers_beyond_torch
from benchmarks.cases import CONTROLS, Case
from benchmarks.clock import in_turns, peak_of, quartiles
from benchmarks.handwritten import HANDWRITTEN
from benchmarks.peers import TYPES, AbsentError, Peer, Results, Setting

BUILDERS = {**peers.BUILDERS, **peers_beyond_torch.BUILDERS}
COMPILING = ("compile", "jax")
TUNED = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000", "MALLOC_TOP_PAD_": "268435456"}
"""The settings of glibc's malloc under which no memory goes back to the system, so that no page is met twice."""

TOLERANCE = {"float32": 2e-4, "bf16": 4e-2}
"""Error by norm, relative to the oracle's norm, that a peer may show. float32: roundings of 2^-24 grow along 1,000
steps by no more than a thousandfold in these cells; a wrong gate is off by a tenth and more. bf16 keeps 8 bits."""

WITNESSES, WITNESSED_STEPS = 4, 500


GEMM_SIZE = 2048


class WrongResultError(Exception):
    """A peer computes something else."""


def oracle(s: Setting) -> Results:
    """y and dx of the first sequences by the handwritten loop in float64: sequences know nothing of each other.

    Of very long ones the first steps, whose outputs what comes later does not change; there is no dx then.
    """
    steps = min(s.case.steps, WITNESSED_STEPS if s.case.steps > 2 * WITNESSED_STEPS else s.case.steps)
    weights = {n: torch.from_numpy(v).double() for n, v in s.joined.items()}
    x = torch.from_numpy(s.x[:WITNESSES, :steps]).double().transpose(0, 1).contiguous().requires_grad_()
    live = None
    if s.lengths is not None:
        live = torch.from_numpy(np.arange(s.case.steps)[:, None, None] < s.lengths[None, :WITNESSES, None])
    y = peers.run_loop(HANDWRITTEN[s.case.cell], weights, x, live)
    found = {"y": y.detach().transpose(0, 1).numpy()}
    if s.case.way == "both" and steps == s.case.steps:
        dy = torch.from_numpy(s.dy[:WITNESSES]).double().transpose(0, 1)
        found["dx"] = torch.autograd.grad(y, x, dy)[0].transpose(0, 1).numpy()
    return found


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Norm of the difference by norm of what is wanted."""
    return float(np.linalg.norm(found.astype(np.float64) - wanted) / max(float(np.linalg.norm(wanted)), 1e-30))


def check(case: Case, name: str, found: Results, wanted: Results, first: Results | None) -> float:
    """Return the largest error of a peer: against the oracle, and of the parameters' gradients against the first peer.

    Raises:
        WrongResultError: it is beyond the tolerance.
    """
    errors = {n: error(found[n][: v.shape[0], : v.shape[1]], v) for n, v in wanted.items()}
    errors |= {n: error(found[n], v) for n, v in (first or {}).items() if n not in ("y", "dx") and n in found}
    for n, value in errors.items():
        if not value <= TOLERANCE[case.precision]:
            raise WrongResultError(
                f"{name} of {case}: {n} must be within {TOLERANCE[case.precision]} of the oracle; is off by {value:.1e}"
            )
    return max(errors.values())


def gemm(case: Case) -> Callable[[], Any]:
    """The machine's own rate: torch.mm of large matrices, in the precision of the case."""
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE).to(TYPES[case.precision]) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def measure(case: Case, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Validate the peers of a case against each other, time them in turns, return its row."""
    torch.set_num_threads(case.threads)
    s = peers.setting(case)
    ready, rows, absent = _validated(s, names)
    calls = {name: peer.call for name, peer in ready.items()} | {"mm": gemm(case)}
    calls["mm"]()
    times = in_turns(calls, seconds)
    rate = 2.0 * GEMM_SIZE**3 / float(np.median(times.pop("mm"))) / 1e9
    for name, found in times.items():
        rows[name] |= quartiles(found)
    return {
        "peers": rows,
        "absent": absent,
        "gemm_gflops": round(rate, 1),
        "steps": s.steps,
        "gflop": round(s.flop / 1e9, 3),
    }


def _validated(s: Setting, names: Sequence[str]) -> tuple[dict[str, Peer], dict[str, Any], dict[str, str]]:
    ready: dict[str, Peer] = {}
    rows: dict[str, Any] = {}
    absent: dict[str, str] = {}
    wanted, first = oracle(s), None
    for name in names:
        start = time.perf_counter()
        if name in CONTROLS:
            ready[name], rows[name] = _control(s.case, name)
            continue
        try:
            peer = BUILDERS[name](s)
            found = peer.results()
        except AbsentError as reason:
            absent[name] = str(reason)
            continue
        took = time.perf_counter() - start
        rows[name] = {"error": float(f"{check(s.case, name, found, wanted, first):.2g}")}
        if name in COMPILING:
            rows[name]["compile_seconds"] = round(took, 2)
        first = found if first is None else first
        ready[name] = peer
    return ready, rows, absent


def _control(case: Case, name: str) -> tuple[Peer, dict[str, Any]]:
    """Elman on another case, held to that case's oracle."""
    other = peers.setting(replace(case, **CONTROLS[name]))
    peer = BUILDERS["elman"](other)
    return peer, {"error": float(f"{check(other.case, name, peer.results(), oracle(other), None):.2g}")}


def measure_memory(case: Case, name: str) -> dict[str, Any]:
    """The peak of memory of one peer's first call, in this process that has run nothing else."""
    torch.set_num_threads(case.threads)
    s = peers.setting(case)
    try:
        peer = BUILDERS[name](s)
    except AbsentError as reason:
        return {"peers": {}, "absent": {name: str(reason)}}
    return {"peers": {name: {"peak_mib": round(peak_of(peer.call), 1)}}, "absent": {}, "steps": s.steps}


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        case, names = Case(**request["case"]), request["peers"]
        try:
            row = measure_memory(case, names[0]) if case.memory else measure(case, names, request["seconds"])
        except WrongResultError as wrong:
            row = {"wrong": str(wrong)}
        print(json.dumps(row), flush=True)


class Worker:
    """Such a process, seen from the one that starts it.

    Args:
        allocator: "tuned" or "default"; see Case.
        threads: That libraries without a switch of their own may use.
    """

    def __init__(self, allocator: str, threads: int) -> None:
        environment = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_")}
        environment |= TUNED if allocator == "tuned" else {}
        environment |= {"OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu"}
        if threads == 1:
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        command = [sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row that answers a request.

        Raises:
            SystemExit: the process ended, or found a peer that is wrong.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both are pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(
                f"engine: the measuring process ended with code {self._process.wait()} at {request['case']}"
            )
        row: dict[str, Any] = json.loads(answer)
        if "wrong" in row:
            raise SystemExit(f"engine: {row['wrong']}")
        return row

    def close(self) -> None:
        """Let the process end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


if __name__ == "__main__":
    main()
