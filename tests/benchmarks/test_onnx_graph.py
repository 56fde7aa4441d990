"""Graphs as calls of a framework: here NumPy stands for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.engines import onnx_graph


def model(nodes: list[Any], constants: dict[str, Any]) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "y")]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], tensors))


def test_calls_in_order_with_the_constants_that_they_use() -> None:
    nodes = [
        helper.make_node("Add", ["x", "c"], ["a"]),
        helper.make_node("Reshape", ["a", "s"], ["b"]),
        helper.make_node("Slice", ["b", "from", "to", "axis"], ["y"]),
    ]
    constants = {
        "c": np.float32(1),
        "s": np.array([0, 6]),
        "from": np.array([1]),
        "to": np.array([3]),
        "axis": np.array([-1]),
        "unused": np.float32(0),
    }
    table: dict[str, onnx_graph.Maker] = {
        "Add": lambda a, _: np.add,
        "Reshape": onnx_graph.reshape,
        "Slice": onnx_graph.cut,
    }
    calls = onnx_graph.calls(model(nodes, constants), table)
    assert (calls.arguments, calls.results) == (["x"], ["y"])
    assert "unused" not in calls.constants
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    (y,) = calls.run(calls.constants, (x,))
    np.testing.assert_array_equal(y, (x + 1).reshape(2, 6)[:, 1:3])


def test_all_unknown_operators_are_named_at_once() -> None:
    nodes = [helper.make_node("Tan", ["x"], ["a"]), helper.make_node("Cos", ["a"], ["y"])]
    with pytest.raises(NotImplementedError, match="operators Cos, Tan"):
        onnx_graph.calls(model(nodes, {}), {})


def test_gates_are_reordered() -> None:
    """With one unit a row is a gate: ONNX's i, o, f, c become i, f, c, o, and z, r, h r, z, h."""
    lstm = [None, np.arange(4.0).reshape(1, 4, 1), np.zeros((1, 4, 1)), np.arange(8.0)[None]]
    found = onnx_graph.recurrent_weights("LSTM", {"hidden_size": 1}, lstm)
    assert found["weight_ih_l0"].ravel().tolist() == [0, 2, 3, 1]
    assert found["bias_hh_l0"].tolist() == [4, 6, 7, 5]
    gru = [None, np.arange(6.0).reshape(2, 3, 1), np.zeros((2, 3, 1)), np.zeros((2, 6))]
    options = {"hidden_size": 1, "linear_before_reset": 1}
    found = onnx_graph.recurrent_weights("GRU", options, gru)
    assert found["weight_ih_l0_reverse"].ravel().tolist() == [4, 3, 5]
    with pytest.raises(NotImplementedError, match="linear_before_reset"):
        onnx_graph.recurrent_weights("GRU", {"hidden_size": 1}, gru)


def test_uneven_padding_is_refused() -> None:
    assert onnx_graph.symmetric([1, 2, 1, 2]) == [1, 2]
    with pytest.raises(NotImplementedError):
        onnx_graph.symmetric([0, 0, 1, 1])
