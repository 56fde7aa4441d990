"""The element-wise references against ONNX Runtime, and integers against Python's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from bireme.ir import Array, DType
from bireme.ir.dtypes import INTEGERS
from bireme.ir.reference import run_op
from tests.ir.peer import onnx_type, peer

_random = np.random.default_rng(11)
_WIDE = np.concatenate([
    _random.standard_normal(500) * 3,
    [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 80.0, -80.0, np.inf, -np.inf, np.nan],
]).astype(np.float32)  # fmt: skip

UNARY = {
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "asin": "Asin",
    "acos": "Acos",
    "atan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "tanh": "Tanh",
    "asinh": "Asinh",
    "acosh": "Acosh",
    "atanh": "Atanh",
    "erf": "Erf",
    "sigmoid": "Sigmoid",
    "ceil": "Ceil",
    "floor": "Floor",
    "round": "Round",
    "is_nan": "IsNaN",
}


@pytest.mark.parametrize(("op", "onnx_op"), UNARY.items(), ids=UNARY)
def test_unary(op: str, onnx_op: str) -> None:
    finite = _WIDE[np.isfinite(_WIDE)]
    # ONNX Runtime's vectorised forms of these are wrong at infinity and NaN.
    x = finite if op in {"tan", "sin", "cos", "tanh", "erf", "sigmoid", "sign"} else _WIDE
    (found,) = run_op(op, [x])
    (expected,) = peer(onnx_op, [x])
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu(approximate: bool) -> None:
    x = _WIDE[np.isfinite(_WIDE)]
    (found,) = run_op("gelu", [x], {"approximate": approximate})
    (expected,) = peer("Gelu", [x], approximate="tanh" if approximate else "none")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_relu_and_rsqrt() -> None:
    x = _WIDE[np.isfinite(_WIDE)]
    np.testing.assert_array_equal(run_op("relu", [x])[0], peer("Relu", [x])[0])
    with np.errstate(divide="ignore"):
        expected = 1 / np.sqrt(np.abs(x).astype(np.float64))
    np.testing.assert_allclose(run_op("rsqrt", [np.abs(x)])[0], expected, rtol=1e-6)


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_is_inf(positive: int, negative: int) -> None:
    (found,) = run_op("is_inf", [_WIDE], {"positive": positive, "negative": negative})
    (expected,) = peer("IsInf", [_WIDE], detect_positive=positive, detect_negative=negative)
    np.testing.assert_array_equal(found, expected)


BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "pow": "Pow",
    "equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "minimum": "Min",
    "maximum": "Max",
}


@pytest.mark.parametrize(("op", "onnx_op"), BINARY.items(), ids=BINARY)
@pytest.mark.parametrize("shapes", [((4, 1, 3), (5, 1)), ((), (3,)), ((0, 3), (1,))], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_binary(op: str, onnx_op: str, shapes: Any, dtype: Any) -> None:
    x, y = (np.asarray(_random.integers(1, 7, s), dtype) for s in shapes)
    (found,) = run_op(op, [x, y])
    (expected,) = peer(onnx_op, [x, y])
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8, np.uint8])
@pytest.mark.parametrize("fmod", [False, True])
def test_mod(dtype: Any, fmod: bool) -> None:
    if dtype == np.float32 and not fmod:
        x, y = np.float32([5.5, -5.5, 5.5, -5.5]), np.float32([2, 2, -2, -2])
        expected = x - np.floor(x / y) * y
    else:
        low = 1 if np.dtype(dtype).kind == "u" else -9
        x = _random.integers(low, 10, 50).astype(dtype)
        y = _random.integers(1, 5, 50).astype(dtype)
        y = np.where(_random.integers(0, 2, 50), y, -y if low < 0 else y).astype(dtype)
        (expected,) = peer("Mod", [x, y], fmod=int(fmod))
    np.testing.assert_array_equal(run_op("mod", [x, y], {"fmod": fmod})[0], expected)


@pytest.mark.parametrize("op", ["logical_and", "logical_or", "logical_xor"])
def test_logical(op: str) -> None:
    x = np.array([[True, True], [False, False]])
    y = np.array([True, False])
    (expected,) = peer(op.removeprefix("logical_").capitalize(), [x, y])
    np.testing.assert_array_equal(run_op(op, [x, y])[0], expected)
    np.testing.assert_array_equal(run_op("logical_not", [x])[0], peer("Not", [x])[0])


def _wrapped(value: int, dtype: DType) -> int:
    """`value` modulo the width of an integer type."""
    bits = dtype.bits
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.is_signed and value >> (bits - 1) else value


def _divided(x: int, y: int) -> int:
    return math.trunc(Fraction(x, y)) if y else 0


def _shifted_left(x: int, y: int) -> int:
    return x << y


def _power(x: int, y: int) -> int:
    if y >= 0:
        return x**y
    return math.trunc(Fraction(1, x**-y)) if x else 0


PYTHON: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _divided,
    "mod": lambda x, y: x % y if y else 0,
    "pow": _power,
    "minimum": min,
    "maximum": max,
    "bitwise_and": lambda x, y: x & y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_xor": lambda x, y: x ^ y,
    "shift_left": _shifted_left,
    "shift_right": lambda x, y: x >> y,
}


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.label)
@pytest.mark.parametrize("op", PYTHON)
def test_integers_wrap_as_the_table_says(op: str, dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    edges = [info.min, info.min + 1, -3, -1, 0, 1, 2, 3, 7, info.max - 1, info.max]
    left = [v for v in edges if info.min <= v <= info.max]
    right = [v for v in left if -9 < v < 9 or op != "pow"]
    if op.startswith("shift"):
        right = [0, 1, dtype.bits - 1, dtype.bits, dtype.bits + 1]
    x = np.array(left, dtype.numpy)[:, np.newaxis]
    y = np.array(right, dtype.numpy)
    (found,) = run_op(op, [x, y])
    # A divisor of 0 gives 0 whatever the base of a power is.
    expected = [[_wrapped(PYTHON[op](a, b), dtype) for b in right] for a in left]
    assert found.dtype == dtype.numpy
    assert found.tolist() == expected


def test_least_integer_has_no_negative() -> None:
    least = np.array([-128], np.int8)
    assert run_op("neg", [least])[0].tolist() == [-128]
    assert run_op("abs", [least])[0].tolist() == [-128]


def test_nan_propagates_through_minimum_and_maximum() -> None:
    x, y = np.float32([np.nan, 1]), np.float32([1, np.nan])
    for op in ("minimum", "maximum"):
        for dtype in (np.float16, np.float32, ml_dtypes.bfloat16):
            (found,) = run_op(op, [x.astype(dtype), y.astype(dtype)])
            assert np.isnan(found.astype(np.float32)).all()


CASTS = [
    (np.float32, np.int8), (np.float32, np.int64), (np.float64, np.float16), (np.int64, np.uint8),
    (np.int32, np.int16), (np.bool_, np.float32), (np.int32, np.bool_), (np.float32, np.bool_),
    (np.float16, np.float32), (np.uint8, np.float64), (np.int64, np.float32),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), CASTS, ids=lambda d: np.dtype(d).name)
def test_cast(source: Any, target: Any) -> None:
    values = np.array([0, 1, -1, 2.75, -2.75, 100, -100, 300.5, 0.25])
    if np.dtype(source).kind == "f" and np.dtype(target).kind in "iu":
        values = values[np.abs(values) < 128]
    x = values.astype(source)
    (found,) = run_op("cast", [x], {"dtype": target})
    (expected,) = peer("Cast", [x], to=onnx_type(target))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_cast_of_bfloat16() -> None:
    x = np.float32([1.00390625, -3.0, 0.0, np.inf])
    (narrow,) = run_op("cast", [x], {"dtype": "bfloat16"})
    assert narrow.dtype == ml_dtypes.bfloat16
    # Halfway between two bfloat16 values: to even.
    assert narrow.astype(np.float32).tolist() == [1.0, -3.0, 0.0, np.inf]
    assert run_op("cast", [narrow[:3]], {"dtype": "int8"})[0].tolist() == [1, -3, 0]
    assert run_op("cast", [narrow], {"dtype": "bool"})[0].tolist() == [True, True, False, True]


def test_where() -> None:
    condition = np.array([[True], [False]])
    x, y = np.float32([1, 2, 3]), np.float32(9)
    (found,) = run_op("where", [condition, x, y])
    np.testing.assert_array_equal(found, peer("Where", [condition, x, y])[0])
    narrow: Array = x.astype(ml_dtypes.bfloat16)
    assert run_op("where", [condition, narrow, narrow])[0].dtype == ml_dtypes.bfloat16
