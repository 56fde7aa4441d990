"""Identities of real numbers that do not hold for floats: none may be made use of."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from tvm import tirx

from bireme.codegen.abi import kernel_function
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.tir import Buffer, Emitter, Expr, index, select
from bireme.ir import DType, TensorType
from bireme.ir.dtypes import FLOATS
from bireme.ir.reference import run
from tests.codegen.kernels import Array, group, native, run_kernel

SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3.0, -5.5, 0.1, 3e4, 6e-5, 6e-8, 1e-41)

# By name: elements from two others and constants, of TVM's expressions or of NumPy's arrays.
Form = Callable[[Any, Any, Callable[[float], Any]], Any]
ARITHMETIC: dict[str, Form] = {
    "x - x": lambda x, y, c: x - x,
    "x + -x": lambda x, y, c: x + x * c(-1),
    "(x + y) - y": lambda x, y, c: (x + y) - y,
    "(x + y) - x": lambda x, y, c: (x + y) - x,
    "x - (x + y)": lambda x, y, c: x - (x + y),
    "x - (y + x)": lambda x, y, c: x - (y + x),
    "x + (y - x)": lambda x, y, c: x + (y - x),
    "(x - y) + y": lambda x, y, c: (x - y) + y,
    "(x - y) - x": lambda x, y, c: (x - y) - x,
    "(x + c) - c": lambda x, y, c: (x + c(1e4)) - c(1e4),
    "(x + c) + d": lambda x, y, c: (x + c(3)) + c(0.1),
    "x / x": lambda x, y, c: x / x,
    "x / y * y": lambda x, y, c: x / y * y,
    "x * y / y": lambda x, y, c: x * y / y,
    "x * c / c": lambda x, y, c: x * c(3) / c(3),
    "x / 3": lambda x, y, c: x / c(3),
    "x / 0": lambda x, y, c: x / c(0),
    "x / -0": lambda x, y, c: x / c(-0.0),
    "x / inf": lambda x, y, c: x / c(np.inf),
    "x * 0": lambda x, y, c: x * c(0),
    "0 * x": lambda x, y, c: c(0) * x,
    "x * -0": lambda x, y, c: x * c(-0.0),
    "0 / x": lambda x, y, c: c(0) / x,
    "x + 0": lambda x, y, c: x + c(0),
    "0 + x": lambda x, y, c: c(0) + x,
    "x + -0": lambda x, y, c: x + c(-0.0),
    "x - 0": lambda x, y, c: x - c(0),
    "0 - x": lambda x, y, c: c(0) - x,
    "-0 - x": lambda x, y, c: c(-0.0) - x,
    "x * 1": lambda x, y, c: x * c(1),
    "x * -1 * -1": lambda x, y, c: x * c(-1) * c(-1),
}
COMPARISONS: dict[str, Form] = {
    "x < x": lambda x, y, c: x < x,
    "x <= x": lambda x, y, c: x <= x,
    "x > x": lambda x, y, c: x > x,
    "x >= x": lambda x, y, c: x >= x,
    "x < x + 1": lambda x, y, c: x < x + c(1),
    "x - y < 0": lambda x, y, c: x - y < c(0),
    "x + 3 < y + 3": lambda x, y, c: x + c(3) < y + c(3),
    "x * -1 < y * -1": lambda x, y, c: x * c(-1) < y * c(-1),
    "0 * x < 1": lambda x, y, c: c(0) * x < c(1),
}
# A comparison, its opposite among real numbers, and the comparison in NumPy.
OPPOSITES: dict[str, tuple[Form, Form, Form]] = {
    "x < y": (lambda x, y, c: x < y, lambda x, y, c: x >= y, lambda x, y, c: x < y),
    "x <= y": (lambda x, y, c: x <= y, lambda x, y, c: x > y, lambda x, y, c: x <= y),
    "x > 0": (lambda x, y, c: x > c(0), lambda x, y, c: x <= c(0), lambda x, y, c: x > 0),
    "x == x": (
        lambda x, y, c: a.equal(x, x),
        lambda x, y, c: a.unequal(x, x),
        lambda x, y, c: x == x,
    ),
    "x == y": (
        lambda x, y, c: a.equal(x, y),
        lambda x, y, c: a.unequal(x, y),
        lambda x, y, c: x == y,
    ),
}
NAMES = [*ARITHMETIC, *COMPARISONS]


def operands(dtype: DType) -> tuple[Array, Array]:
    """All pairs of special values, filled up to whole vectors."""
    with np.errstate(over="ignore"):
        pairs = np.array(list(product(SPECIAL, SPECIAL)) + [(0, 0)] * 4).astype(dtype.numpy)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


Element = Callable[[Expr, Expr], Expr]


def calculate(dtype: DType, lanes: int, elements: list[Element]) -> Array:
    """Each function of the operands, row by row, by native code on vectors of so many lanes."""
    arrays = operands(dtype)
    count = arrays[0].size
    line, table = TensorType(dtype, (count,)), TensorType(dtype, (len(elements), count))

    def body(emit: Emitter, buffers: list[Buffer], *_: Any) -> None:
        with emit.loop("i", count // lanes) as i:
            first = i * index(lanes)
            for row, element in enumerate(elements):
                at = [first, first + index(row * count)]
                place, target = (
                    tirx.Ramp(offset, index(1), lanes) if lanes > 1 else offset for offset in at
                )
                x, y = (emit.bind(emit.load(b, place)) for b in buffers[:2])
                emit.store(buffers[2], target, element(x, y))

    arguments = [("x", line), ("y", line), ("r", table)]
    function = native(kernel_function("kernel", arguments, [], body))
    result = np.zeros((len(elements), count), dtype.numpy)
    addresses = np.array([each.ctypes.data for each in (*arrays, result)])
    status = function(
        ctypes.c_void_p(addresses.ctypes.data), None, None, *map(ctypes.c_int64, (0, 1))
    )
    assert status == 0
    return result


def expected(dtype: DType, form: Form) -> Array:
    """The same by NumPy, in the type that elements are calculated in."""
    kind = np.float64 if dtype is DType.F64 else np.float32
    x, y = (array.astype(kind) for array in operands(dtype))
    with np.errstate(all="ignore"):
        return np.asarray(form(x, y, kind)).astype(dtype.numpy)


def as_number(condition: Expr, x: Expr) -> Expr:
    return select(condition, a.like(1, x), a.like(0, x))


@cache
def forms(dtype: DType, lanes: int) -> dict[str, Array]:
    def applied(form: Form, name: str) -> Element:
        def element(x: Expr, y: Expr) -> Expr:
            value = form(x, y, lambda number: a.like(number, x))
            return as_number(value, x) if name in COMPARISONS else value

        return element

    elements = [applied(form, name) for name, form in (ARITHMETIC | COMPARISONS).items()]
    return dict(zip(NAMES, calculate(dtype, lanes, elements), strict=True))


def assert_same_bits(found: Array, wanted: Array) -> None:
    """Equal, NaN where NaN is wanted, and of the same sign where zero."""
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_array_equal(found, wanted)
    signs = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[signs]), np.signbit(wanted[signs]))


TYPES = pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.label)
LANES = pytest.mark.parametrize("lanes", [1, 8])


@pytest.mark.parametrize("name", NAMES)
@LANES
@TYPES
def test_expressions(dtype: DType, lanes: int, name: str) -> None:
    wanted = expected(dtype, (ARITHMETIC | COMPARISONS)[name])
    assert_same_bits(forms(dtype, lanes)[name], wanted)


@LANES
@TYPES
@pytest.mark.parametrize("name", OPPOSITES)
def test_opposites(name: str, dtype: DType, lanes: int) -> None:
    form, other, plain = OPPOSITES[name]

    def of(x: Expr, y: Expr) -> tuple[Expr, Expr]:
        first, second = (f(x, y, lambda number: a.like(number, x)) for f in (form, other))
        return first, second

    found = calculate(
        dtype,
        lanes,
        [
            lambda x, y: as_number(of(x, y)[0], x),
            lambda x, y: as_number(of(x, y)[1], x),
            lambda x, y: as_number(tirx.Not(of(x, y)[0]), x),
            lambda x, y: as_number(tirx.Or(*of(x, y)), x),
            lambda x, y: as_number(tirx.And(*of(x, y)), x),
            lambda x, y: select(of(x, y)[0], a.like(1, x), as_number(of(x, y)[1], x)),
        ],
    )
    holds = expected(dtype, plain).astype(bool)
    x, y = (array.astype(np.float64) for array in operands(dtype))
    ordered = ~(np.isnan(x) | (np.isnan(y) & ("y" in name)))
    against = ~holds if name.endswith(("== x", "== y")) else ~holds & ordered
    wanted = [holds, against, ~holds, holds | against, holds & against, holds | against]
    np.testing.assert_array_equal(found.astype(np.float64), np.array(wanted, np.float64))


OPS = ("add", "sub", "mul", "div", "equal", "not_equal", "less", "less_equal", "greater_equal")


@TYPES
def test_ops_on_one_value_twice(dtype: DType) -> None:
    x = np.array(SPECIAL * 3).astype(dtype.numpy)
    kernel = group(
        [TensorType(dtype, x.shape)], lambda b, x: [b.op(name, [x, x]).result for name in OPS]
    )
    _agree(kernel, x)


@TYPES
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, np.inf, np.nan])
@pytest.mark.parametrize("rank", [0, 1], ids=["scalar", "vector"])
def test_ops_with_a_constant(rank: int, value: float, dtype: DType) -> None:
    number = np.array(value).astype(dtype.numpy)

    def both(b: Any, x: Any) -> list[Any]:
        c = b.constant(number)
        return [b.op(name, pair).result for name in OPS for pair in ([x, c], [c, x])]

    shape = (len(SPECIAL) * 3,)[:rank]
    kernel = group([TensorType(dtype, shape)], both)
    for element in (0.0, np.inf, np.nan) if rank == 0 else SPECIAL[:1]:
        x = np.array(SPECIAL * 3 if rank else element).astype(dtype.numpy)
        _agree(kernel, x)


def _agree(kernel: Any, x: Array) -> None:
    status, found = run_kernel(kernel, [x])
    assert status == 0
    with np.errstate(all="ignore"):
        wanted = run(kernel.graph, {"x0": x}).values()
    for one, other in zip(found, wanted, strict=True):
        assert_same_bits(one, np.asarray(other))
