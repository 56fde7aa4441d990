"""Stand-ins for results of refused nodes, so that the nodes behind them can be checked too."""

from __future__ import annotations

import onnx
from onnx import ModelProto, ValueInfoProto

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.inputs import SizeNames, input_type
from bireme.ir import BiremeError, Graph


class Guesses:
    """Types that ONNX's shape inference gives; asked for only when a node is refused.

    The stand-ins become inputs of the graph, which is thrown away: a model with a refused node is.
    """

    def __init__(self, model: ModelProto, graph: Graph) -> None:
        self._model = model
        self._graph = graph
        self._types: dict[str, ValueInfoProto] | None = None

    def value(self, name: str) -> Tensor | None:
        """A stand-in for the value `name`, or None when its type is not known."""
        if self._types is None:
            self._types = self._infer()
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

    def _infer(self) -> dict[str, ValueInfoProto]:
        plain = ModelProto()
        plain.CopyFrom(self._model)
        # Inference would expand functions that call functions without a limit.
        del plain.functions[:]
        try:
            graph = onnx.shape_inference.infer_shapes(plain).graph
        except Exception:  # shape inference raises whatever its C++ code throws
            graph = plain.graph
        return {info.name: info for info in [*graph.value_info, *graph.output]}
