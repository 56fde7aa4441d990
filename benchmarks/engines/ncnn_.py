"""ncnn in full float32, converted by pnnx."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    import pnnx

    program = Path(pnnx.__file__).parent / "pnnx"
    subprocess.run([program, "model.onnx", "fp16=0"], cwd=folder, check=True, stdout=2)
    if not (folder / "model.ncnn.param").exists():
        raise RuntimeError("pnnx wrote no model")


def load(folder: Path, threads: int, precision: str) -> Run:
    import ncnn
    import numpy as np

    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    net.opt.use_bf16_storage = False
    if net.load_param(str(folder / "model.ncnn.param")):
        raise RuntimeError("ncnn cannot load the model: an operator is missing")
    if net.load_model(str(folder / "model.ncnn.bin")):
        raise RuntimeError("ncnn cannot load the weights")

    def run(feed: Feed) -> list[object]:
        extractor = net.create_extractor()
        for name, array in zip(net.input_names(), feed.values(), strict=True):
            # Pictures and texts have no batch axis there, and integers have 32 bits.
            value = array[0] if array.ndim > 1 and array.shape[0] == 1 else array
            narrow = value.astype(np.int32) if value.dtype == np.int64 else value
            extractor.input(name, ncnn.Mat(np.ascontiguousarray(narrow)))
        outputs: list[object] = []
        for name in net.output_names():
            status, found = extractor.extract(name)
            if status:
                raise RuntimeError(f"ncnn cannot compute {name}")
            outputs.append(np.array(found))
        return outputs

    return run
