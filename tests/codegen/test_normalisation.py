"""Softmax and the normalisations against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import group

N = symbol("n")
SIZES = [1, 5, 16, 40, 129]
FLOATS = [DType.F32, DType.F64, DType.F16, DType.BF16]


def types(dtype, *shapes):
    return [TensorType(dtype, shape) for shape in shapes]


# Operands and body of each op, in a group with what usually stands around it.
CASES = {
    "softmax": (((3, N), (N,)), lambda b, x, m: b.softmax(b.add(x, m))),
    "softmax_bare": (((3, 2, N),), lambda b, x: b.softmax(x)),
    "softmax_inner": (((3, 5, N), (N,)), lambda b, x, m: b.softmax(b.mul(x, m), axis=1)),
    "softmax_rest": (((3, N),), lambda b, x: b.add(x, b.softmax(b.mul(x, x)))),
    "log_softmax": (((3, N), (N,)), lambda b, x, m: b.log_softmax(b.add(x, m))),
    "log_softmax_inner": (((3, N, 7),), lambda b, x: b.log_softmax(x, axis=1)),
    "layer_norm": (
        ((3, 4, N), (3, 4, N), (N,), (N,)),
        lambda b, x, y, s, c: b.layer_norm(b.add(x, y), s, c),
    ),
    "layer_norm_axes": (
        ((3, 4, N), (N,), (4, N)), lambda b, x, s, c: b.relu(b.layer_norm(x, s, c, axis=1))
    ),
    "layer_norm_bare": (((3, N),), lambda b, x: b.layer_norm(x)),
    "rms_norm": (((3, 7, N), (N,)), lambda b, x, s: b.rms_norm(x, s, epsilon=1e-4)),
    "instance_norm": (
        ((2, 3, 5, N), (3,), (3,)), lambda b, x, s, c: b.instance_norm(x, s, c, epsilon=1e-3)
    ),
    "group_norm": (
        ((2, 6, 5, N), (6,), (6,)), lambda b, x, s, c: b.relu(b.group_norm(x, s, c, groups=2))
    ),
    "batch_norm": (
        ((2, 6, N), (6,), (6,), (6,), (6,)),
        lambda b, x, s, c, m, v: b.relu(b.batch_norm(x, s, c, m, b.mul(v, v))),
    ),
    "lrn": (((2, 6, 3, N),), lambda b, x: b.lrn(x, size=4, alpha=0.1)),
}  # fmt: skip

# A variance of nearly nothing makes a result as uncertain as rounding makes the variance.
ABSOLUTE = {DType.F64: 1e-11, DType.F32: 1e-4, DType.F16: 0.02, DType.BF16: 0.15}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_sizes(name, n):
    shapes, body = CASES[name]
    check(group(types(DType.F32, *shapes), body), sizes={"n": n}, atol=ABSOLUTE[DType.F32])


@pytest.mark.parametrize("dtype", FLOATS[1:], ids=repr)
@pytest.mark.parametrize("name", CASES)
def test_element_types(name, dtype):
    shapes, body = CASES[name]
    check(group(types(dtype, *shapes), body), sizes={"n": 35}, atol=ABSOLUTE[dtype])


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
@pytest.mark.parametrize("name", ["softmax", "softmax_inner", "layer_norm", "group_norm"])
def test_levels(name, level):
    shapes, body = CASES[name]
    check(group(types(DType.F32, *shapes), body), sizes={"n": 39}, level=level, atol=1e-4)


@pytest.mark.parametrize("n", [3, 7, 16, 31, 100])
def test_static_sizes(n):
    shapes = [(5, n), (n,)]
    check(group(types(DType.F32, *shapes), CASES["softmax"][1]), split=5)
    shapes = [(5, 2, n), (5, 2, n), (n,), (n,)]
    check(group(types(DType.F32, *shapes), CASES["layer_norm"][1]), atol=1e-4, split=2)


def test_softmax_does_not_overflow():
    x = np.array([[1000.0, 1001.0, -1000.0] * 9, [-3e38] * 27], np.float32)
    (found,) = check(group(types(DType.F32, (2, 27)), lambda b, x: b.softmax(x)), [x])
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_softmax_of_nothing_but_masked_elements_is_nan():
    x = np.full((2, 20), -np.inf, np.float32)
    x[1, 3] = 0
    (found,) = check(group(types(DType.F32, (2, 20)), lambda b, x: b.softmax(x)), [x])
    assert np.isnan(found[0]).all()
    assert found[1, 3] == 1


def test_empty_rows_and_batches():
    for sizes in ((0, 5), (5, 0)):
        check(group(types(DType.F32, sizes), lambda b, x: b.softmax(x)))
