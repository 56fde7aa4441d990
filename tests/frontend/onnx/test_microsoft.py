"""Operators of ONNX Runtime's own domain, compared with ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from bireme.ir import Array
from tests.frontend.onnx.support import onnxruntime_run, random, run


def bytes_of(*shape: int, seed: int = 0, dtype: type = np.uint8) -> Array:
    """Random 8-bit integers."""
    limits = np.iinfo(dtype)
    values = np.random.default_rng(seed).integers(limits.min, limits.max, shape, endpoint=True)
    return values.astype(dtype)


def single(
    op: str,
    inputs: dict[str, Array],
    constants: tuple[str, ...] = (),
    outputs: int = 1,
    **attrs: Any,
) -> tuple[Any, dict[str, Array]]:
    """A model of one node whose inputs are these, some of them constants, and what to feed."""
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, list(inputs), made, domain="com.microsoft", **attrs)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in inputs.items()
        if n not in constants
    ]
    fixed = [
        helper.make_tensor(
            n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape, v.tobytes(), raw=True
        )
        for n, v in inputs.items()
        if n in constants
    ]
    results = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in made]
    for result in results:
        result.ClearField("type")
    graph = helper.make_graph([node], "one", infos, results, fixed)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model, {n: v for n, v in inputs.items() if n not in constants}


SCALE, ZERO = np.float32(0.05), np.uint8(120)
SMALL, ONE = np.float32(1 / 256), np.uint8(0)


def quantized(**more: Array) -> dict[str, Array]:
    """Arrays of scalars and tensors in order."""
    return {k: np.asarray(v) for k, v in more.items()}


FLOAT_CASES: dict[str, tuple[str, dict[str, Array], tuple[str, ...], dict[str, Any]]] = {
    "gelu": ("Gelu", {"x": random(3, 8)}, (), {}),
    "fast_gelu": ("FastGelu", {"x": random(3, 8), "b": random(8, seed=1)}, (), {}),
    "bias_gelu": ("BiasGelu", {"x": random(3, 8), "b": random(8, seed=1)}, (), {}),
    "quick_gelu": ("QuickGelu", {"x": random(3, 8)}, (), {"alpha": 1.5}),
    "fused_matmul": (
        "FusedMatMul",
        {"a": random(2, 4, 3), "b": random(2, 5, 4, seed=1)},
        (),
        {"transA": 1, "transB": 1, "alpha": 0.5},
    ),
    "fused_conv": (
        "FusedConv",
        {"x": random(1, 3, 6, 6), "w": random(4, 3, 3, 3, seed=1), "b": random(4, seed=2)},
        ("w", "b"),
        {"activation": "Relu", "pads": [1, 1, 1, 1]},
    ),
    "skip_layer_norm": (
        "SkipLayerNormalization",
        {"x": random(2, 3, 8), "s": random(2, 3, 8, seed=1), "g": random(8, seed=2),
         "b": random(8, seed=3), "bias": random(8, seed=4)},
        ("g", "b", "bias"),
        {"epsilon": 1e-5},
    ),
    "attention": (
        "Attention",
        {"x": random(2, 5, 8), "w": random(8, 24, seed=1), "b": random(24, seed=2),
         "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)},
        ("w", "b"),
        {"num_heads": 2},
    ),
    "causal_attention": (
        "Attention",
        {"x": random(2, 5, 8), "w": random(8, 24, seed=1), "b": random(24, seed=2)},
        ("w", "b"),
        {"num_heads": 2, "unidirectional": 1},
    ),
    "multi_head_attention": (
        "MultiHeadAttention",
        {"q": random(2, 4, 8), "k": random(2, 6, 8, seed=1), "v": random(2, 6, 8, seed=2),
         "b": random(24, seed=3)},
        ("b",),
        {"num_heads": 4},
    ),
    "matmul_4_bits": (
        "MatMulNBits",
        {"x": random(3, 40), "w": bytes_of(5, 3, 8), "s": random(15, seed=1),
         "z": bytes_of(10, seed=2)},
        ("w", "s", "z"),
        {"K": 40, "N": 5, "bits": 4, "block_size": 16},
    ),
    "matmul_4_bits_plain": (
        "MatMulNBits",
        {"x": random(3, 32), "w": bytes_of(5, 2, 8), "s": random(10, seed=1)},
        ("w", "s"),
        {"K": 32, "N": 5, "bits": 4, "block_size": 16},
    ),
    "dynamic_matmul": (
        "DynamicQuantizeMatMul",
        {"x": random(3, 16), "w": bytes_of(16, 5), "s": np.float32([0.02]), "z": np.uint8([100])},
        ("w", "s", "z"),
        {},
    ),
}  # fmt: skip

QUANTIZED_CASES: dict[str, tuple[str, dict[str, Array], dict[str, Any]]] = {
    "add": (
        "QLinearAdd",
        quantized(a=bytes_of(3, 8), sa=SCALE, za=ZERO, b=bytes_of(8, seed=1), sb=SCALE, zb=ZERO,
                  sy=np.float32(0.08), zy=ZERO),
        {},
    ),
    "mul": (
        "QLinearMul",
        quantized(a=bytes_of(3, 8), sa=SCALE, za=ZERO, b=bytes_of(8, seed=1), sb=SCALE, zb=ZERO,
                  sy=np.float32(0.3), zy=ZERO),
        {},
    ),
    "sigmoid": (
        "QLinearSigmoid",
        quantized(a=bytes_of(3, 8), s=SCALE, z=ZERO, sy=SMALL, zy=ONE),
        {},
    ),
    "leaky_relu": (
        "QLinearLeakyRelu",
        quantized(a=bytes_of(3, 8), s=SCALE, z=ZERO, sy=SCALE, zy=ZERO),
        {"alpha": 0.1},
    ),
    "softmax": (
        "QLinearSoftmax",
        quantized(a=bytes_of(3, 8), s=SCALE, z=ZERO, sy=SMALL, zy=ONE),
        {"axis": -1, "opset": 13},
    ),
    "global_average_pool": (
        "QLinearGlobalAveragePool",
        quantized(a=bytes_of(2, 3, 4, 4), s=SCALE, z=ZERO, sy=SCALE, zy=ZERO),
        {},
    ),
    "average_pool": (
        "QLinearAveragePool",
        quantized(a=bytes_of(2, 3, 6, 6), s=SCALE, z=ZERO, sy=SCALE, zy=ZERO),
        {"kernel_shape": [3, 3], "strides": [2, 2]},
    ),
    "concat": (
        "QLinearConcat",
        quantized(sy=SCALE, zy=ZERO, a=bytes_of(2, 3), sa=SCALE, za=ZERO,
                  b=bytes_of(2, 4, seed=1), sb=np.float32(0.02), zb=np.uint8(10)),
        {"axis": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOAT_CASES)
def test_float_operator(name: str) -> None:
    op, inputs, constants, attrs = FLOAT_CASES[name]
    model, feed = single(op, inputs, constants, **attrs)
    expected, found = onnxruntime_run(model, feed)["y0"], run(model, feed)["y0"]
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", QUANTIZED_CASES)
def test_quantized_operator(name: str) -> None:
    """Equal but for values that lie halfway between two steps."""
    op, inputs, attrs = QUANTIZED_CASES[name]
    constants = tuple(k for k, v in inputs.items() if v.ndim == 0)
    model, feed = single(op, inputs, constants, **attrs)
    expected, found = onnxruntime_run(model, feed)["y0"], run(model, feed)["y0"]
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert expected.std() > 0
    steps = np.abs(found.astype(int) - expected.astype(int))
    assert steps.max() <= 1
    assert (steps > 0).mean() < 0.05


def test_embeddings_with_position_and_segment() -> None:
    inputs = {
        "ids": np.array([[1, 2, 3], [4, 0, 2]], np.int32),
        "segments": np.array([[0, 0, 1], [1, 0, 0]], np.int32),
        "words": random(6, 8),
        "places": random(5, 8, seed=1),
        "kinds": random(2, 8, seed=2),
        "g": random(8, seed=3),
        "b": random(8, seed=4),
        "mask": np.array([[1, 1, 1], [1, 1, 0]], np.int32),
    }
    constants = ("words", "places", "kinds", "g", "b")
    model, feed = single("EmbedLayerNormalization", inputs, constants, outputs=2, epsilon=1e-6)
    expected, found = onnxruntime_run(model, feed), run(model, feed)
    np.testing.assert_allclose(found["y0"], expected["y0"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["y1"], expected["y1"])
