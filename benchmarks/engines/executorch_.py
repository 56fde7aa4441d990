"""ExecuTorch with everything that XNNPACK takes given to it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from benchmarks.engines.onnx_torch import load_module

    module, inputs = load_module(folder)
    with torch.no_grad():
        exported = torch.export.export(module, inputs)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    (folder / "model.pte").write_bytes(lowered.to_executorch().buffer)


def load(folder: Path, threads: int, precision: str) -> Run:
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(folder / "model.pte").load_method("forward")
    if method is None:
        raise RuntimeError("the program has no forward")

    def run(feed: Feed) -> list[object]:
        found = method.execute([torch.from_numpy(array) for array in feed.values()])
        return [value.numpy() for value in found]

    return run
