"""Scatter ops against the reference, and their run-time fault."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, symbol
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group, run_kernel

N = symbol("n")
REDUCTIONS = ["none", "add", "mul", "max", "min"]
TYPES = [DType.F32, DType.BF16, DType.I8]


def distinct(rng, shape, size, axis):
    """Indices that differ along an axis, some counted from the end."""
    order = np.argsort(rng.random([size if a == axis else n for a, n in enumerate(shape)]), axis)
    found = np.take(order, np.arange(shape[axis]), axis)
    return (found - size * (rng.random(shape) < 0.5)).astype(np.int64)


@pytest.mark.parametrize("dtype", TYPES, ids=repr)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("shape", "indices", "axis"), [((5, N, 7), (4, 6, 7), 1), ((11, 3), (9, 2), 0)]
)
def test_scatter_elements(shape, indices, axis, reduction, dtype):
    rng = np.random.default_rng(0)
    types = [TensorType(dtype, shape), TensorType(DType.I64, indices), TensorType(dtype, indices)]
    kernel = group(
        types,
        lambda b, x, i, u: b.scatter_elements(x, i, u, axis=axis, reduction=reduction),
        kind="opaque",
    )
    x, _, updates = (sample(t, {"n": 9}, seed) for seed, t in enumerate(types))
    size = x.shape[axis]
    if reduction == "none":
        places = distinct(rng, indices, size, axis)
    else:
        places = rng.integers(-size, size, indices)
    check(kernel, [x, places, updates], {"n": 9}, split=3)


@pytest.mark.parametrize("dtype", TYPES, ids=repr)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("shape", "indices"),
    [((5, N, 7), (4, 2)), ((11, 33), (2, 3, 1)), ((6,), (5, 1)), ((7, 3, 5), (3, 1))],
)
def test_scatter_nd(shape, indices, reduction, dtype):
    rng = np.random.default_rng(0)
    length = indices[-1]
    updates = (*indices[:-1], *shape[length:])
    types = [TensorType(dtype, shape), TensorType(DType.I32, indices), TensorType(dtype, updates)]
    kernel = group(
        types, lambda b, x, i, u: b.scatter_nd(x, i, u, reduction=reduction), kind="opaque"
    )
    x, places, u = (sample(t, {"n": 9}, seed) for seed, t in enumerate(types))
    rows = int(np.prod(indices[:-1]))
    first = rng.permutation(shape[0])[:rows] if reduction == "none" else rng.integers(0, 3, rows)
    places[..., 0] = first.reshape(indices[:-1])
    places[..., 1:] = rng.integers(-2, 2, places[..., 1:].shape)
    check(kernel, [x, places, u], {"n": 9}, split=3)


def test_large_data_is_shared_among_tasks():
    types = [
        TensorType(DType.F32, (40, 100, 64)),
        TensorType(DType.I64, (70, 1)),
        TensorType(DType.F32, (70, 100, 64)),
    ]
    kernel = group(types, lambda b, x, i, u: b.scatter_nd(x, i, u, reduction="add"), kind="opaque")
    x, _, u = (sample(t, {}, seed) for seed, t in enumerate(types))
    places = np.random.default_rng(0).integers(-40, 40, (70, 1))
    check(kernel, [x, places, u], split=4)


def test_booleans():
    types = [
        TensorType(DType.BOOL, (9,)),
        TensorType(DType.I64, (3,)),
        TensorType(DType.BOOL, (3,)),
    ]
    kernel = group(types, lambda b, x, i, u: b.scatter_elements(x, i, u, axis=0), kind="opaque")
    x, _, u = (sample(t, {}, seed) for seed, t in enumerate(types))
    check(kernel, [x, np.array([8, 0, -5]), u])


@pytest.mark.parametrize("index", [5, -6])
def test_an_index_that_does_not_exist_is_a_fault(index):
    types = [
        TensorType(DType.F32, (5, 3)),
        TensorType(DType.I64, (1, 1)),
        TensorType(DType.F32, (1, 3)),
    ]
    kernel = group(types, lambda b, x, i, u: b.scatter_nd(x, i, u), kind="opaque")
    x, _, u = (sample(t, {}, seed) for seed, t in enumerate(types))
    status, _ = run_kernel(kernel, [x, np.array([[index]]), u])
    assert status != 0
    check(kernel, [x, np.array([[4]]), u])
