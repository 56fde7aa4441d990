"""PyTorch's inductor with frozen weights."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    from benchmarks.engines.onnx_torch import load_module

    load_module(folder)  # compiling is part of loading; what is not known shows here


def load(folder: Path, threads: int, precision: str) -> Run:
    import torch
    import torch._inductor.config as config

    from benchmarks.engines.onnx_torch import load_module

    torch.set_num_threads(threads)
    config.freezing = True
    module, _ = load_module(folder)
    compiled = torch.compile(module)

    def run(feed: Feed) -> list[object]:
        with torch.inference_mode():
            found = compiled(*[torch.from_numpy(feed[name]) for name in module.calls.arguments])
        return [value.numpy() for value in found]

    return run
