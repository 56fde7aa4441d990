"""Reductions and normalisations against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.ir import Array
from bireme.ir.reference import run_op
from tests.ir.peer import peer

_random = np.random.default_rng(3)


def floats(*shape: int) -> Array:
    return _random.standard_normal(shape).astype(np.float32)


def close(found: list[Array], expected: list[Array], tolerance: float = 1e-5) -> None:
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


REDUCTIONS = ("sum", "mean", "max", "min", "prod")


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_reduce(name: str, axes: Any, keepdims: bool, dtype: Any) -> None:
    x = (floats(3, 4, 5) * 3).astype(dtype)
    found = run_op(f"reduce_{name}", [x], {"axes": axes, "keepdims": keepdims})
    operands = [x, np.array(axes, np.int64)]
    expected = peer(f"Reduce{name.capitalize()}", operands, keepdims=int(keepdims))
    close(found, expected)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduce_nothing(name: str) -> None:
    x = np.zeros((2, 0, 3), np.float32)
    found = run_op(f"reduce_{name}", [x], {"axes": (1,)})
    expected = {"sum": 0, "mean": np.nan, "max": -np.inf, "min": np.inf, "prod": 1}[name]
    np.testing.assert_array_equal(found[0], np.full((2, 1, 3), expected, np.float32))


def test_narrow_integers_wrap() -> None:
    x = np.full((300,), 3, np.uint8)
    assert run_op("reduce_sum", [x], {"axes": (0,)})[0].tolist() == [900 % 256]
    assert run_op("reduce_prod", [x[:7]], {"axes": (0,)})[0].tolist() == [3**7 % 256]
    assert run_op("reduce_mean", [x], {"axes": (0,)})[0].tolist() == [3]
    assert run_op("cumsum", [x[:100]], {"axis": 0})[0][-1] == 300 % 256


def test_half_sums_are_wide() -> None:
    x = np.full((4096,), 1.0, np.float16)
    assert run_op("reduce_sum", [x], {"axes": (0,)})[0].tolist() == [4096]
    tiny = np.full((1, 4096), 2.0**-11, np.float16)
    ones = np.ones((4096, 1), np.float16)
    assert run_op("matmul", [tiny, ones])[0].tolist() == [[2.0]]


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
def test_arg(name: str, axis: int, last: bool, keepdims: bool) -> None:
    x = _random.integers(0, 3, (3, 4, 5)).astype(np.float32)
    found = run_op(name, [x], {"axis": axis, "last": last, "keepdims": keepdims})
    onnx_op = "ArgMax" if name == "argmax" else "ArgMin"
    close(found, peer(onnx_op, [x], axis=axis, select_last_index=int(last), keepdims=int(keepdims)))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumsum(exclusive: bool, reverse: bool, axis: int) -> None:
    x = floats(3, 4)
    found = run_op("cumsum", [x], {"axis": axis, "exclusive": exclusive, "reverse": reverse})
    operands = [x, np.int64(axis)]
    close(found, peer("CumSum", operands, exclusive=int(exclusive), reverse=int(reverse)))


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_topk(largest: bool, axis: int, dtype: Any) -> None:
    """Many ties: the lower index comes first."""
    x = _random.integers(0, 4, (5, 6, 4)).astype(dtype)
    found = run_op("topk", [x], {"k": (3,), "axis": axis, "largest": largest})
    expected = peer("TopK", [x, np.array([3])], outputs=2, axis=axis, largest=int(largest))
    close(found, expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis: int) -> None:
    x = floats(3, 4, 5) * 40
    close(run_op("softmax", [x], {"axis": axis}), peer("Softmax", [x], axis=axis))
    close(run_op("log_softmax", [x], {"axis": axis}), peer("LogSoftmax", [x], axis=axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("parameters", [1, 2])
def test_layer_norm(axis: int, parameters: int) -> None:
    x = floats(2, 3, 4)
    operands = [x, *(floats(*x.shape[axis:]) for _ in range(parameters))]
    found = run_op("layer_norm", operands, {"axis": axis, "epsilon": 1e-3})
    close(found, peer("LayerNormalization", operands, axis=axis, epsilon=1e-3))


def test_rms_norm() -> None:
    x, scale = floats(2, 3, 4), floats(3, 4)
    found = run_op("rms_norm", [x, scale], {"axis": -2, "epsilon": 1e-3})
    expected = peer("RMSNormalization", [x, scale], opset=23, axis=-2, epsilon=1e-3)
    close(found, expected)


def test_per_channel_normalisations() -> None:
    x, scale, bias = floats(2, 6, 3, 5), floats(6), floats(6)
    mean, variance = floats(6), np.abs(floats(6))
    epsilon = {"epsilon": 1e-3}
    close(
        run_op("instance_norm", [x, scale, bias], epsilon),
        peer("InstanceNormalization", [x, scale, bias], **epsilon),
    )
    close(
        run_op("batch_norm", [x, scale, bias, mean, variance], epsilon),
        peer("BatchNormalization", [x, scale, bias, mean, variance], **epsilon),
    )
    close(
        run_op("group_norm", [x, scale, bias], {"groups": 3, **epsilon}),
        peer("GroupNormalization", [x, scale, bias], num_groups=3, **epsilon),
    )


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(size: int) -> None:
    x = floats(2, 7, 3, 2)
    attrs = {"alpha": 0.4, "beta": 0.6, "bias": 1.5, "size": size}
    close(run_op("lrn", [x], attrs), peer("LRN", [x], **attrs))


def test_lrn_with_an_even_window() -> None:
    """ONNX Runtime refuses these; by hand: one channel less before than after."""
    x = floats(1, 5, 2)
    (found,) = run_op("lrn", [x], {"size": 4, "alpha": 1.0, "beta": 1.0, "bias": 0.0})
    for c in range(5):
        window = x[:, max(c - 1, 0) : c + 3]
        np.testing.assert_allclose(found[:, c], x[:, c] / (np.square(window).sum(1) / 4), rtol=1e-5)
