"""Every element-wise op, for every element type, at the values where implementations differ."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from bireme.ir import DType, TensorType
from bireme.ir.dtypes import ANY, FLOATS, INTEGERS, WIDE
from bireme.ir.opdef import Fusion
from bireme.ir.ops import OPS
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import Array, group

# Ops that take other operands than one or two tensors of one type; they have tests of their own.
OTHERS = {"bitcast", "cast", "where", "quantize", "dequantize"}
OTHERS |= {"random_uniform", "random_normal"}
POINTWISE = [op for op in OPS.values() if op.fusion is Fusion.POINTWISE and op.name not in OTHERS]
CASES = [(op, dtype) for op in POINTWISE for dtype in op.operands[0].dtypes]

_SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -2.5, np.inf, -np.inf, np.nan, 1e-3, 100.0, -30.0)


def values(dtype: DType) -> Array:
    """Edges of a type's range, then ordinary values."""
    rng = np.random.default_rng(0)
    if dtype.is_narrow:
        return np.arange(1 << dtype.value_bits, dtype=np.uint8).view(dtype.numpy)
    if dtype is DType.BOOL:
        return np.arange(37) % 3 == 0
    if dtype.is_float:
        return np.concatenate([_SPECIAL, rng.normal(0, 3, 23)]).astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    edges = [info.min, info.min + 1, 0, 1, 2, 3, 7, 31, 33, info.max - 1, info.max]
    if dtype.is_signed:
        edges += [-1, -2, -7]
    rest = rng.integers(info.min, info.max, 37 - len(edges), dtype.numpy, endpoint=True)
    return np.concatenate([np.array(edges, dtype.numpy), rest])


def operands(name: str, dtype: DType, count: int) -> list[Array]:
    """All pairs of values, flattened; shifts are not negative."""
    base = values(dtype)
    if count == 1:
        return [base]
    pairs = np.array(list(itertools.product(range(base.size), repeat=2)))
    x, y = base[pairs[:, 0]], base[pairs[:, 1]]
    if name.startswith("shift"):
        y = np.where(y == np.iinfo(dtype.numpy).min, 0, abs(y)) if dtype.is_signed else y
    return [x, y.astype(dtype.numpy)]


@pytest.mark.parametrize(
    ("op", "dtype"), CASES, ids=[f"{op.name}-{dtype.label}" for op, dtype in CASES]
)
def test_all_types(op, dtype):
    count = len(op.operands)
    x = operands(op.name, dtype, count)
    kernel = group([TensorType(dtype, v.shape) for v in x], lambda b, *a: b.op(op.name, a).result)
    check(kernel, x, rtol=_tolerance(dtype), atol=_tolerance(dtype))


def _tolerance(dtype: DType) -> float:
    """Of an element itself: unlike sums, one operation has no larger terms to lose digits in."""
    return {DType.F64: 1e-14, DType.F32: 4e-7, DType.F16: 1e-3, DType.BF16: 8e-3}.get(dtype, 0)


@pytest.mark.parametrize("target", DType, ids=lambda d: d.label)
@pytest.mark.parametrize("source", DType, ids=lambda d: d.label)
def test_cast(source, target):
    x = values(source)
    if source.is_float and target.is_integer:
        # What is out of range may become anything.
        info = ml_dtypes.iinfo(target.numpy)
        wide = x.astype(np.float64)
        x = x[(wide > max(info.min, -1e4) - 1) & (wide < min(info.max, 1e4) + 1)]
    check(group([TensorType(source, x.shape)], lambda b, x: b.cast(x, dtype=target)), [x])


SAME_WIDTH = [
    (x, y) for x in ANY for y in WIDE if x.value_bits == y.value_bits and y is not DType.BOOL
]


@pytest.mark.parametrize(("source", "target"), SAME_WIDTH, ids=lambda d: d.label)
def test_bitcast(source, target):
    x = values(source)
    if source in (DType.F16, DType.BF16) or target in (DType.F16, DType.BF16):
        # Of a NaN's bits only so much is promised, that they are a NaN's.
        wide = x.view(target.numpy).astype(np.float64) + x.astype(np.float64)
        x = x[~np.isnan(wide)]
    kernel = group([TensorType(source, x.shape)], lambda b, x: b.bitcast(x, dtype=target))
    (found,) = check(kernel, [x])
    np.testing.assert_array_equal(found.view(np.uint8), x.view(np.uint8))


@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.label)
def test_where(dtype):
    x, y = values(dtype), values(dtype)[::-1].copy()
    condition = np.arange(x.size) % 2 == 0
    types = [TensorType(DType.BOOL, x.shape), *[TensorType(dtype, x.shape)] * 2]
    check(group(types, lambda b, c, x, y: b.where(c, x, y)), [condition, x, y])


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.label)
def test_levels(dtype, level):
    """A chain with transcendental functions, on every instruction set."""
    x = values(dtype)
    kernel = group(
        [TensorType(dtype, x.shape)], lambda b, x: b.mul(b.sigmoid(b.exp(x)), b.round(x))
    )
    check(kernel, [x], level=level)


@pytest.mark.parametrize("fmod", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.label)
def test_modulo(dtype, fmod):
    x, y = operands("mod", dtype, 2)
    kernel = group(
        [TensorType(dtype, v.shape) for v in (x, y)], lambda b, x, y: b.mod(x, y, fmod=fmod)
    )
    check(kernel, [x, y], rtol=0, atol=0)


@pytest.mark.parametrize(("positive", "negative"), itertools.product([False, True], repeat=2))
def test_is_inf(positive, negative):
    x = values(DType.F32)
    kernel = group(
        [TensorType(DType.F32, x.shape)],
        lambda b, x: b.is_inf(x, positive=positive, negative=negative),
    )
    check(kernel, [x])


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu(approximate):
    x = np.linspace(-12, 12, 1001, dtype=np.float32)
    kernel = group(
        [TensorType(DType.F32, x.shape)], lambda b, x: b.gelu(x, approximate=approximate)
    )
    check(kernel, [x], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16, DType.U16], ids=lambda d: d.label)
@pytest.mark.parametrize("real", [DType.F32, DType.F16], ids=lambda d: d.label)
def test_quantize(real, dtype, axis):
    x = np.random.default_rng(0).normal(0, 50, (5, 37)).astype(real.numpy)
    count = () if axis is None else (x.shape[axis],)
    scale = np.random.default_rng(1).uniform(0.25, 0.75, count).astype(real.numpy)
    zero = np.random.default_rng(2).integers(0, 9, count).astype(dtype.numpy)
    types = [TensorType(real, x.shape), TensorType(real, count), TensorType(dtype, count)]
    attrs = {} if axis is None else {"axis": axis}
    kernel = group(types, lambda b, *a: b.quantize(*a, **attrs))
    (steps,) = check(kernel, [x, scale, zero])
    types[0] = types[0].with_dtype(dtype)
    check(group(types, lambda b, *a: b.dequantize(*a, **attrs)), [steps, scale, zero])
    check(group(types[:2], lambda b, *a: b.dequantize(*a, **attrs)), [steps, scale])


def test_quantize_saturates():
    x = np.array([1e30, -1e30, 3e9, 127.4, 0.5, 1.5], np.float32)
    types = [TensorType(DType.F32, x.shape), TensorType(DType.F32, ()), TensorType(DType.I8, ())]
    kernel = group(types, lambda b, *a: b.quantize(*a))
    (steps,) = check(kernel, [x, np.array(1, np.float32), np.array(-1, np.int8)])
    assert steps.tolist() == [127, -128, 127, 126, -1, 1]


def test_dequantize_wide():
    """The difference of 32-bit integers does not overflow."""
    x = np.array([2**31 - 1, -(2**31)], np.int32)
    types = [TensorType(DType.I32, (2,)), TensorType(DType.F32, ()), TensorType(DType.I32, ())]
    kernel = group(types, lambda b, *a: b.dequantize(*a))
    check(kernel, [x, np.array(0.5, np.float32), np.array(-5, np.int32)])


def test_integers_that_fold_to_zero():
    check(group([TensorType(DType.I64, (5,))], lambda b, x: b.add(b.sub(x, x), b.sub(x, x))))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", ["add", "sub", "mul"])
@pytest.mark.parametrize("value", [-8, -1, 0, 1, 3])
def test_integer_arithmetic_with_a_constant(name, dtype, value):
    constant = np.array(value).astype(dtype.numpy)
    kernel = group(
        [TensorType(dtype, (5,))], lambda b, x: getattr(b, name)(x, b.constant(constant))
    )
    check(kernel, [np.array([0, 1, 3, 7, 100]).astype(dtype.numpy)])
