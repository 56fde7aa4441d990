"""Exported graphs give the same numbers in ONNX Runtime as in the reference."""

from __future__ import annotations

import numpy as np
import pytest

from bireme import zoo
from bireme.frontend.onnx import export
from bireme.frontend.onnx.export_ops import EXPORTS
from bireme.ir import OPS, BiremeError, Builder, DType, Graph, TensorType, reference, symbol
from tests.frontend.onnx.support import onnxruntime_run, random

# Ops that ONNX has no form of: blocked layouts and fused kernels exist only between passes, and
# nothing there fills part of a buffer; its random operators take no key.
WITHOUT = {"kernel", "pack_channels", "unpack_channels"}
WITHOUT |= {"bind", "compact", "prefix", "sort_rows", "suppress"}
WITHOUT |= {"random_key", "random_normal", "random_uniform"}


def test_every_op_is_exported_or_known_not_to_be() -> None:
    assert set(EXPORTS) | WITHOUT == set(OPS)
    assert not set(EXPORTS) & WITHOUT


def test_symbolic_sizes_are_computed_from_the_inputs() -> None:
    n = symbol("n")
    graph = Graph("sizes")
    x = graph.add_input("x", TensorType(DType.F32, (n, 6)))
    b = Builder(graph, node="here")
    half = b.slice(x, starts=(0, 0), sizes=((n + 1) // 2, 6), steps=(2, 1))
    tall = b.reshape(half, shape=((n + 1) // 2 * 3, 2))
    ramp = b.iota(shape=((n + 1) // 2 * 3, 2), axis=0, dtype=DType.F32)
    size = b.cast(b.dim_values(values=(n * 2 - 1, n % 3)), dtype=DType.F32)
    graph.set_outputs({"y": b.add(b.add(tall, ramp), size)})
    model = export(graph)
    for rows in (1, 4, 7):
        inputs = {"x": random(rows, 6)}
        expected = reference.run(graph, inputs)["y"]
        np.testing.assert_allclose(onnxruntime_run(model, inputs)["y"], expected, rtol=1e-6)


def test_backward_slice_and_float_modulus() -> None:
    graph = Graph("slices")
    x = graph.add_input("x", TensorType(DType.F32, (5, 3)))
    b = Builder(graph)
    flipped = b.slice(x, starts=(4, 2), sizes=(5, 2), steps=(-1, -1))
    three = b.constant(np.float32(-0.75))
    graph.set_outputs({"y": b.mod(flipped, three)})
    inputs = {"x": random(5, 3)}
    found = onnxruntime_run(export(graph), inputs)["y"]
    np.testing.assert_allclose(found, reference.run(graph, inputs)["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm_with_lengths_and_peepholes(direction: str) -> None:
    ways = 2 if direction == "bidirectional" else 1
    graph = Graph("lstm")
    shapes = {"x": (4, 2, 3), "w": (ways, 20, 3), "r": (ways, 20, 5), "b": (ways, 40),
              "h": (ways, 2, 5), "c": (ways, 2, 5)}  # fmt: skip
    values = [graph.add_input(k, TensorType(DType.F32, s)) for k, s in shapes.items()]
    b = Builder(graph)
    lengths = b.constant(np.array([4, 2], np.int32))
    peephole = b.constant(random(ways, 15, seed=9) * 0.1)
    y, h, c = b.lstm(
        *values, lengths, peephole, direction=direction,
        activations=("sigmoid", "tanh", "tanh") * ways,
    )  # fmt: skip
    graph.set_outputs({"y": y, "last": h, "cell": c})
    inputs = {k: random(*s, seed=i) for i, (k, s) in enumerate(shapes.items())}
    expected, found = reference.run(graph, inputs), onnxruntime_run(export(graph), inputs)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_regions_read_outer_values() -> None:
    graph = Graph("regions")
    x = graph.add_input("x", TensorType(DType.F32, (3,)))
    c = graph.add_input("c", TensorType(DType.BOOL, ()))
    b = Builder(graph)
    blocks = []
    for sign in (1.0, -2.0):
        block = b.block()
        inner = Builder(graph, block=block)
        inner.yield_([inner.mul(x, inner.constant(np.float32(sign)))])
        blocks.append(block)
    graph.set_outputs({"y": b.op("if", [c], blocks).result})
    model = export(graph)
    for choice in (True, False):
        inputs = {"x": random(3), "c": np.array(choice)}
        expected = reference.run(graph, inputs)["y"]
        np.testing.assert_allclose(onnxruntime_run(model, inputs)["y"], expected)


@pytest.mark.parametrize("name", ["mobilenet_v1_025", "resnet18", "bert_tiny", "lstm_classifier"])
def test_zoo_model_at_a_size_chosen_after_export(name: str) -> None:
    graph = zoo.trace(name)
    model = export(graph)
    inputs = zoo.example(name, sizes={"batch": 2, "seq": 5})
    found = onnxruntime_run(model, inputs)
    for key, expected in reference.run(graph, inputs).items():
        np.testing.assert_allclose(found[key], expected, rtol=1e-4, atol=1e-5)


def test_all_ops_without_a_form_are_listed() -> None:
    graph = Graph("blocked")
    x = graph.add_input("x", TensorType(DType.F32, (1, 4, 8)))
    b = Builder(graph)
    packed = b.at("packing").pack_channels(x, block=4)
    graph.set_outputs({"y": b.at("unpacking").unpack_channels(packed, channels=4)})
    with pytest.raises(BiremeError) as error:
        export(graph)
    assert error.value.code == "BM1003"
    assert "packing: pack_channels" in error.value.detail
    assert "unpacking: unpack_channels" in error.value.detail


def test_scan_that_only_carries() -> None:
    graph = Graph("total")
    xs = graph.add_input("xs", TensorType(DType.F32, (5, 3)))
    start = graph.add_input("start", TensorType(DType.F32, (3,)))
    b = Builder(graph)
    body = b.block([start.type, start.type])
    inner = Builder(graph, block=body)
    inner.yield_([inner.add(*body.arguments)])
    graph.set_outputs({"y": b.op("scan", [start, xs], regions=[body], carries=1).result})
    inputs = {"xs": random(5, 3), "start": random(3)}
    found = onnxruntime_run(export(graph), inputs)["y"]
    np.testing.assert_allclose(found, reference.run(graph, inputs)["y"], rtol=1e-6)
