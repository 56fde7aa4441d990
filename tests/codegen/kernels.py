"""Runs one fused group as a native kernel, for tests: a `kernel` op in, NumPy arrays out."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bireme.codegen.compile import object_code
from bireme.codegen.kernel import emit_kernel
from bireme.codegen.spec import kernel_spec
from bireme.ir import Builder, Graph, Op, TensorType, Value, evaluate
from bireme.targets.description import InstructionSet
from bireme.targets.x86.chips import LEVELS

Array = np.ndarray[Any, Any]


def group(
    inputs: Sequence[TensorType],
    body: Callable[..., Value | Sequence[Value]],
    kind: str = "pointwise",
) -> Op:
    """A graph holding one `kernel` op whose region is what `body(builder, *arguments)` builds."""
    graph = Graph()
    values = [graph.add_input(f"x{i}", t) for i, t in enumerate(inputs)]
    outer = Builder(graph)
    block = outer.block([v.type for v in values])
    inner = Builder(graph, block=block)
    results = body(inner, *block.arguments)
    inner.yield_([results] if isinstance(results, Value) else list(results))
    kernel = outer.op("kernel", values, regions=[block], kind=kind)
    graph.set_outputs([(f"y{i}", v) for i, v in enumerate(kernel.results)])
    return kernel


def run_kernel(
    kernel: Op,
    inputs: Sequence[Array],
    sizes: Mapping[str, int] | None = None,
    level: InstructionSet = LEVELS[0],
    split: int = 1,
) -> tuple[int, list[Array]]:
    """Status and results of a kernel's native code; `split` is the number of calls, of each phase
    where there are phases.
    """
    sizes = sizes or {}
    spec = kernel_spec(kernel)
    emitted = emit_kernel(spec, level)
    env = {f"s{i}": sizes[name] for i, name in enumerate(spec.symbols)}
    results = [
        np.full([evaluate(d, sizes) for d in v.type.shape], 99, v.type.dtype.numpy)
        for v in kernel.results
    ]
    arrays = [*(np.ascontiguousarray(x) for x in inputs), *results]
    addresses = np.array([a.ctypes.data for a in arrays], np.int64)
    dims = np.array([*env.values(), 0], np.int64)
    tasks = evaluate(emitted.work.tasks, env)
    scratch = np.zeros(evaluate(emitted.work.workspace, env) + 64, np.uint8)
    aligned = scratch.ctypes.data + (-scratch.ctypes.data) % 64
    function = native(emitted.function, level)
    status = 0
    phase = evaluate(emitted.work.phase, env) or tasks if split > 1 else tasks
    for first in range(0, tasks, max(1, phase)):
        for part in range(split):
            begin, end = first + phase * part // split, first + phase * (part + 1) // split
            if begin < end:
                status |= function(
                    ctypes.c_void_p(addresses.ctypes.data),
                    ctypes.c_void_p(dims.ctypes.data),
                    ctypes.c_void_p(aligned),
                    ctypes.c_int64(begin),
                    ctypes.c_int64(end),
                )
    return status, results


def native(function: Any, level: InstructionSet = LEVELS[0]) -> Any:
    """The native code of a kernel function named `kernel`, to be called by way of ctypes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.o")
        path.write_bytes(object_code(function, level))
        library = path.with_suffix(".so")
        subprocess.run(["gcc", "-shared", "-o", library, path, "-lm"], check=True)
        return ctypes.CDLL(str(library)).kernel
