"""Operators of ONNX Runtime's own domain, compared with ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from bireme.ir import Array, BiremeError
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
    "attention_of_lengths": (
        "Attention",
        {"x": random(2, 5, 8), "w": random(8, 24, seed=1), "b": random(24, seed=2),
         "lengths": np.array([5, 3], np.int32)},
        ("w", "b"),
        {"num_heads": 2},
    ),
    "attention_between_ends": (
        "Attention",
        {"x": random(2, 5, 8), "w": random(8, 24, seed=1), "b": random(24, seed=2),
         "ends": np.array([5, 3, 2, 0], np.int32)},
        ("w", "b"),
        {"num_heads": 2},
    ),
    "attention_with_rows_masked": (
        "Attention",
        {"x": random(2, 3, 8), "w": random(8, 24, seed=1), "b": random(24, seed=2),
         "mask": np.array([[[1, 0, 0], [1, 1, 0], [1, 1, 1]]] * 2, np.int32)},
        ("w", "b"),
        {"num_heads": 2},
    ),
    "fused_gemm": (
        "FusedGemm",
        {"a": random(4, 3), "b": random(5, 3, seed=1), "c": random(5, seed=2)},
        ("b", "c"),
        {"transB": 1, "alpha": 0.5, "activation": "LeakyRelu", "activation_alpha": 0.2},
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
    "batched_matmul": (
        "FusedMatMul",
        {"a": random(4, 2, 3), "b": random(2, 5, 3, seed=1)},
        (),
        {"transBatchA": 1, "transB": 1},
    ),
    "attention_with_past": (
        "Attention",
        {"x": random(2, 3, 8), "w": random(8, 24, seed=1), "b": random(24, seed=2),
         "mask": np.ones((2, 7), np.int32), "past": random(2, 2, 2, 4, 4, seed=3)},
        ("w", "b"),
        {"num_heads": 2, "unidirectional": 1},
    ),
    "rotary_embedding": (
        "RotaryEmbedding",
        {"x": random(2, 3, 16), "p": np.array([[0, 1, 2], [4, 5, 6]], np.int64),
         "c": random(8, 4, seed=1), "s": random(8, 4, seed=2)},
        ("c", "s"),
        {},
    ),
    "rotary_embedding_from": (
        "RotaryEmbedding",
        {"x": random(2, 3, 16), "p": np.array([3], np.int64),
         "c": random(8, 2, seed=1), "s": random(8, 2, seed=2)},
        ("c", "s"),
        {"interleaved": 1, "num_heads": 2, "rotary_embedding_dim": 4},
    ),
    "quantised_attention": (
        "QAttention",
        {"x": bytes_of(2, 5, 8), "w": bytes_of(8, 24, seed=1, dtype=np.int8),
         "b": random(24, seed=2), "sx": np.float32(0.01), "sw": np.float32(0.01),
         "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32),
         "zx": np.uint8(110), "zw": np.int8(0)},
        ("w", "b", "sx", "sw", "zx", "zw"),
        {"num_heads": 2},
    ),
    "integer_matmul": (
        "MatMulIntegerToFloat",
        {"a": bytes_of(3, 16), "b": bytes_of(16, 5, seed=1), "sa": np.float32(0.02),
         "sb": random(5, seed=2) ** 2, "za": np.uint8(99), "zb": bytes_of(5, seed=3),
         "c": random(5, seed=4)},
        ("sa", "b", "sb", "za", "zb"),
        {},
    ),
    "quantised_gemm": (
        "QGemm",
        {"a": bytes_of(3, 16), "sa": np.float32(0.02), "za": np.uint8(99),
         "b": bytes_of(5, 16, seed=1, dtype=np.int8), "sb": random(5, seed=2) ** 2,
         "zb": np.zeros(5, np.int8), "c": np.arange(5, dtype=np.int32) * 100},
        ("sa", "za", "b", "sb", "zb", "c"),
        {"transB": 1, "alpha": 0.5},
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
    "where": (
        "QLinearWhere",
        quantized(c=np.arange(24).reshape(3, 8) % 3 == 0, a=bytes_of(3, 8), sa=SCALE, za=ZERO,
                  b=bytes_of(8, seed=1), sb=np.float32(0.02), zb=ZERO, sy=SCALE, zy=ZERO),
        {},
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
    outputs = 2 if "past" in inputs else 1  # a cache goes in and out
    model, feed = single(op, inputs, constants, outputs, **attrs)
    expected, found = onnxruntime_run(model, feed), run(model, feed)
    for name, wanted in expected.items():
        assert found[name].dtype == wanted.dtype
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


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


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_a_cache(causal: int) -> None:
    """Keys and values of earlier steps are put before those of this one."""
    inputs = {
        "q": random(2, 3, 8),
        "k": random(2, 3, 8, seed=1),
        "v": random(2, 3, 8, seed=2),
        "": np.zeros(0, np.float32),
        "past_k": random(2, 2, 4, 4, seed=3),
        "past_v": random(2, 2, 4, 4, seed=4),
    }
    names = ["q", "k", "v", "", "", "", "past_k", "past_v"]
    model, feed = single("MultiHeadAttention", inputs, outputs=3, num_heads=2,
                         unidirectional=causal)  # fmt: skip
    use(model, names)
    feed.pop("")
    expected, found = onnxruntime_run(model, feed), run(model, feed)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


def use(model: Any, names: list[str]) -> None:
    """Sets the inputs of the model's only node; an empty name is an input left out."""
    del model.graph.node[0].input[:]
    model.graph.node[0].input.extend(names)
    kept = [i for i in model.graph.input if i.name]
    del model.graph.input[:]
    model.graph.input.extend(kept)


GROUPED: dict[str, dict[str, Any]] = {
    "prompt": {"past": 0, "steps": 4, "lengths": [4, 4]},
    "padded prompt": {"past": 0, "steps": 4, "lengths": [4, 2]},
    "step": {"past": 5, "steps": 1, "lengths": [6, 6]},
    "steps of unequal length": {"past": 5, "steps": 1, "lengths": [6, 3]},
    "turned": {"past": 5, "steps": 1, "lengths": [6, 4], "do_rotary": 1},
    "turned prompt": {"past": 0, "steps": 4, "lengths": [4, 4], "do_rotary": 1,
                      "rotary_interleaved": 1},
    "window": {"past": 0, "steps": 6, "lengths": [6, 6], "local_window_size": 2},
    "capped": {"past": 0, "steps": 4, "lengths": [4, 4], "softcap": 0.5, "scale": 0.3},
    "smooth prompt": {"past": 0, "steps": 4, "lengths": [4, 2], "smooth_softmax": 1},
    "smooth step": {"past": 5, "steps": 1, "lengths": [6, 3], "smooth_softmax": 1},
    "sink": {"past": 0, "steps": 4, "lengths": [4, 4], "sink": True},
    "sink of a window": {"past": 5, "steps": 1, "lengths": [6, 4], "sink": True, "do_rotary": 1,
                         "local_window_size": 2, "smooth_softmax": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPED)
def test_grouped_attention(name: str) -> None:
    """Four queries to two keys, each sequence as long as it is."""
    case = dict(GROUPED[name])
    past, steps, lengths = case.pop("past"), case.pop("steps"), np.array(case.pop("lengths"))
    inputs = {
        "q": random(2, steps, 64),
        "k": random(2, steps, 32, seed=1),
        "v": random(2, steps, 32, seed=2),
        "past_k": random(2, 2, past, 16, seed=3),
        "past_v": random(2, 2, past, 16, seed=4),
        "counts": (lengths - 1).astype(np.int32),
        "total": np.array([past + steps], np.int32),
    }
    names = [*inputs, *[""] * 9]
    if case.get("do_rotary"):
        inputs |= {"c": np.cos(random(16, 8, seed=5)), "s": np.sin(random(16, 8, seed=5))}
        names[7:9] = "c", "s"
    if case.pop("sink", False):
        inputs["sink"] = random(4, seed=6)
        names[11] = "sink"
    model, feed = single("GroupQueryAttention", inputs, ("total", "c", "s"), outputs=3,
                         num_heads=4, kv_num_heads=2, **case)  # fmt: skip
    use(model, names)
    expected, found = onnxruntime_run(model, feed), run(model, feed)
    assert list(found) == list(expected)
    for row, length in enumerate(lengths):
        real = steps if past else length  # the rest is padding
        np.testing.assert_allclose(
            found["y0"][row, :real], expected["y0"][row, :real], rtol=1e-4, atol=1e-5
        )
        for cache in ("y1", "y2"):
            assert found[cache].shape == expected[cache].shape
            np.testing.assert_allclose(
                found[cache][row, :, :length], expected[cache][row, :, :length], rtol=1e-5
            )


def test_grouped_attention_of_normalised_heads() -> None:
    """ONNX Runtime has it on other devices only; it is attention of operands divided before."""
    inputs = {
        "q": random(1, 3, 64),
        "k": random(1, 3, 32, seed=1),
        "v": random(1, 3, 32, seed=2),
        "past_k": random(1, 2, 0, 16),
        "past_v": random(1, 2, 0, 16),
        "counts": np.array([2], np.int32),
        "total": np.array([3], np.int32),
        "c": np.cos(random(16, 8, seed=5)),
        "s": np.sin(random(16, 8, seed=5)),
    }
    weights = {"wq": random(16, seed=7), "wk": random(16, seed=8)}

    def found(more: dict[str, Array], **attrs: Any) -> Array:
        given = inputs | more
        model, feed = single(
            "GroupQueryAttention", given, ("total", "c", "s"), num_heads=4, kv_num_heads=2,
            do_rotary=1, **attrs,
        )  # fmt: skip
        use(model, [*inputs, "", "", "", "", "", *(n for n in weights if n in more)])
        result: Array = run(model, feed)["y0"]
        return result

    def normalised(x: Array, weight: Array, epsilon: float) -> Array:
        heads = x.reshape(1, 3, -1, 16)
        size = np.sqrt(np.mean(heads**2, axis=-1, keepdims=True) + epsilon)
        return (heads / size * weight).reshape(x.shape)

    own = {
        "q": normalised(inputs["q"], weights["wq"], 0.5),
        "k": normalised(inputs["k"], weights["wk"], 0.25),
    }
    one = found(weights, qk_norm_epsilon=0.25, q_norm_epsilon=0.5)
    np.testing.assert_allclose(one, found(own), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("by_gate", [False, True])
def test_lstm_with_weights_of_8_bits(direction: str, by_gate: bool) -> None:
    """ONNX Runtime also quantises the inputs at every step, to 8 bits of their range."""
    count, hidden, size = (2 if direction == "bidirectional" else 1), 5, 3
    scale = np.full((count, 4 * hidden) if by_gate else (count,), 0.01, np.float32)
    inputs = {
        "x": random(6, 2, size),
        "w": bytes_of(count, size, 4 * hidden, dtype=np.int8),
        "r": bytes_of(count, hidden, 4 * hidden, seed=1, dtype=np.int8),
        "b": random(count, 8 * hidden, seed=2),
        "ws": scale,
        "wz": np.zeros(scale.shape, np.int8),
        "rs": scale,
        "rz": np.zeros(scale.shape, np.int8),
    }
    constants = ("w", "r", "b", "ws", "wz", "rs", "rz")
    model, feed = single("DynamicQuantizeLSTM", inputs, constants, outputs=3, hidden_size=hidden,
                         direction=direction)  # fmt: skip
    use(model, ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"])
    expected, found = onnxruntime_run(model, feed), run(model, feed)
    for name in expected:
        assert found[name].shape == expected[name].shape
        np.testing.assert_allclose(found[name], expected[name], atol=0.02)


@pytest.mark.parametrize(
    ("attrs", "ok"),
    [
        ({"smooth_softmax": 0, "k_quant_type": "NONE", "causal": 1}, True),
        ({"smooth_softmax": 1}, True),
        ({"causal": 0}, False),
        ({"k_quant_type": "PER_TENSOR"}, False),
        ({"kv_cache_bit_width": 8}, False),
    ],
)
def test_attributes_that_ask_for_nothing_are_taken(attrs: dict[str, Any], ok: bool) -> None:
    inputs = {
        "q": random(1, 2, 64),
        "k": random(1, 2, 32, seed=1),
        "v": random(1, 2, 32, seed=2),
        "past_k": random(1, 2, 0, 16),
        "past_v": random(1, 2, 0, 16),
        "counts": np.array([1], np.int32),
        "total": np.array([2], np.int32),
    }
    model, feed = single(
        "GroupQueryAttention", inputs, ("total",), num_heads=4, kv_num_heads=2, **attrs
    )
    if ok:
        assert run(model, feed)["y0"].shape == (1, 2, 64)
        return
    with pytest.raises(BiremeError) as caught:
        run(model, feed)
    assert next(iter(attrs)) in caught.value.detail


@pytest.mark.parametrize("together", ["keys and values", "all"])
def test_packed_operands(together: str) -> None:
    """ONNX Runtime has them on other devices only; they are what the separate ones are."""
    parts = random(3, 2, 5, 2, 4)  # of queries, keys, values; [N, S, heads, size] each
    q, k, v = (part.reshape(2, 5, 8) for part in parts)
    plain, feed = single("MultiHeadAttention", {"q": q, "k": k, "v": v}, num_heads=2)
    expected = run(plain, feed)["y0"]
    if together == "all":
        inputs = {"qkv": np.stack(parts, 3)}
    else:
        inputs = {"q": q, "kv": np.stack(parts[1:], 3)}
    packed, feed = single("MultiHeadAttention", inputs, num_heads=2)
    np.testing.assert_allclose(run(packed, feed)["y0"], expected, rtol=1e-6)
