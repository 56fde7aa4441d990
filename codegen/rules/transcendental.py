"""Exponentials, logarithms, trigonometry: from the C library for float64, own expressions for float32."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx

from bireme.codegen.rules.arithmetic import equal, like
from bireme.codegen.tir import Emitter, Expr, const, lanes_of, scalar_type, select

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


def _library(name: str) -> Function:
    return lambda emit, *operands: from_library(name, emit, *operands)


def _sigmoid(emit: Emitter, x: Expr) -> Expr:
    return like(1, x) / (like(1, x) + FUNCTIONS["exp"](emit, x * like(-1, x)))


def _gelu(emit: Emitter, x: Expr, approximate: bool) -> Expr:
    half = like(0.5, x) * x
    if approximate:
        inner = like(math.sqrt(2 / math.pi), x) * (x + like(0.044715, x) * x * x * x)
        return half * (like(1, x) + FUNCTIONS["tanh"](emit, inner))
    return half * (like(1, x) + FUNCTIONS["erf"](emit, x * like(math.sqrt(0.5), x)))


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
    return from_library("pow", emit, x, y)


FUNCTIONS: dict[str, Function] = {
    "exp": _library("exp"),
    "log": _library("log"),
    "sin": _library("sin"),
    "cos": _library("cos"),
    "tan": _library("tan"),
    "asin": _library("asin"),
    "acos": _library("acos"),
    "atan": _library("atan"),
    "sinh": _library("sinh"),
    "cosh": _library("cosh"),
    "tanh": _library("tanh"),
    "asinh": _library("asinh"),
    "acosh": _library("acosh"),
    "atanh": _library("atanh"),
    "erf": _library("erf"),
    "sigmoid": _sigmoid,
    "gelu": _gelu,
}
