"""Contractions of bfloat16 with float32 sums: with the instruction, and without it."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.codegen.kernel import template_of
from bireme.codegen.spec import kernel_spec
from bireme.ir import DType, TensorType, symbol
from bireme.targets.x86.chips import LEVELS, V4_BF16
from tests.codegen.compare import check
from tests.codegen.kernels import group

BF16, F32 = DType.BF16, DType.F32
N, M, K = symbol("n"), symbol("m"), symbol("k")
EVERY = (V4_BF16, *LEVELS)


def matmul_group(a, columns, transposed=False, packed=True, narrow=True):
    """`cast(relu(a @ b + bias))`, b packed in pairs or as it is."""
    inner = a[-1]
    if packed:
        b = (-(-columns // 16), -(-inner // 2), 16, 2)
        attrs = {"block": 16, "columns": columns, "pair": 2}
    else:
        b, attrs = (*a[:-2], *((columns, inner) if transposed else (inner, columns))), {}

    def body(builder, x, y, bias):
        if transposed:
            rank = len(b)
            y = builder.transpose(y, perm=(*range(rank - 2), rank - 1, rank - 2))
        z = builder.relu(builder.add(builder.matmul(x, y, wide=True, **attrs), bias))
        return builder.cast(z, dtype=BF16) if narrow else z

    types = [TensorType(BF16, a), TensorType(BF16, b), TensorType(F32, (columns,))]
    return group(types, body, "contraction")


MATMULS = [
    (matmul_group((128, 256), 160), {}),
    (matmul_group((7, 64), 48, narrow=False), {}),
    (matmul_group((1, 300), 33), {}),
    (matmul_group((1, 301), 33, narrow=False), {}),
    (matmul_group((85, 257), 144, narrow=False), {}),
    (matmul_group((3, 5, 9), 17), {}),
    (matmul_group((N, M, 96), 40), {"n": 2, "m": 17}),
    (matmul_group((M, 257), 144), {"m": 3}),
    (matmul_group((M, 257), 144), {"m": 100}),
    (matmul_group((2, 3, 20, 32), 24, packed=False), {}),
    (matmul_group((2, 20, 31), 37, packed=False, narrow=False), {}),
    (matmul_group((2, 20, 33), 37, packed=False, transposed=True), {}),
    (matmul_group((2, M, K), 48, packed=False), {"m": 19, "k": 19}),
    (matmul_group((N, M, K), 37, packed=False, transposed=True), {"n": 2, "m": 5, "k": 8}),
    (matmul_group((2, 1, 64), 48, packed=False), {}),
]  # fmt: skip


@pytest.mark.parametrize("level", EVERY, ids=lambda level: level.name)
@pytest.mark.parametrize(("case", "sizes"), MATMULS)
def test_matmul(case, sizes, level):
    assert template_of(kernel_spec(case).graph()).name == "matmul"
    check(case, sizes=sizes, level=level)


def conv_group(x, filters, stride=1, pad=0, groups=1, residual=False):
    """Conv → + bias → (+ residual) → relu → cast → (pad), all tensors between kernels bfloat16."""
    rank = len(filters) - 1
    w = (filters[0], x[1] // groups, *filters[1:], 8, 16, 2)
    attrs = {
        "strides": (stride,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank,
        "groups": groups, "in_block": 16, "out_block": 16, "pair": 2, "wide": True,
    }  # fmt: skip
    types = [TensorType(BF16, x), TensorType(BF16, w), TensorType(F32, (w[0], *(1,) * rank, 16))]
    if residual:
        spatial = [(n - k) // stride + 1 for n, k in zip(x[2:-1], filters[1:], strict=True)]
        types.append(TensorType(BF16, (x[0], w[0], *spatial, 16)))

    def body(b, x, w, bias, *rest):
        y = b.add(b.conv(x, w, **attrs), bias)
        for other in rest:
            y = b.add(y, b.cast(other, dtype=F32))
        y = b.cast(b.relu(y), dtype=BF16)
        if pad:
            border = (0, 0, *(pad,) * rank, 0)
            y = b.pad(y, before=border, after=border, mode="constant")
        return y

    return group(types, body, "contraction")


CONVS = [
    (conv_group((1, 2, 9, 17, 16), (3, 3, 3)), {}),
    (conv_group((2, 1, 7, 7, 16), (2, 1, 1), residual=True), {}),
    (conv_group((1, 2, 13, 29, 16), (1, 3, 3), stride=2, residual=True), {}),
    (conv_group((1, 2, 10, 8, 16), (2, 1, 1), pad=1), {}),
    (conv_group((N, 2, M, K, 16), (2, 3, 3), pad=1), {"n": 2, "m": 8, "k": 19}),
    (conv_group((2, 4, 7, 9, 16), (6, 3, 3), groups=2, pad=1), {}),
    (conv_group((2, 2, 60, 16), (3, 5), pad=2), {}),
    (conv_group((1, 2, 4, 5, 6, 16), (1, 2, 3, 3)), {}),
]  # fmt: skip


@pytest.mark.parametrize("level", EVERY, ids=lambda level: level.name)
@pytest.mark.parametrize(("case", "sizes"), CONVS)
def test_convolution(case, sizes, level):
    assert template_of(kernel_spec(case).graph()).name == "convolution"
    check(case, sizes=sizes, level=level)


@pytest.mark.parametrize("level", EVERY, ids=lambda level: level.name)
def test_what_is_no_number_stays_where_it_is(level):
    case = matmul_group((3, 8), 16, narrow=True)
    rng = np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(v.type.static_shape) for v in case.operands)
    a[0, 3], a[1, 4] = np.nan, np.inf
    b = np.abs(b) + 1
    feed = [a.astype(BF16.numpy), b.astype(BF16.numpy), bias.astype(np.float32)]
    (found,) = check(case, feed, level=level)
    assert np.isnan(found[0].astype(np.float32)).all()
    assert np.isposinf(found[1].astype(np.float32)).all()
    assert np.isfinite(found[2].astype(np.float32)).all()
