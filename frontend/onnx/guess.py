"""Stand-ins for results of refused nodes, so that the nodes behind them can be checked too."""

from __future__ import annotations

import math
import subprocess
import sys

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto, ValueInfoProto

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.inputs import SizeNames, input_type
from bireme.ir import BiremeError, Graph

# Tensors of more elements are no shapes; inference does without their data.
_MOST_KEPT = 1024
_SECONDS = 30
_PROGRAM = """
import sys, onnx
model = onnx.load_model_from_string(sys.stdin.buffer.read())
sys.stdout.buffer.write(onnx.shape_inference.infer_shapes(model).SerializeToString())
"""


class Guesses:
    """Types that ONNX's shape inference gives; asked for only when a node is refused.

    The stand-ins become inputs of the graph, which is thrown away: a model with a refused node is.
    """

    def __init__(self, model: ModelProto, graph: Graph) -> None:
        self._model = model
        self._graph = graph
        self._read = {name for node in model.graph.node for name in node.input}
        self._types: dict[str, ValueInfoProto] | None = None

    def value(self, name: str) -> Tensor | None:
        """A stand-in for the value `name`; None when nothing reads it or its type is not known."""
        if name not in self._read:
            return None
        if self._types is None:
            self._types = _types(self._model)
        info = self._types.get(name)
        if info is None:
            return None
        try:
            tensor = input_type(info, SizeNames({}))
        except BiremeError:
            return None
        stand_in = Tensor(tensor, self._graph.add_input(f"refused {name}", tensor))
        stand_in.guess = True
        return stand_in


def _types(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Types of values by name: inferred ones, or those that the model states."""
    plain = ModelProto()
    plain.CopyFrom(model)
    # Inference would expand functions that call functions without a limit.
    del plain.functions[:]
    for tensor in plain.graph.initializer:
        if math.prod(tensor.dims) > _MOST_KEPT:
            bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            tensor.CopyFrom(bare)
    graph = (_inferred(plain) or plain).graph
    return {info.name: info for info in [*graph.value_info, *graph.output]}


def _inferred(model: ModelProto) -> ModelProto | None:
    """The model with inferred types. In a process of its own: malformed models crash inference."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=model.SerializeToString(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        result = ModelProto()
        result.ParseFromString(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError, DecodeError):
        return None
    return result
