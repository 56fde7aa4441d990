"""Reductions, argmax, cumulative sums and topk against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, symbol
from bireme.ir.dtypes import NUMERIC
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group

N = symbol("n")
NAMES = ("reduce_sum", "reduce_mean", "reduce_prod", "reduce_max", "reduce_min")
SHAPES = [
    ((3, N, 19), (1,), False),
    ((3, 5, N), (2,), True),
    ((3, 5, N), (1, 2), False),
    ((N,), (0,), False),
    ((N, 70), (0,), True),
    ((2, 3, 7, 9, 16), (2, 3), True),
    ((4, 100), (1,), True),
    ((2, 9, 1), (1,), False),
    ((2, N, 333), (1,), True),  # eight vectors side by side, and the rest
]


def reduction(name, dtype, shape, axes, keepdims):
    return group(
        [TensorType(dtype, shape)],
        lambda b, x: b.op(name, [x], axes=axes, keepdims=keepdims).result,
        kind="reduction",
    )


@pytest.mark.parametrize(("shape", "axes", "keepdims"), SHAPES)
def test_shapes(shape, axes, keepdims):
    for n in (0, 5, 131) if N in shape else (1,):
        check(reduction("reduce_max", DType.F32, shape, axes, keepdims), sizes={"n": n}, split=3)


@pytest.mark.parametrize("dtype", NUMERIC, ids=lambda t: t.label)
@pytest.mark.parametrize("name", NAMES)
def test_element_types(name, dtype):
    check(reduction(name, dtype, (3, 50), (1,), False))


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.BF16, DType.I32], ids=repr)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (0, 40)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_reductions_of_nothing(name, shape, dtype):
    check(reduction(name, dtype, shape, (0,), keepdims=False))


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_booleans(name):
    check(reduction(name, DType.BOOL, (7, N, 19), (1,), False), sizes={"n": 3})
    check(reduction(name, DType.BOOL, (7, N), (1,), True), sizes={"n": 3})


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
@pytest.mark.parametrize("name", ["reduce_mean", "reduce_min"])
def test_levels(name, level):
    check(reduction(name, DType.F32, (3, N), (1,), False), sizes={"n": 77}, level=level)
    check(reduction(name, DType.F32, (N, 77), (0,), False), sizes={"n": 9}, level=level)
    check(reduction(name, DType.F32, (9, 300), (0,), False), level=level)


def test_integers_wrap_and_means_do_not():
    x = np.full((2, 300), 100, np.int8)
    (total,) = check(reduction("reduce_sum", DType.I8, (2, 300), (1,), False), [x])
    (mean,) = check(reduction("reduce_mean", DType.I8, (2, 300), (1,), False), [x])
    assert total.tolist() == [30000 % 256] * 2
    assert mean.tolist() == [100, 100]


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min", "reduce_sum"])
def test_nan_wins(name):
    x = sample(TensorType(DType.F32, (4, 100)), {})
    x[1, 37] = np.nan
    x[2, 99] = np.nan
    (found,) = check(reduction(name, DType.F32, (4, 100), (1,), False), [x])
    assert np.isnan(found).tolist() == [False, True, True, False]


def test_producers_and_consumers_are_fused():
    kernel = group(
        [TensorType(DType.F32, (3, N, 40)), TensorType(DType.F32, (40,))],
        lambda b, x, y: b.relu(b.reduce_mean(b.mul(b.add(x, y), x), axes=(1, 2))),
        kind="reduction",
    )
    check(kernel, sizes={"n": 6})


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F16, DType.I8, DType.I64], ids=repr)
def test_arg(name, last, dtype):
    kernel = group(
        [TensorType(dtype, (3, 17, N))],
        lambda b, x: b.op(name, [x], axis=1, keepdims=False, last=last).result,
    )
    x = sample(kernel.operands[0].type, {"n": 21})
    if dtype.is_float:
        x[0, 3, :7] = np.nan
        x[0, 9, 2:9] = np.nan
        x[1] = 2.0
    check(kernel, [x], {"n": 21})


@pytest.mark.parametrize("dtype", [DType.F32, DType.F16, DType.I16], ids=repr)
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 17), 1), ((5, N, 37), 1), ((N,), 0), ((2, 3, 5, N), -4)]
)
def test_cumsum(shape, axis, dtype):
    for exclusive, reverse in ((False, False), (True, True)):
        kernel = group(
            [TensorType(dtype, shape)],
            lambda b, x, e=exclusive, r=reverse: b.cumsum(x, axis=axis, exclusive=e, reverse=r),
        )
        check(kernel, sizes={"n": 23}, split=3)


def test_cumsum_inside_a_group():
    kernel = group(
        [TensorType(DType.F32, (3, N))], lambda b, x: b.relu(b.cumsum(b.add(x, x), axis=1))
    )
    check(kernel, sizes={"n": 23})


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", [DType.F32, DType.BF16, DType.I8], ids=repr)
@pytest.mark.parametrize(
    ("shape", "axis", "k"),
    [((3, 17), 1, 5), ((5, N, 3), 1, N), ((N,), 0, 3), ((2, N), 0, 1), ((4, N, 3), 1, 0)],
)
def test_topk(shape, axis, k, dtype, largest):
    kernel = group(
        [TensorType(dtype, shape)],
        lambda b, x: list(b.topk(x, k=(k,), axis=axis, largest=largest)),
    )
    x = sample(kernel.operands[0].type, {"n": 23})
    if dtype.is_float:
        x.flat[::7] = np.nan
        x.flat[3::11] = 1.0
    check(kernel, [x], {"n": 23}, split=3)


def test_topk_inside_a_group():
    def body(b, x):
        values, places = b.topk(b.add(x, x), k=(4,), axis=1)
        return [b.relu(values), places]

    check(group([TensorType(DType.F32, (3, 9))], body))
