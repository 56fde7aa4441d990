"""Accuracy of the float32 functions in units in the last place, over all magnitudes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bireme.ir import DType, TensorType
from bireme.ir.reference import run_op
from bireme.targets.x86.chips import LEVELS
from tests.codegen.kernels import group, run_kernel

# Largest error in ulp, as codegen/math.py states it.
ULP = {
    "exp": 1.0,
    "log": 0.8,
    "sigmoid": 2.0,
    "tanh": 2.3,
    "sinh": 1.6,
    "cosh": 1.5,
    "erf": 2.1,
    "asinh": 3.6,
    "acosh": 2.1,
    "atanh": 1.4,
    "sin": 1.6,
    "cos": 1.6,
    "tan": 3.4,
    "asin": 2.5,
    "acos": 1.4,
    "atan": 2.6,
}
SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1,
        -1,
        math.inf,
        -math.inf,
        math.nan,
        1e-45,
        -1e-45,
        1.2e-38,
        3.4e38,
        -3.4e38,
        0.5,
        -0.5,
        88.72,
        88.73,
        89.4,
        -87.3,
        -103.9,
        -104.1,
        4,
        -4,
        1e6,
        2e6,
        -1e30,
    ],
    np.float32,
)
LEAST_NORMAL = np.float32(2.0**-126)


def arguments(count: int) -> np.ndarray:
    """Special values, random bit patterns, and values of ordinary size."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)
    ordinary = [(rng.standard_normal(count) * scale).astype(np.float32) for scale in (0.4, 3, 40)]
    return np.concatenate([SPECIAL, patterns, *ordinary])


def errors(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Distance in ulp of float32 results from float64 ones; infinity where only one is NaN."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(np.float32)
        unit = np.spacing(np.maximum(np.abs(rounded), LEAST_NORMAL)).astype(np.float64)
        distance = np.abs(found.astype(np.float64) - wanted) / unit
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    return np.where(same, 0, np.nan_to_num(distance, nan=np.inf))


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("name", ULP)
def test_accuracy(name, level):
    x = arguments(20_000)
    if name == "sigmoid":
        x = x[~(x < -88)]
    kernel = group([TensorType(DType.F32, x.shape)], lambda b, x: b.op(name, [x]).result)
    _, (found,) = run_kernel(kernel, [x], level=level)
    (wanted,) = run_op(name, [x.astype(np.float64)])
    error = errors(found, wanted)
    worst = error.argmax()
    assert error[worst] <= ULP[name], (x[worst], found[worst], wanted[worst])


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_sigmoid_of_large_negative_numbers(level):
    x = -np.concatenate([np.linspace(87.5, 95, 1999), np.geomspace(95, 3e38, 48), [np.inf]])
    kernel = group([TensorType(DType.F32, x.shape)], lambda b, x: b.sigmoid(x))
    _, (found,) = run_kernel(kernel, [x.astype(np.float32)], level=level)
    assert found.min() >= 0
    assert found.max() < 1e-37
    assert (found[x < -88.8] == 0).all()


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_power(level):
    rng = np.random.default_rng(0)
    special = [
        0,
        -0.0,
        1,
        -1,
        math.inf,
        -math.inf,
        math.nan,
        0.5,
        -0.5,
        2,
        -2,
        3,
        -3,
        3e38,
        2**24 + 1,
    ]
    grid = np.array(np.meshgrid(special, special), np.float32).reshape(2, -1)
    x = np.concatenate([grid[0], np.abs(rng.standard_normal(20_000) * 3).astype(np.float32)])
    y = np.concatenate([grid[1], (rng.standard_normal(20_000) * 8).astype(np.float32)])
    types = [TensorType(DType.F32, v.shape) for v in (x, y)]
    kernel = group(types, lambda b, x, y: b.pow(x, y))
    _, (found,) = run_kernel(kernel, [x, y], level=level)
    (wanted,) = run_op("pow", [x.astype(np.float64), y.astype(np.float64)])
    assert errors(found, wanted).max() <= 0.51
    zero = wanted == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -1, -0.5])
def test_simple_powers(exponent):
    """Exponents that are known become multiplications and roots."""
    x = np.concatenate([SPECIAL, np.linspace(-4, 4, 41, dtype=np.float32)])
    y = np.float32(exponent)
    kernel = group([TensorType(DType.F32, x.shape)], lambda b, x: b.pow(x, b.constant(y)))
    _, (found,) = run_kernel(kernel, [x])
    (wanted,) = run_op("pow", [x.astype(np.float64), np.full(x.shape, y, np.float64)])
    subnormal = np.abs(wanted) < LEAST_NORMAL
    assert errors(found, wanted)[~subnormal].max() <= 1.6


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name):
    """One huge angle in a vector does not spoil its neighbours."""
    x = np.tile(np.array([0.3, 1e9, -2.5, 3.4e38, math.inf, 7e6], np.float32), 9)
    kernel = group([TensorType(DType.F32, x.shape)], lambda b, x: b.op(name, [x]).result)
    _, (found,) = run_kernel(kernel, [x])
    (wanted,) = run_op(name, [x.astype(np.float64)])
    assert errors(found, wanted).max() <= 1.0


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_gelu(level):
    """What is left of a large negative argument is not its rounding error times the argument."""
    x = np.concatenate([arguments(20_000), np.linspace(-7, 7, 20_001, dtype=np.float32)])
    kernel = group([TensorType(DType.F32, x.shape)], lambda b, x: b.gelu(x))
    _, (found,) = run_kernel(kernel, [x], level=level)
    (wanted,) = run_op("gelu", [x.astype(np.float64)])
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted.astype(np.float32)))
    known = np.isfinite(found)
    error = np.abs(found[known] - wanted[known])
    assert (error <= 4e-7 * np.abs(x[known]) + 1e-45).all()
    far = known & (x < -6)
    assert far.any()
    assert (np.abs(found[far]) <= 1e-8).all()
