"""Reductions and normalisations in groups, as fusion makes them."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, symbol
from tests.codegen.compare import check
from tests.codegen.kernels import group

N = symbol("n")


def f32(*shape):
    return TensorType(DType.F32, shape)


def scalar(b, number):
    return b.constant(np.float32(number))


def two_results(b, x):
    power = b.softmax(x)
    return [power, b.relu(b.sub(power, b.mul(power, power)))]


GROUPS = {
    "transposed": ((f32(3, N, 5),), lambda b, x: b.softmax(b.transpose(x, perm=(0, 2, 1)))),
    "two_results": ((f32(3, N),), two_results),
    "half": (
        (TensorType(DType.F16, (3, N)),),
        lambda b, x: b.cast(b.softmax(b.cast(x, dtype=DType.F32)), dtype=DType.F16),
    ),
    "masked": (
        (f32(3, N), TensorType(DType.BOOL, (3, N))),
        lambda b, x, m: b.softmax(b.where(m, x, scalar(b, -1e9))),
    ),
    "sliced": (
        (f32(3, N, 40),),
        lambda b, x: b.reduce_sum(
            b.slice(x, starts=(0, 1, 3), sizes=(3, N - 1, 20), steps=(1, 1, 1)), axes=(1, 2)
        ),
    ),
    "counted": (
        (f32(3, N),),
        lambda b, x: b.reduce_sum(
            b.cast(b.greater(x, scalar(b, 0)), dtype=DType.I64), axes=(1,)
        ),
    ),
    "argmax": (
        (f32(3, N),),
        lambda b, x: b.cast(b.argmax(b.mul(x, x), axis=1), dtype=DType.I32),
    ),
    "argmax_across": (
        (f32(3, 4, N),),
        lambda b, x: b.argmax(b.mul(x, x), axis=0, keepdims=False),
    ),
    "norm": (
        (f32(3, N),),
        lambda b, x: b.sqrt(b.reduce_sum(b.pow(x, scalar(b, 2)), axes=(1,))),
    ),
    "everything": ((f32(3, N, 4),), lambda b, x: b.reduce_mean(x, axes=(0, 1, 2))),
    "axes_of_one": ((f32(1, 1, N),), lambda b, x: b.reduce_mean(x, axes=(0, 1))),
    "scattered_axes": (
        (f32(2, 3, 2, 3, N, 2),),
        lambda b, x: b.reduce_max(x, axes=(1, 3, 5), keepdims=False),
    ),
    "outer_and_last": (
        (f32(2, 3, 2, N),), lambda b, x: b.reduce_max(x, axes=(1, 3), keepdims=False)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_group(name):
    types, body = GROUPS[name]
    check(group(types, body, kind="reduction"), sizes={"n": 21}, split=3)


def test_embedding_and_normalisation():
    types = [f32(50, 24), TensorType(DType.I64, (2, N)), f32(N, 24), f32(24), f32(24)]
    kernel = group(
        types,
        lambda b, table, i, y, s, c: b.layer_norm(b.add(b.gather(table, i), y), s, c),
        kind="reduction",
    )
    rng = np.random.default_rng(0)
    table, y, scale, bias = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((50, 24), (7, 24), 24, 24)
    )
    places = rng.integers(-50, 50, (2, 7))
    check(kernel, [table, places, y, scale, bias], {"n": 7}, atol=1e-4)
