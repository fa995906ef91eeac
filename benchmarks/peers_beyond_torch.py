"""Peers that are not torch's: JAX's lax.scan under jit, ONNX Runtime's recurrent operators, a plain loop in NumPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks.handwritten import HANDWRITTEN, NUMPY, Arrays
from benchmarks.peers import AbsentError, Build, Peer, Results, Setting


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise AbsentError(f"{name} is not installed") from None


def _only_float32(s: Setting) -> None:
    if s.case.precision != "float32":
        raise AbsentError("measured in float32 only")


def jax_scan(s: Setting) -> Peer:
    """The cell by hand under lax.scan, compiled; its first call compiles."""
    _only_float32(s)
    jax, jnp = _module("jax"), _module("jax.numpy")
    m = Arrays(
        jax.nn.sigmoid,
        jnp.tanh,
        lambda a, n: jnp.split(a, n, axis=-1),
        lambda a: (a - a.mean(-1, keepdims=True)) * jax.lax.rsqrt(a.var(-1, keepdims=True) + 1e-5),
    )
    hand = HANDWRITTEN[s.case.cell]
    weights = {n: jnp.asarray(v) for n, v in s.joined.items()}
    x, dy = (jnp.asarray(a.swapaxes(0, 1)) for a in (s.x, s.dy))  # (T, B, I), (T, B, H)
    live = jnp.asarray(_live(s))  # (T, B, 1)

    def run(weights: Any, x: Any) -> Any:
        def step(state: Any, given: Any) -> Any:
            share, alive = given
            after = hand.step(m, weights, share, *state)
            if s.lengths is not None:
                after = tuple(jnp.where(alive, a, b) for a, b in zip(after, state, strict=True))
            return tuple(after), after[0]

        start = tuple(jnp.zeros(x.shape[1:]) for _ in range(hand.states))
        _, y = jax.lax.scan(step, start, (hand.project(m, weights, x), live))
        return y * live

    def both(weights: Any, x: Any, dy: Any) -> Any:
        y, back = jax.vjp(run, weights, x)
        return y, back(dy)

    whole = jax.jit(run if s.case.way == "forward" else both)
    given = (weights, x) if s.case.way == "forward" else (weights, x, dy)

    def results() -> Results:
        found = whole(*given)
        if s.case.way == "forward":
            return {"y": np.asarray(found).swapaxes(0, 1)}
        y, (d_weights, dx) = found
        table = {"y": np.asarray(y).swapaxes(0, 1), "dx": np.asarray(dx).swapaxes(0, 1)}
        return table | {f"d{n}": np.asarray(d_weights[n]) for n in ("W", "R") if n in d_weights}

    return Peer(lambda: jax.block_until_ready(whole(*given)), results)


def _live(s: Setting) -> np.ndarray:
    """(T, B, 1), true where a sequence still runs."""
    lengths = np.full(s.case.batch, s.case.steps) if s.lengths is None else s.lengths
    return np.asarray(np.arange(s.case.steps)[:, None, None] < lengths[None, :, None])


def numpy_loop(s: Setting) -> Peer:
    """The cell by hand in NumPy, step after step: what one writes to understand it. Forward only."""
    _only_float32(s)
    if s.case.way != "forward":
        raise AbsentError("has no derivatives")
    hand, x, live = HANDWRITTEN[s.case.cell], np.ascontiguousarray(s.x.swapaxes(0, 1)), _live(s)

    def run() -> np.ndarray:
        share = hand.project(NUMPY, s.joined, x)
        each = share if isinstance(share, np.ndarray) else list(zip(*share, strict=True))
        state = tuple(np.zeros(x.shape[1:], np.float32) for _ in range(hand.states))
        y = np.empty(x.shape, np.float32)  # (T, B, H)
        for t in range(s.case.steps):
            after = hand.step(NUMPY, s.joined, each[t], *state)
            state = tuple(np.where(live[t], a, b) for a, b in zip(after, state, strict=True))
            y[t] = state[0] * live[t]
        return y

    return Peer(run, lambda: {"y": run().swapaxes(0, 1)})


def onnx_runtime(s: Setting) -> Peer:
    """ONNX Runtime's RNN, GRU and LSTM in a graph built by hand. Forward only."""
    _only_float32(s)
    if s.case.way != "forward":
        raise AbsentError("has no derivatives here")
    if s.case.cell not in ("rnn", "gru", "gru_reset_after", "lstm", "lstm_peephole"):
        raise AbsentError(f"has no operator for {s.case.cell}")
    runtime = _module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = s.case.threads
    session = runtime.InferenceSession(_graph(s).SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {"x": np.ascontiguousarray(s.x.swapaxes(0, 1))}
    if s.lengths is not None:
        given["lengths"] = s.lengths.astype(np.int32)

    def run() -> np.ndarray:
        return np.asarray(session.run(["y"], given)[0])

    return Peer(run, lambda: {"y": run()[:, 0].swapaxes(0, 1)})  # (T, 1, B, H) to (B, T, H)


def _graph(s: Setting) -> Any:
    """The model of one operator; inputs x (T, B, I) and lengths (B,), output y (T, 1, B, H)."""
    helper, number = _module("onnx").helper, _module("onnx").TensorProto
    values = {n: np.ascontiguousarray(v[None], np.float32) for n, v in _operator_weights(s).items()}
    constants = [helper.make_tensor(n, number.FLOAT, v.shape, v.tobytes(), raw=True) for n, v in values.items()]
    lengths = "lengths" if s.lengths is not None else ""
    inputs = ["x", "W", "R", "B", lengths, "", "", "P"] if "P" in values else ["x", "W", "R", "B", lengths]
    kind = {"rnn": "RNN", "gru": "GRU", "gru_reset_after": "GRU"}.get(s.case.cell, "LSTM")
    attributes = {"linear_before_reset": int(s.case.cell == "gru_reset_after")} if kind == "GRU" else {}
    node = helper.make_node(kind, inputs, ["y"], hidden_size=s.case.hidden, **attributes)
    given = [helper.make_tensor_value_info("x", number.FLOAT, [s.case.steps, s.case.batch, s.case.hidden])]
    if lengths:
        given.append(helper.make_tensor_value_info("lengths", number.INT32, [s.case.batch]))
    y = helper.make_tensor_value_info("y", number.FLOAT, [s.case.steps, 1, s.case.batch, s.case.hidden])
    graph = helper.make_graph([node], s.case.cell, given, [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def _operator_weights(s: Setting) -> dict[str, np.ndarray]:
    """Gates in the order of the operators: z r h of GRU, i o f c of LSTM; both halves of the biases in one."""
    w, cell = s.joined, s.case.cell
    gates = {"rnn": [0], "gru": [0, 1, 2], "gru_reset_after": [1, 0, 2]}.get(cell, [0, 3, 1, 2])
    # The operator weighs the old state by z where the notes' GRU weighs the new one by u = 1 - z.
    signs = np.repeat([-1.0, 1.0, 1.0] if cell == "gru" else np.ones(len(gates)), s.case.hidden)[:, None]
    recurrent = np.concatenate([w["R"], w["R_c"]], 1) if cell == "gru" else w["R"]

    def ordered(columns: np.ndarray) -> np.ndarray:
        parts = np.split(columns, len(gates), axis=-1)
        return np.concatenate([parts[g] for g in gates], -1).T

    of_state = np.zeros_like(w["b"])
    if "b_hn" in w:
        of_state[-s.case.hidden :] = w["b_hn"]
    biases = np.concatenate([ordered(w["b"]) * signs[:, 0], ordered(of_state)])
    table = {"W": ordered(w["W"]) * signs, "R": ordered(recurrent) * signs, "B": biases}
    return table | ({"P": np.concatenate([w["p_i"], w["p_o"], w["p_f"]])} if "p_i" in w else {})


BUILDERS: dict[str, Build] = {"jax": jax_scan, "onnx": onnx_runtime, "loop": numpy_loop}
