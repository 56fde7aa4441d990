"""Pools against the reference: padding, dilation, ceil mode, indices, channel blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bireme.ir import DType, TensorType, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group

N = symbol("n")
PADS = [(0, 0, 0, 0), (1, 1, 1, 0), (2, 0, 1, 1)]


def pool(name, dtype, shape, outputs=1, **attrs):
    def body(b, x):
        results = b.op(name, [x], **attrs).results
        return results[0] if outputs == 1 else results

    return group([TensorType(dtype, shape)], body, kind="pool")


@pytest.mark.parametrize(("pads", "ceil"), list(itertools.product(PADS, [False, True])))
@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "counting_avg_pool", "lp_pool"])
def test_windows(name, pads, ceil):
    attrs = {"kernel": (3, 4), "strides": (2, 3), "pads": pads, "dilations": (1, 2)}
    if name == "counting_avg_pool":
        name, attrs = "avg_pool", {**attrs, "count_include_pad": True}
    if name == "lp_pool":
        attrs = {**attrs, "p": 3}
    check(pool(name, DType.F32, (2, 3, 9, N), ceil_mode=ceil, **attrs), sizes={"n": 37})
    # The window slides along the vector's axis, or beside it.
    shape = (2, 3, 9, N, 16)
    check(pool(name, DType.F32, shape, ceil_mode=ceil, block=16, **attrs), sizes={"n": 11})


@pytest.mark.parametrize("dtype", [DType.I32, DType.U8, DType.F16, DType.F64], ids=repr)
def test_max_pool_types(dtype):
    attrs = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    check(pool("max_pool", dtype, (2, 3, 9, 21), **attrs))


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
def test_levels(level):
    attrs = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    check(pool("max_pool", DType.F32, (1, 3, 9, 9, 16), block=16, **attrs), level=level)
    check(pool("avg_pool", DType.F32, (1, 3, 9, 41), **attrs), level=level)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("pads", PADS)
def test_indices(pads, order):
    attrs = {"kernel": (2, 3), "strides": (1, 2), "pads": pads, "dilations": (2, 1)}
    kernel = pool(
        "max_pool", DType.F32, (2, 3, 7, N), 2, indices=True, storage_order=order, **attrs
    )
    x = np.round(sample(kernel.operands[0].type, {"n": 19}))  # ties occur
    x[0, 1, 3, 4] = np.nan
    x[1, 2] = -np.inf
    check(kernel, [x], {"n": 19})


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    ones = (1,) * rank
    attrs = {"kernel": (2,) * rank, "strides": ones, "pads": ones * 2, "dilations": ones}
    shape = (2, 2, *(4, 5, 19)[-rank:])
    check(pool("max_pool", DType.F32, shape, **attrs))
    check(pool("avg_pool", DType.F32, shape, **attrs))


def test_nan_wins():
    attrs = {"kernel": (3,), "strides": (1,), "pads": (1, 1), "dilations": (1,)}
    x = np.arange(20, dtype=np.float32).reshape(1, 1, 20)
    x[0, 0, 7] = np.nan
    (found,) = check(pool("max_pool", DType.F32, (1, 1, 20), **attrs), [x])
    assert np.isnan(found[0, 0]).nonzero()[0].tolist() == [6, 7, 8]


def test_consumers_are_fused():
    kernel = group(
        [TensorType(DType.F32, (2, 3, 9, 9)), TensorType(DType.F32, (3, 1, 1))],
        lambda b, x, y: b.relu(
            b.add(
                b.max_pool(x, kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1)),
                y,
            )
        ),
        kind="pool",
    )
    check(kernel)


def test_a_window_that_starts_in_the_padding_with_known_sizes():
    kernel = group(
        [TensorType(DType.F32, (1, 3, 2, 2))],
        lambda b, x: b.avg_pool(
            x,
            kernel=(3, 3),
            strides=(3, 3),
            pads=(1, 1, 1, 1),
            dilations=(1, 1),
            ceil_mode=True,
            count_include_pad=True,
        ),
    )
    check(kernel)
