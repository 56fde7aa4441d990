"""Attention as exporters write it becomes one kernel."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bireme import zoo
from bireme.frontend import onnx as frontend
from bireme.ir import Graph
from bireme.passes.pipeline import optimise
from bireme.targets.registry import find

F32 = TensorProto.FLOAT
HEADS, SIZE = 2, 16
WIDTH = HEADS * SIZE


def kinds(graph: Graph) -> list[str]:
    optimise(graph, find("x86").description)
    return [op.attrs["kind"] for op in graph.body.ops if op.name == "kernel"]


def from_nodes(nodes, weights, inputs, domains=(("", 17),)) -> Graph:
    made = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, F32, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", F32, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    return frontend.load(helper.make_model(made, opset_imports=opsets, ir_version=9))


@pytest.mark.parametrize("sizes", [{}, {"batch": 1, "seq": 20}], ids=["any size", "fixed"])
def test_bert(sizes):
    graph = zoo.trace("bert_tiny", vocab_size=50, sizes=sizes)
    again = frontend.load(frontend.export(graph))
    assert kinds(again).count("attention") == 2


def test_vit():
    graph = zoo.trace("vit_tiny", image_size=64, num_layers=1, sizes={"batch": 1})
    assert kinds(frontend.load(frontend.export(graph))).count("attention") == 1


def test_scaled_operands():
    """PyTorch's scaled_dot_product_attention: both operands are scaled by a root, then masked."""
    rng = np.random.default_rng(0)
    shape = {"x": ["n", "s", WIDTH], "mask": ["n", 1, 1, "s"]}
    weights = {f"w{p}": rng.standard_normal((WIDTH, WIDTH), np.float32) for p in "qkv"}
    weights["root"] = np.float32(SIZE**-0.25)
    weights["heads"] = np.array([0, 0, HEADS, SIZE])
    weights["joined"] = np.array([0, 0, WIDTH])
    nodes = []
    for p, perm in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3))):
        nodes += [
            helper.make_node("MatMul", ["x", f"w{p}"], [f"{p}1"]),
            helper.make_node("Reshape", [f"{p}1", "heads"], [f"{p}2"]),
            helper.make_node("Transpose", [f"{p}2"], [f"{p}3"], perm=perm),
            helper.make_node("Mul", [f"{p}3", "root"], [f"{p}4"]),
        ]
    nodes += [
        helper.make_node("MatMul", ["q4", "k4"], ["s1"]),
        helper.make_node("Add", ["s1", "mask"], ["s2"]),
        helper.make_node("Softmax", ["s2"], ["s3"], axis=-1),
        helper.make_node("MatMul", ["s3", "v3"], ["y1"]),
        helper.make_node("Transpose", ["y1"], ["y2"], perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["y2", "joined"], ["y"]),
    ]
    assert kinds(from_nodes(nodes, weights, shape)).count("attention") == 1


@pytest.mark.parametrize("op", ["Attention", "MultiHeadAttention"])
def test_microsoft(op):
    domains = (("", 17), ("com.microsoft", 1))
    rng = np.random.default_rng(0)
    if op == "Attention":
        weights = {
            "w": rng.standard_normal((WIDTH, 3 * WIDTH), np.float32),
            "b": rng.standard_normal(3 * WIDTH, np.float32),
        }
        inputs = {"x": ["n", "s", WIDTH]}
        operands = ["x", "w", "b"]
    else:
        weights = {}
        inputs = {name: ["n", "s", WIDTH] for name in "qkv"}
        operands = list("qkv")
    node = helper.make_node(op, operands, ["y"], domain="com.microsoft", num_heads=HEADS)
    assert kinds(from_nodes([node], weights, inputs, domains)).count("attention") == 1


def test_small_heads_stay_products_and_a_softmax():
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    for rows, size, keys, fused in (
        (32, 16, 32, True),
        (32, 15, 32, False),
        (32, 16, 15, False),
        (3, 16, 48, True),
        (3, 16, 49, False),
    ):
        shapes = {"q": [2, rows, size], "k": [2, size, keys], "v": [2, keys, 16]}
        found = kinds(from_nodes(nodes, {}, shapes))
        assert ("attention" in found) == fused, (rows, size, keys)
