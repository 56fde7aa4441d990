"""IREE, compiled for this CPU at its highest level of optimisation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.engines import Feed, Run

OPTIONS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
)


def convert(folder: Path, precision: str) -> None:
    from iree.compiler.tools import compile_file

    text = folder / "iree.mlir"
    command = [sys.executable, "-m", "iree.compiler.tools.import_onnx"]
    command += [str(folder / "model.onnx"), "--opset-version", "17", "-o", str(text)]
    subprocess.run(command, check=True, stdout=2)
    compile_file(
        str(text),
        input_type="onnx",
        output_file=str(folder / "model.vmfb"),
        extra_args=list(OPTIONS),
    )


def load(folder: Path, threads: int, precision: str) -> Run:
    import iree.runtime
    import numpy as np

    if threads > 1:
        iree.runtime.flags.parse_flags(f"--task_topology_max_group_count={threads}")
    device = iree.runtime.get_device("local-task" if threads > 1 else "local-sync")
    config = iree.runtime.Config(device=device)
    module = iree.runtime.load_vm_module(
        iree.runtime.VmModule.mmap(config.vm_instance, str(folder / "model.vmfb")), config
    )
    (name,) = [
        n
        for n in module.vm_module.function_names
        if not n.startswith("__") and not n.endswith("$async")
    ]
    function = module[name]

    def run(feed: Feed) -> list[object]:
        found = function(*feed.values())
        results = found if isinstance(found, (list, tuple)) else [found]
        return [np.asarray(result) for result in results]

    return run
