"""TVM's Relax with its default pipeline for this CPU, untuned."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    cpu = tvm.target.codegen.llvm_get_system_cpu()
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": os.cpu_count()})
    module = from_onnx(onnx.load(folder / "model.onnx"), keep_params_in_input=False)
    tvm.compile(module, target=target).export_library(str(folder / "tvm.so"))


def load(folder: Path, threads: int, precision: str) -> Run:
    os.environ["TVM_NUM_THREADS"] = str(threads)
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(str(folder / "tvm.so")), tvm.cpu())

    def run(feed: Feed) -> list[object]:
        found = machine["main"](*[tvm.runtime.tensor(array) for array in feed.values()])
        results = found if hasattr(found, "__len__") and not hasattr(found, "shape") else [found]
        return [result.numpy() for result in results]

    return run
