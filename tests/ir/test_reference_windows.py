"""Convolutions and pooling against ONNX Runtime, over drawn window attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.ir import Array
from bireme.ir.reference import run_op
from tests.ir.peer import peer

_random = np.random.default_rng(13)
SEEDS = range(24)


def floats(*shape: int) -> Array:
    return _random.standard_normal(shape).astype(np.float32)


def close(found: list[Array], expected: list[Array], tolerance: float = 1e-4) -> None:
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


class Draw:
    """Window attributes for a number of spatial axes, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.rank = 1 + seed % 3
        self.kernel = tuple(random.integers(1, 4, self.rank).tolist())
        self.strides = tuple(random.integers(1, 4, self.rank).tolist())
        self.dilations = tuple(random.integers(1, 3, self.rank).tolist())
        # ONNX Runtime wants padding below the kernel.
        self.pads = tuple(int(random.integers(0, k)) for k in self.kernel * 2)
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        self.sizes = tuple(int(random.integers(s, s + 7)) for s in spans)
        self.random = random

    @property
    def attrs(self) -> dict[str, Any]:
        return {"strides": self.strides, "pads": self.pads, "dilations": self.dilations}


def unblocked(x: Array) -> Array:
    """`[N, C/b, *S, b]` as `[N, C, *S]`, without the code under test."""
    n, blocks, *spatial, block = x.shape
    result = np.empty((n, blocks * block, *spatial), x.dtype)
    for c in range(blocks * block):
        result[:, c] = x[:, c // block, ..., c % block]
    return result


def blocked(x: Array, block: int) -> Array:
    n, channels, *spatial = x.shape
    result = np.empty((n, channels // block, *spatial, block), x.dtype)
    for c in range(channels):
        result[:, c // block, ..., c % block] = x[:, c]
    return result


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv(seed: int, groups: int) -> None:
    draw = Draw(seed)
    x, w = floats(2, 4, *draw.sizes), floats(8, 4 // groups, *draw.kernel)
    found = run_op("conv", [x, w], {**draw.attrs, "groups": groups})
    close(found, peer("Conv", [x, w], group=groups, **draw.attrs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("inner", "outer"), [(1, 4), (2, 4), (4, 2), (4, 4)])
@pytest.mark.parametrize("groups", [1, 2])
def test_blocked_conv(seed: int, inner: int, outer: int, groups: int) -> None:
    draw = Draw(seed)
    x, w = floats(2, 8, *draw.sizes), floats(8, 8 // groups, *draw.kernel)
    packed = np.empty((8 // outer, 8 // groups // inner, *draw.kernel, inner, outer), np.float32)
    for o, c in np.ndindex(8, 8 // groups):
        packed[o // outer, c // inner, ..., c % inner, o % outer] = w[o, c]
    operands = [x if inner == 1 else blocked(x, inner), packed]
    blocks = {"in_block": inner, "out_block": outer, "groups": groups}
    (found,) = run_op("conv", operands, {**draw.attrs, **blocks})
    close([unblocked(found)], peer("Conv", [x, w], group=groups, **draw.attrs))


@pytest.mark.parametrize("seed", SEEDS)
def test_blocked_depthwise_conv(seed: int) -> None:
    draw = Draw(seed)
    x, w = floats(2, 8, *draw.sizes), floats(8, 1, *draw.kernel)
    packed = np.empty((2, *draw.kernel, 4), np.float32)
    for c in range(8):
        packed[c // 4, ..., c % 4] = w[c, 0]
    blocks = {"in_block": 4, "out_block": 4, "groups": 8}
    (found,) = run_op("conv", [blocked(x, 4), packed], {**draw.attrs, **blocks})
    close([unblocked(found)], peer("Conv", [x, w], group=8, **draw.attrs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose(seed: int, groups: int) -> None:
    draw = Draw(seed)
    x, w = floats(2, 4, *draw.sizes), floats(4, 3, *draw.kernel)
    # ONNX Runtime wants it below the stride.
    extra = tuple(int(draw.random.integers(0, s)) for s in draw.strides)
    attrs = {**draw.attrs, "output_padding": extra}
    found = run_op("conv_transpose", [x, w], {**attrs, "groups": groups})
    close(found, peer("ConvTranspose", [x, w], group=groups, **attrs))


def test_integer_conv() -> None:
    x = _random.integers(-9, 9, (1, 3, 6, 5)).astype(np.int8)
    w = _random.integers(-9, 9, (2, 3, 3, 2)).astype(np.int8)
    attrs = {"strides": (1, 2), "pads": (1, 0, 1, 1), "dilations": (1, 1)}
    found = run_op("conv", [x.astype(np.int32), w.astype(np.int32)], attrs)
    close(found, peer("ConvInteger", [x, w], **attrs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("storage_order", [0, 1])
def test_max_pool(seed: int, ceil_mode: bool, storage_order: int) -> None:
    draw = Draw(seed)
    x = floats(2, 3, *draw.sizes)
    attrs = {**draw.attrs, "ceil_mode": ceil_mode, "storage_order": storage_order}
    found = run_op("max_pool", [x], {"kernel": draw.kernel, "indices": True, **attrs})
    attrs["ceil_mode"] = int(ceil_mode)
    close(found, peer("MaxPool", [x], outputs=2, kernel_shape=draw.kernel, **attrs))
    close(run_op("max_pool", [x], {"kernel": draw.kernel, **attrs}), found[:1], 0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_max_pool_of_integers(dtype: Any) -> None:
    x = _random.integers(0, 99, (1, 2, 5, 5)).astype(dtype)
    attrs = {"strides": (2, 2), "pads": (1, 1, 1, 1)}
    found = run_op("max_pool", [x], {"kernel": (3, 3), "dilations": (1, 1), **attrs})
    close(found, peer("MaxPool", [x], kernel_shape=[3, 3], **attrs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_avg_pool(seed: int, ceil_mode: bool, include: bool) -> None:
    draw = Draw(seed)
    x = floats(2, 3, *draw.sizes)
    attrs = {**draw.attrs, "ceil_mode": ceil_mode, "count_include_pad": include}
    found = run_op("avg_pool", [x], {"kernel": draw.kernel, **attrs})
    attrs = {k: int(v) if isinstance(v, bool) else v for k, v in attrs.items()}
    close(found, peer("AveragePool", [x], kernel_shape=draw.kernel, **attrs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool(seed: int, p: int) -> None:
    draw = Draw(seed)
    x = floats(2, 3, *draw.sizes)
    found = run_op("lp_pool", [x], {"kernel": draw.kernel, "p": p, **draw.attrs})
    close(found, peer("LpPool", [x], kernel_shape=draw.kernel, p=p, **draw.attrs))


@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "lp_pool"])
@pytest.mark.parametrize("seed", range(6))
def test_blocked_pools(op: str, seed: int) -> None:
    draw = Draw(seed)
    x = floats(2, 8, *draw.sizes)
    attrs = {"kernel": draw.kernel, "ceil_mode": True, **draw.attrs}
    (found,) = run_op(op, [blocked(x, 4)], {**attrs, "block": 4})
    close([unblocked(found)], run_op(op, [x], attrs), 1e-6)


@pytest.mark.parametrize(
    ("left", "right"), [((3, 4), (4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((7, 2, 3), (3, 2))], ids=str
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_matmul(left: Any, right: Any, dtype: Any) -> None:
    a, b = (_random.integers(-9, 9, s).astype(dtype) for s in (left, right))
    close(run_op("matmul", [a, b]), peer("MatMul", [a, b]), 1e-6)


@pytest.mark.parametrize("columns", [1, 7, 8, 13])
def test_packed_matmul(columns: int) -> None:
    a, b = floats(2, 3, 5), floats(5, columns)
    packed = np.zeros((-(-columns // 8), 5, 8), np.float32)
    for j in range(columns):
        packed[j // 8, :, j % 8] = b[:, j]
    found = run_op("matmul", [a, packed], {"block": 8, "columns": columns})
    close(found, peer("MatMul", [a, b]), 1e-5)
