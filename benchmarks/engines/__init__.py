"""The engines, one line each.

An engine is a module of this folder with two functions:

    convert(folder, precision)          makes its own form of folder/model.onnx, in the same folder;
                                        folder/feed.npz has an example of the inputs
    load(folder, threads, precision)    gives a function from inputs by name to outputs in order

It is imported in the engine's own environment, where nothing but NumPy and what its requirements
file names is installed. Either may raise: the text becomes the reason in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Feed = dict[str, Any]
Run = Callable[[Feed], list[Any]]


@dataclass(frozen=True)
class Engine:
    """An engine in one precision.

    `module` is in this folder; `requirements` a file of benchmarks/requirements without its ending,
    or "" for this project's own environment; `packages` are those whose versions are reported.
    `slow` ones take minutes to install or to convert, and run only when asked for.
    """

    title: str
    module: str
    requirements: str
    packages: tuple[str, ...]
    precision: str = "float32"
    slow: bool = False


ENGINES = {
    "bireme": Engine("Bireme", "bireme_", "", ("bireme",)),
    "bireme_bf16": Engine("Bireme", "bireme_", "", ("bireme",), "bfloat16"),
    "onnxruntime": Engine("ONNX Runtime", "onnxruntime_", "onnxruntime", ("onnxruntime",)),
    "openvino": Engine("OpenVINO", "openvino_", "openvino", ("openvino",)),
    "openvino_bf16": Engine("OpenVINO", "openvino_", "openvino", ("openvino",), "bfloat16"),
    "mnn": Engine("MNN", "mnn", "mnn", ("MNN",)),
    "ncnn": Engine("ncnn", "ncnn_", "ncnn", ("ncnn", "pnnx"), slow=True),
    "litert": Engine("LiteRT", "litert", "litert", ("ai-edge-litert", "litert-torch"), slow=True),
    "executorch": Engine(
        "ExecuTorch XNNPACK", "executorch_", "executorch", ("executorch",), slow=True
    ),
    "inductor": Engine("torch inductor", "inductor", "torch", ("torch",), slow=True),
    "paddle": Engine("Paddle Inference", "paddle_", "paddle", ("paddlepaddle",), slow=True),
    "iree": Engine("IREE", "iree_", "iree", ("iree-base-compiler", "iree-base-runtime"), slow=True),
    "tvm": Engine("TVM Relax, untuned", "tvm_", "tvm", ("apache-tvm",), slow=True),
}
REFERENCE = "onnxruntime"
