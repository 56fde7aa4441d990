"""Keeps TVM from simplifying floating-point arithmetic.

TVM 0.27 takes floats for real numbers: it makes 0 of `x - x` and `x * 0`, `x` of `(x + y) - y` and
`x + 0`, true of `x == x`, `y <= x` of `not x < y`. With infinities, NaNs, the sign of zero or
rounding that is wrong. While it simplifies the integers around them, operations on floats are
therefore calls of functions that it does not know (`hide`), and operations again when it is done
(`reveal`). Its operators look at constants as soon as they are applied; of those only zeros do
harm, which are such calls from the first to the last (`zero`, `reveal_zeros`).

LLVM keeps to IEEE 754 but for multiplications and additions that it contracts.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call

_KINDS = (
    tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max,
    tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE,
)  # fmt: skip
_CALL = tvm.ir.Op.get("tirx.call_pure_extern")
_ZEROS = {"float.zero": 0.0, "float.minus_zero": -0.0}


def _different(a: Any, b: Any) -> Any:
    """`a != b`, true of NaN: as TVM has LLVM compare, it is not."""
    return tirx.Not(tirx.EQ(a, b))


_OPERATIONS = {f"float.{kind.__name__}": kind for kind in _KINDS} | {"float.NE": _different}


def zero(value: float, dtype: str) -> Any:
    """A float constant that is zero, of its sign."""
    name = "float.minus_zero" if math.copysign(1, value) < 0 else "float.zero"
    return tirx.call_pure_extern(dtype, name)


def zero_of(expr: Any) -> float | None:
    """The number of an expression that `zero` made, or None."""
    return _ZEROS.get(_name(expr)) if isinstance(expr, Call) else None


def hide(function: Any) -> Any:
    """The function with calls in place of operations on floats."""
    return tvm_ffi.structural_map(function, [(_KINDS, _hidden)])


def reveal(function: Any) -> Any:
    """The function with operations again."""
    return tvm_ffi.structural_map(function, [(Call, _operation)])


def reveal_zeros(function: Any) -> Any:
    """The function with plain constants for what `zero` made."""
    return tvm_ffi.structural_map(function, [(Call, _constant)])


def _hidden(operation: Any) -> Any:
    a, b = operation.a, operation.b
    if not a.ty.dtype.startswith("float"):
        return operation
    return tirx.call_pure_extern(operation.ty.dtype, f"float.{type(operation).__name__}", a, b)


def _operation(call: Any) -> Any:
    build = _OPERATIONS.get(_name(call))
    return build(*call.args[1:]) if build else call


def _constant(call: Any) -> Any:
    number = zero_of(call)
    return call if number is None else tirx.const(number, call.ty.dtype)


def _name(call: Any) -> str:
    """The function that a call names, "" for other calls."""
    return str(call.args[0].value) if call.op.same_as(_CALL) else ""
