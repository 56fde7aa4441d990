"""ONNX Runtime as an independent implementation: models of one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from bireme.ir import Array


def onnx_type(dtype: Any) -> int:
    """ONNX's number of an element type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def peer(
    op_type: str,
    inputs: Sequence[Array | None],
    *,
    outputs: int = 1,
    opset: int = 22,
    **attrs: Any,
) -> list[Array]:
    """What ONNX Runtime gives for one node; `None` leaves an optional input out."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    given = {f"x{i}": np.asarray(x) for i, x in enumerate(inputs) if x is not None}
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, results, **attrs)
    graph = helper.make_graph(
        [node],
        "one_node",
        [
            helper.make_tensor_value_info(name, onnx_type(x.dtype), list(x.shape))
            for name, x in given.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Array] = session.run(results, given)
    return found
