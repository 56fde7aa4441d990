"""Exponentials, logarithms, trigonometry: from the C library for float64, own expressions for
float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx

from bireme.codegen import math as math32
from bireme.codegen.index import choose
from bireme.codegen.rules.arithmetic import equal, like
from bireme.codegen.tir import Emitter, Expr, const, immediate, lanes_of, scalar_type, select
from bireme.ir import DType

Function = Callable[..., Expr]


def from_library(name: str, emit: Emitter, *operands: Expr) -> Expr:
    """A function of the C library, called for each lane."""
    dtype = scalar_type(operands[0])
    symbol = name if dtype == "float64" else f"{name}f"
    lanes = lanes_of(operands[0])
    if lanes == 1:
        return tirx.call_pure_extern(dtype, symbol, *operands)
    named = [emit.bind(x) for x in operands]
    results = []
    for lane in range(lanes):
        scalars = [tirx.Shuffle([x], [const(lane, "int32")]) for x in named]
        results.append(emit.bind(tirx.call_pure_extern(dtype, symbol, *scalars)))
    return tirx.Shuffle(results, [const(lane, "int32") for lane in range(lanes)])


def _function(name: str) -> Function:
    """Our expression for float32, the C library's function for float64."""

    def function(emit: Emitter, x: Expr) -> Expr:
        if scalar_type(x) == "float64":
            return from_library(name, emit, x)
        return math32.FUNCTIONS[name](emit, x)

    return function


def _angle(name: str) -> Function:
    """Trigonometry of float32: vectors with a huge angle somewhere go to the C library."""
    usual = _function(name)

    def function(emit: Emitter, x: Expr) -> Expr:
        if scalar_type(x) == "float64":
            return usual(emit, x)
        huge = math32.any_lane(tirx.abs(x) > like(math32.LARGEST_ANGLE, x))
        return choose(
            emit,
            DType.F32,
            lanes_of(x),
            [(huge, lambda: from_library(name, emit, x))],
            lambda: usual(emit, x),
        )

    return function


def _sigmoid(emit: Emitter, x: Expr) -> Expr:
    if scalar_type(x) == "float32":
        return math32.sigmoid(emit, x)
    return like(1, x) / (like(1, x) + FUNCTIONS["exp"](emit, x * like(-1, x)))


def _gelu(emit: Emitter, x: Expr, approximate: bool) -> Expr:
    half = like(0.5, x) * x
    if approximate:
        inner = like(math.sqrt(2 / math.pi), x) * (x + like(0.044715, x) * x * x * x)
        return half * (like(1, x) + FUNCTIONS["tanh"](emit, emit.bind(inner)))
    if scalar_type(x) == "float32":
        return math32.gelu(emit, x)
    return half * (like(1, x) + FUNCTIONS["erf"](emit, emit.bind(x * like(math.sqrt(0.5), x))))


def modulo(emit: Emitter, x: Expr, y: Expr, fmod: bool) -> Expr:
    """Remainder with the sign of `y`, or of `x` when `fmod`."""
    rest = emit.bind(from_library("fmod", emit, x, y), "rest")
    if fmod:
        return rest
    zero = like(0, x)
    differs = tirx.Or(tirx.And(rest < zero, y > zero), tirx.And(rest > zero, y < zero))
    moved = select(differs, rest + y, rest)
    return select(tirx.And(equal(rest, zero), y < zero), like(-0.0, x), moved)


def power(emit: Emitter, x: Expr, y: Expr) -> Expr:
    """`x ** y` in floating point; small constant exponents become products."""
    exponent = immediate(y)
    if exponent is not None and exponent in _SIMPLE_POWERS:
        return _SIMPLE_POWERS[exponent](x)
    return (
        from_library("pow", emit, x, y) if scalar_type(x) == "float64" else math32.power(emit, x, y)
    )


def _square_root(x: Expr) -> Expr:
    """`x ** 0.5`, which differs from `sqrt` at -0 and minus infinity."""
    root = tirx.abs(tirx.sqrt(x))
    return select(equal(x, like(-math.inf, x)), like(math.inf, x), root)


_SIMPLE_POWERS: dict[float, Callable[[Expr], Expr]] = {
    0.0: lambda x: like(1, x),
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    0.5: _square_root,
    -1.0: lambda x: like(1, x) / x,
    -0.5: lambda x: like(1, x) / _square_root(x),
}

FUNCTIONS: dict[str, Function] = {
    **{name: _function(name) for name in math32.FUNCTIONS},
    **{name: _angle(name) for name in ("sin", "cos", "tan")},
    "sigmoid": _sigmoid,
    "gelu": _gelu,
}
