"""Matrix products and convolutions of every type and form, one dot product an element."""

from __future__ import annotations

import pytest

from bireme.ir import DType, TensorType
from tests.codegen.compare import check
from tests.codegen.kernels import group

TYPES = [DType.F32, DType.F16, DType.F64, DType.I32, DType.U8]


def two(dtype, x, w):
    return [TensorType(dtype, x), TensorType(dtype, w)]


def convolve(name, dtype, x, w, **attrs):
    return group(two(dtype, x, w), lambda b, x, w: b.op(name, [x, w], **attrs).result)


@pytest.mark.parametrize("dtype", TYPES, ids=repr)
def test_matmul(dtype):
    check(group(two(dtype, (2, 1, 6, 9), (3, 9, 18)), lambda b, x, y: b.matmul(x, y)))


@pytest.mark.parametrize("dtype", TYPES, ids=repr)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv(rank, dtype):
    attrs = {
        "strides": (1, 2, 1)[:rank],
        "pads": (*(1, 0, 1)[:rank], *(1, 2, 0)[:rank]),
        "dilations": (1, 2, 1)[:rank],
        "groups": 2,
    }
    shape = (2, 4, *(5, 9, 6)[:rank])
    check(convolve("conv", dtype, shape, (6, 2, *(3, 3, 2)[:rank]), **attrs))


@pytest.mark.parametrize(
    ("x", "w", "groups", "in_block"),
    [
        ((2, 2, 9, 7, 16), (3, 2, 3, 3, 16, 16), 1, 16),
        ((2, 4, 5, 7, 16), (2, 2, 3, 3, 16, 16), 2, 16),
        ((2, 3, 9, 7), (2, 3, 3, 3, 1, 16), 1, 1),
        ((2, 2, 9, 7, 16), (2, 3, 3, 16), 32, 16),
    ],
    ids=["dense", "groups", "plain_input", "depthwise"],
)
def test_blocked_conv(x, w, groups, in_block):
    attrs = {"strides": (1, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": groups}
    check(convolve("conv", DType.F16, x, w, in_block=in_block, out_block=16, **attrs))


@pytest.mark.parametrize("dtype", TYPES, ids=repr)
def test_conv_transpose(dtype):
    attrs = {
        "strides": (3, 2),
        "pads": (1, 0, 1, 2),
        "dilations": (1, 2),
        "groups": 2,
        "output_padding": (1, 0),
    }
    check(convolve("conv_transpose", dtype, (2, 4, 9, 11), (4, 3, 3, 2), **attrs))
    plain = {**attrs, "strides": (2, 2), "dilations": (1, 1), "groups": 1, "pads": (0,) * 4}
    check(convolve("conv_transpose", dtype, (1, 4, 5, 17), (4, 3, 2, 2), **plain))
