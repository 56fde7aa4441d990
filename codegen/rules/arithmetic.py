"""Arithmetic on elements with the exact meaning of the ops: wrap-around, NaN, division by zero.

Functions take vectors or scalars of one element type. LLVM may assume that signed integers do not
overflow and that NaN does not matter in `max`, so neither is used as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from bireme.codegen.tir import (
    Emitter,
    Expr,
    cast,
    const,
    immediate,
    match,
    reinterpret,
    scalar_type,
    select,
)

Binary = Callable[[Expr, Expr], Expr]


def like(value: Any, x: Expr) -> Expr:
    """A constant with the type and lanes of `x`."""
    dtype = scalar_type(x)
    (found, _) = match(const(float(value) if dtype.startswith("float") else value, dtype), x)
    return found


def wrapping(function: Binary) -> Binary:
    """Integer arithmetic that wraps around, calculated in signed numbers whatever the type.

    TVM tells LLVM that 32 and 64-bit arithmetic does not overflow. Of signed numbers that is as
    good as true; of unsigned ones it is not: `x - y` below zero, or -1 taken for the largest
    number, would be folded to nonsense.
    """

    def wrapped(x: Expr, y: Expr) -> Expr:
        dtype = scalar_type(x)
        if not dtype.startswith("uint"):
            return function(x, y)
        return cast(function(_signed(x), _signed(y)), dtype)

    return wrapped


def _signed(x: Expr) -> Expr:
    """The bits of an unsigned integer as a signed one."""
    dtype, number = scalar_type(x).removeprefix("u"), immediate(x)
    if number is None:
        return reinterpret(x, dtype)
    half = 1 << (int(dtype.removeprefix("int")) - 1)
    (found, _) = match(const((int(number) + half) % (2 * half) - half, dtype), x)
    return found


add: Binary = wrapping(lambda x, y: x + y)
subtract: Binary = wrapping(lambda x, y: x - y)
multiply: Binary = wrapping(lambda x, y: x * y)


def equal(x: Expr, y: Expr) -> Expr:
    """`x == y`; false when either is NaN."""
    return tirx.EQ(x, y)


def unequal(x: Expr, y: Expr) -> Expr:
    """`x != y`; true when either is NaN."""
    return tirx.NE(x, y)


def negative(x: Expr) -> Expr:
    """`-x`; integers wrap."""
    if scalar_type(x).startswith("float"):
        return x * like(-1, x)
    # Not `0 - x`: TVM takes that for 0 in unsigned arithmetic.
    return add(tirx.bitwise_not(x), like(1, x))


def integer_abs(x: Expr) -> Expr:
    """The magnitude of an integer; the least one stays itself."""
    return select(x < like(0, x), negative(x), x)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; NaN stays NaN."""
    zero = like(0, x)
    below = select(x < zero, like(-1, x), x if scalar_type(x).startswith("float") else zero)
    return select(x > zero, like(1, x), below)


def minimum(x: Expr, y: Expr) -> Expr:
    """The smaller one; NaN if either is."""
    return _extreme(x, y, lambda p, q: p < q)


def maximum(x: Expr, y: Expr) -> Expr:
    """The larger one; NaN if either is."""
    return _extreme(x, y, lambda p, q: p > q)


def _extreme(x: Expr, y: Expr, better: Callable[[Expr, Expr], Expr]) -> Expr:
    """`x` or `y`, NaN if either is; one comparison where one of them is known not to be NaN."""
    if immediate(x) is not None:
        x, y = y, x
    bound = immediate(y)
    if bound is not None and bound == bound:
        return select(better(y, x), y, x)
    if not scalar_type(x).startswith("float"):
        return select(better(x, y), x, y)
    return select(tirx.Or(better(x, y), tirx.isnan(x)), x, y)


def integer_divide(emit: Emitter, x: Expr, y: Expr) -> Expr:
    """Toward zero; 0 when `y` is 0. The least integer divided by -1 wraps."""
    zero = like(0, x)
    quotient = emit.opaque(tirx.truncdiv(x, _divisor(emit, y)), "quotient")
    if scalar_type(x).startswith("int"):
        quotient = select(equal(y, like(-1, y)), negative(x), quotient)
    return select(equal(y, zero), zero, quotient)


def _divisor(emit: Emitter, y: Expr) -> Expr:
    """`y`, or 1 where the processor's division would fail."""
    wrong = equal(y, like(0, y))
    if scalar_type(y).startswith("int"):
        wrong = tirx.Or(wrong, equal(y, like(-1, y)))
    return emit.opaque(select(wrong, like(1, y), y), "divisor")


def integer_modulo(emit: Emitter, x: Expr, y: Expr, fmod: bool) -> Expr:
    """Remainder with the sign of `y`, or of `x` when `fmod`; 0 when `y` is 0."""
    zero = like(0, x)
    divisor = _divisor(emit, y)
    rest = emit.opaque(tirx.truncmod(x, divisor), "rest")
    if fmod or scalar_type(x).startswith("uint"):
        return select(equal(y, zero), zero, rest)
    # A divisor of -1 was replaced by 1: either leaves nothing.
    differs = tirx.NE(cast(rest < zero, "uint8"), cast(divisor < zero, "uint8"))
    return select(
        tirx.Or(equal(y, zero), equal(rest, zero)), zero, select(differs, add(rest, divisor), rest)
    )


def integer_power(emit: Emitter, x: Expr, y: Expr) -> Expr:
    """`x ** y`, wrapping; a negative power is the reciprocal, rounded toward zero."""
    dtype = scalar_type(x)
    bits = int("".join(c for c in dtype if c.isdigit()))
    known = immediate(y)
    most = int(known).bit_length() if known is not None and known >= 0 else bits
    result, power = like(1, x), x
    for bit in range(most):
        odd = tirx.NE(tirx.bitwise_and(tirx.shift_right(y, like(bit, y)), like(1, y)), like(0, y))
        result = emit.opaque(select(odd, multiply(result, power), result), "power")
        power = emit.opaque(multiply(power, power), "square")
    if known is not None or dtype.startswith("uint"):
        return result if known is None or known >= 0 else _unit_power(x, y)
    return select(y < like(0, y), _unit_power(x, y), result)


def _unit_power(x: Expr, y: Expr) -> Expr:
    """`x` to a negative power: only 1 and -1 do not vanish."""
    one, minus = like(1, x), like(-1, x)
    odd = tirx.NE(tirx.bitwise_and(y, one), like(0, y))
    alternating = select(odd, minus, one)
    return select(equal(x, one), one, select(equal(x, minus), alternating, like(0, x)))


def shift_left(x: Expr, y: Expr) -> Expr:
    """0 when `y` is the width or more."""
    dtype = scalar_type(x)
    unsigned = dtype if dtype.startswith("u") else f"u{dtype}"
    bits = int("".join(c for c in dtype if c.isdigit()))
    x, y = cast(x, unsigned), cast(y, unsigned)
    shifted = tirx.shift_left(x, tirx.bitwise_and(y, like(bits - 1, y)))
    return cast(select(y < like(bits, y), shifted, like(0, x)), dtype)


def shift_right(x: Expr, y: Expr) -> Expr:
    """Keeps the sign; all sign when `y` is the width or more."""
    dtype = scalar_type(x)
    bits = int("".join(c for c in dtype if c.isdigit()))
    small = tirx.bitwise_and(y, like(bits - 1, y))
    if dtype.startswith("u"):
        return select(y < like(bits, y), tirx.shift_right(x, small), like(0, x))
    unsigned = cast(y, f"u{dtype}")
    y = select(unsigned < like(bits, unsigned), small, like(bits - 1, y))
    return tirx.shift_right(x, y)
