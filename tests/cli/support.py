"""What tests of commands share: calling one, and small models to call it on."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from bireme.cli.app import app


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def model(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    """A model from x [batch, 8] to z."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    data = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "small", [x], [z], data)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
