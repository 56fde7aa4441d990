"""Graphs in other exporters' words compute the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from benchmarks.idioms import rewrite
from bireme import zoo
from bireme.frontend.onnx import export

SMALL = zoo.find("mobilenet_v3_small").config.stages[:2]
MODELS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "mobilenet_v1_025": ({"image_size": 32}, {"Clip", "GlobalAveragePool", "Flatten", "Gemm"}),
    "mobilenet_v3_small": (
        {"image_size": 32, "stages": SMALL},
        {"HardSwish", "HardSigmoid", "GlobalAveragePool", "Gemm"},
    ),
    "bert_tiny": ({"num_layers": 1, "vocab_size": 50}, {"LayerNormalization", "Gemm"}),
    "lstm_stack": ({"input_size": 8, "hidden_size": 8}, {"LSTM"}),
}


def run(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(None, feed))


@pytest.mark.parametrize("name", MODELS)
def test_results_stay(name: str) -> None:
    options, expected = MODELS[name]
    sizes = {"batch": 1, "seq": 5}
    plain = export(zoo.trace(name, sizes=sizes, **options))
    usual = rewrite(plain)
    kinds = Counter(node.op_type for node in usual.graph.node)
    assert expected <= kinds.keys()
    assert not kinds.keys() & {"Max", "Min", "ReduceMean"}
    feed = zoo.example(name, sizes, **options)
    for found, wanted in zip(run(usual, feed), run(plain, feed), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def graph(nodes: list[Any], constants: dict[str, Any], outputs: list[str]) -> onnx.ModelProto:
    """A model of x: float32[1, 2, 3, 3]."""
    values = [helper.make_tensor_value_info(o, TensorProto.FLOAT, [1, "c", 3, 3]) for o in outputs]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 3])
    tensors = [onnx.numpy_helper.from_array(np.float32(v), k) for k, v in constants.items()]
    body = helper.make_graph(nodes, "g", [x], values, tensors)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize(
    ("nodes", "constants", "outputs"),
    [
        # Bounds that are not numbers alone; a bound that another node needs too.
        ([("Min", "x c a"), ("Max", "a d y")], {"c": [[[1]], [[2]]], "d": 0.0}, "y"),
        ([("Min", "x c a"), ("Max", "a d y")], {"c": 6.0, "d": 0.0}, "y a"),
        # A gate with other numbers is no hard sigmoid.
        ([("Mul", "x c a"), ("Add", "a d b"), ("Clip", "b e f y")],
         {"c": 0.2, "d": 0.5, "e": 0.0, "f": 1.0}, "y"),
    ],
)  # fmt: skip
def test_what_only_looks_alike_stays(
    nodes: list[tuple[str, str]], constants: dict[str, Any], outputs: str
) -> None:
    made = [helper.make_node(kind, n.split()[:-1], n.split()[-1:]) for kind, n in nodes]
    usual = rewrite(graph(made, constants, outputs.split()))
    assert [n.op_type for n in usual.graph.node] == [kind for kind, _ in nodes]


def test_bias_joins_its_convolution() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    constants = {"w": np.ones((4, 2, 1, 1)), "b": np.arange(4).reshape(4, 1, 1)}
    plain = graph(nodes, constants, ["y"])
    usual = rewrite(plain)
    assert [(n.op_type, len(n.input)) for n in usual.graph.node] == [("Conv", 3)]
    feed = {"x": np.random.default_rng(0).standard_normal((1, 2, 3, 3), np.float32)}
    np.testing.assert_allclose(run(usual, feed)[0], run(plain, feed)[0], rtol=1e-6)
