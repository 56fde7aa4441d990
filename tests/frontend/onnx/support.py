"""Small ONNX models, written in ONNX's own text form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto

from bireme.frontend.onnx import load
from bireme.ir import Array, Graph, reference


def model(body: str, opset: int = 21, functions: str = "", extra: str = "") -> ModelProto:
    """A model from the text of its graph: `g (float[N] x) => (float[N] y) { y = Relu(x) }`."""
    head = f'<ir_version: 10, opset_import: ["" : {opset}{extra}]>'
    parsed: ModelProto = onnx.parser.parse_model(f"{head}\n{body}\n{functions}")
    return parsed


def run(
    source: ModelProto | Graph, inputs: Mapping[str, Array], **options: Any
) -> dict[str, Array]:
    """Outputs of a model through the importer and the reference."""
    graph = source if isinstance(source, Graph) else load(source, **options)
    return reference.run(graph, inputs)


def onnxruntime_run(proto: ModelProto | str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a model through ONNX Runtime, without its optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    source = proto if isinstance(proto, str) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def random(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def shape_of(graph: Graph, output: int = 0) -> str:
    """The shape of an output as text."""
    return ", ".join(map(str, graph.outputs[output].type.shape))


def op_names(graph: Graph) -> list[str]:
    """Names of the graph's ops in order, constants left out."""
    return [op.name for op in graph.walk() if op.name != "constant"]
