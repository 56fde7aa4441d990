"""What tests of the tuner share: a small model, and kernels that are at fault."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bireme.codegen.build import Job, Workers
from bireme.codegen.cache import CompiledKernel
from bireme.ir import BiremeError, Builder, DType, Graph, TensorType
from bireme.targets.registry import find

TARGET = find("x86:znver4")


def network(rows: int = 60) -> Graph:
    """Two products and row statistics: [rows, 64] → [rows, 96], some microseconds each."""
    graph = Graph("net")
    x = graph.add_input("x", TensorType(DType.F32, (rows, 64)))
    b = Builder(graph)
    rng = np.random.default_rng(0)

    def weight(*shape: int):
        name = "w" + "x".join(map(str, shape))
        return b.constant(rng.standard_normal(shape).astype(np.float32) / 8, name)

    hidden = b.relu(b.matmul(x, weight(64, 160)))
    graph.set_outputs([("y", b.softmax(b.matmul(hidden, weight(160, 96)), axis=-1))])
    return graph


def native(folder: Path, body: str) -> bytes:
    """The object of a kernel whose C statements are `body`."""
    (folder / "kernel.c").write_text(
        "int kernel(void** a, long* d, void* w, long begin, long end) {" + body + "}"
    )
    command = ["gcc", "-c", "-fPIC", "-O1", "-o", "kernel.o", "kernel.c"]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / "kernel.o").read_bytes()


class Tampered(Workers):
    """Compiles in this process; candidates, not the default, get the object `code`, or with None
    an error.
    """

    def __init__(self, code: bytes | None) -> None:
        super().__init__(TARGET, 0)
        self._code = code

    def compile(
        self, jobs: Sequence[Job], seconds: float | None = None
    ) -> Iterator[tuple[Job, CompiledKernel | BiremeError]]:
        for job, kernel in super().compile(jobs, seconds):
            if not job.choice.own or isinstance(kernel, BiremeError):
                yield job, kernel
            elif self._code is None:
                yield job, BiremeError("BM3005", "not today")
            else:
                yield job, replace(kernel, code=self._code)
