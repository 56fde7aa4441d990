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
    `libraries` are the Python modules that `load` and its function need: they are imported before
    the clock of the first result starts. `slow` ones take
    minutes to install or to convert, and run only when asked for.
    """

    title: str
    module: str
    requirements: str
    packages: tuple[str, ...]
    libraries: tuple[str, ...]
    precision: str = "float32"
    slow: bool = False


ENGINES = {
    "bireme": Engine("Bireme", "bireme_", "", ("bireme",), ("bireme.runtime",)),
    "bireme_bf16": Engine("Bireme", "bireme_", "", ("bireme",), ("bireme.runtime",), "bfloat16"),
    "bireme_tuned": Engine(
        "Bireme, tuned", "bireme_tuned", "", ("bireme",), ("bireme.runtime",), slow=True
    ),
    "onnxruntime": Engine(
        "ONNX Runtime", "onnxruntime_", "onnxruntime", ("onnxruntime",), ("onnxruntime",)
    ),
    "openvino": Engine("OpenVINO", "openvino_", "openvino", ("openvino",), ("openvino",)),
    "openvino_bf16": Engine(
        "OpenVINO", "openvino_", "openvino", ("openvino",), ("openvino",), "bfloat16"
    ),
    "mnn": Engine("MNN", "mnn", "mnn", ("MNN",), ("MNN", "MNN.expr", "MNN.nn")),
    "ncnn": Engine("ncnn", "ncnn_", "ncnn", ("ncnn", "pnnx"), ("ncnn",), slow=True),
    "litert": Engine(
        "LiteRT",
        "litert",
        "litert",
        ("ai-edge-litert", "litert-torch"),
        ("ai_edge_litert.interpreter",),
        slow=True,
    ),
    "executorch": Engine(
        "ExecuTorch XNNPACK",
        "executorch_",
        "executorch",
        ("executorch",),
        ("torch", "executorch.extension.pybindings.portable_lib", "executorch.runtime"),
        slow=True,
    ),
    "inductor": Engine(
        "torch inductor",
        "inductor",
        "torch",
        ("torch",),
        ("torch._inductor.compile_fx", "benchmarks.engines.onnx_torch"),
        slow=True,
    ),
    "paddle": Engine(
        "Paddle Inference", "paddle_", "paddle", ("paddlepaddle",), ("paddle.inference",), slow=True
    ),
    "iree": Engine(
        "IREE",
        "iree_",
        "iree",
        ("iree-base-compiler", "iree-base-runtime"),
        ("iree.runtime",),
        slow=True,
    ),
    "tvm": Engine("TVM Relax, untuned", "tvm_", "tvm", ("apache-tvm",), ("tvm.relax",), slow=True),
}
REFERENCE = "onnxruntime"
