"""Narrow element types in bit arithmetic: kernels see the bits of an element as a uint8."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.rules.arithmetic import like
from bireme.codegen.tir import Emitter, Expr, cast, match, reinterpret, scalar_type, select
from bireme.ir import DType


@dataclass(frozen=True)
class FloatFormat:
    """A float of up to 8 bits: sign, exponent, mantissa.

    `largest`, `infinity` and `nan` are bits without the sign; infinity is None where there is none.
    Where `nan` is None, nothing stands for NaN. With `one_zero` the bits of -0 are the only NaN.
    """

    exponent: int
    mantissa: int
    bias: int
    largest: int
    infinity: int | None
    nan: int | None
    one_zero: bool = False

    @property
    def sign(self) -> int:
        """The bit of the sign."""
        return 1 << (self.exponent + self.mantissa)


FORMATS = {
    DType.F8E4M3FN: FloatFormat(4, 3, 7, largest=0x7E, infinity=None, nan=0x7F),
    DType.F8E4M3FNUZ: FloatFormat(4, 3, 8, largest=0x7F, infinity=None, nan=0x80, one_zero=True),
    DType.F8E5M2: FloatFormat(5, 2, 15, largest=0x7B, infinity=0x7C, nan=0x7E),
    DType.F8E5M2FNUZ: FloatFormat(5, 2, 16, largest=0x7F, infinity=None, nan=0x80, one_zero=True),
    DType.F4E2M1FN: FloatFormat(2, 1, 1, largest=0x7, infinity=None, nan=None),
}


# --- to wide types --------------------------------------------------------------------------------


def from_narrow(bits: Expr, dtype: DType) -> Expr:
    """The value of an element: float32, or int32 for integers. All are exact."""
    wide = cast(bits, "int32")
    if dtype.is_integer:
        return _integer(wide, dtype)
    return _power(wide) if dtype is DType.F8E8M0FNU else _float(wide, FORMATS[dtype])


def _integer(bits: Expr, dtype: DType) -> Expr:
    unused = 32 - dtype.value_bits
    if not dtype.is_signed:
        return bits & like((1 << dtype.value_bits) - 1, bits)
    return (bits << like(unused, bits)) >> like(unused, bits)


def _power(bits: Expr) -> Expr:
    """2**(bits - 127); 2**-127 has no exponent in float32, only a mantissa."""
    usual = bits << like(23, bits)
    usual = select(bits < like(1, bits), like(1 << 22, bits), usual)
    return _nan_where(bits > like(254, bits), reinterpret(usual, "float32"))


def _float(bits: Expr, form: FloatFormat) -> Expr:
    """Exponent and mantissa moved to their places in float32, then scaled by what the biases
    differ. The product is exact, and normal for subnormal elements too.
    """
    magnitude = bits & like(form.sign - 1, bits)
    scaled = reinterpret(magnitude << like(23 - form.mantissa, bits), "float32")
    value = scaled * like(2.0 ** (127 - form.bias), scaled)
    if form.infinity is not None:
        infinite = magnitude > like(form.infinity - 1, bits)
        value = select(infinite, like(math.inf, value), value)
        value = _nan_where(magnitude > like(form.infinity, bits), value)
    elif form.nan is not None and not form.one_zero:
        value = _nan_where(magnitude > like(form.largest, bits), value)
    sign = (bits & like(form.sign, bits)) << like(31 - form.exponent - form.mantissa, bits)
    signed = reinterpret(reinterpret(value, "int32") | sign, "float32")
    if form.one_zero:
        byte = bits & like(0xFF, bits)
        same, nan = match(byte, like(form.sign, bits))
        signed = _nan_where(tirx.EQ(same, nan), signed)
    return signed


def _nan_where(condition: Expr, value: Expr) -> Expr:
    return select(condition, like(math.nan, value), value)


# --- from wide types ------------------------------------------------------------------------------


def to_narrow(emit: Emitter, x: Expr, dtype: DType, saturate: bool, round_mode: str) -> Expr:
    """The bits of the element that stands for a number (`bireme.ir.narrow.to_narrow`)."""
    if dtype.is_integer:
        return _low_bits(x, (1 << dtype.value_bits) - 1)
    source = scalar_type(x)
    if not source.startswith("float"):
        exact = source in ("bool", "int8", "uint8", "int16", "uint16")
        x = cast(x, "float32" if exact else "float64")
    x = emit.bind(x)
    layout = _Layout.of(x)
    if dtype is DType.F8E8M0FNU:
        return _rounded_power(emit, x, layout, saturate, round_mode)
    return _rounded_float(emit, x, layout, FORMATS[dtype], saturate)


@dataclass(frozen=True)
class _Layout:
    """A wide float: the integer of its width, bits of the mantissa, bias of the exponent."""

    integer: str
    mantissa: int
    bias: int

    @staticmethod
    def of(x: Expr) -> _Layout:
        return _DOUBLE if scalar_type(x) == "float64" else _SINGLE


_SINGLE = _Layout("int32", 23, 127)
_DOUBLE = _Layout("int64", 52, 1023)


def _low_bits(x: Expr, mask: int) -> Expr:
    if scalar_type(x).startswith("float"):
        x = cast(x, "int32")
    bits = cast(x, "uint8")
    return bits & like(mask, bits)


def _magnitude(emit: Emitter, x: Expr, layout: _Layout) -> Expr:
    """The bits of the absolute value."""
    bits = reinterpret(x, layout.integer)
    every = (1 << (63 if layout is _DOUBLE else 31)) - 1
    return emit.bind(bits & like(every, bits))


def _infinity(layout: _Layout) -> int:
    return (2 * layout.bias + 1) << layout.mantissa


def _rounded_float(
    emit: Emitter, x: Expr, layout: _Layout, form: FloatFormat, saturate: bool
) -> Expr:
    """Rounds to nearest, halves to even: normal numbers by carrying into what is kept, smaller ones
    by adding a power of two whose last place is the smallest step of the format.
    """
    magnitude = _magnitude(emit, x, layout)
    dropped = layout.mantissa - form.mantissa
    odd = (magnitude >> like(dropped, magnitude)) & like(1, magnitude)
    carried = magnitude + like((1 << (dropped - 1)) - 1, magnitude) + odd
    moved = (layout.bias - form.bias) << form.mantissa
    normal = (carried >> like(dropped, magnitude)) - like(moved, magnitude)
    unit = like(2.0 ** (1 - form.bias - form.mantissa + layout.mantissa), x)
    steps = emit.bind(reinterpret(magnitude, scalar_type(x)) + unit)
    small = reinterpret(steps, layout.integer) - reinterpret(unit, layout.integer)
    least_normal = (layout.bias + 1 - form.bias) << layout.mantissa
    kept = emit.bind(select(magnitude < like(least_normal, magnitude), small, normal))
    beyond = form.largest if saturate or form.nan is None else form.infinity or form.nan
    kept = select(kept > like(form.largest, kept), like(beyond, kept), kept)
    nan = 0 if form.nan is None else form.nan
    kept = select(magnitude > like(_infinity(layout), magnitude), like(nan, kept), kept)
    negative = reinterpret(x, layout.integer) < like(0, magnitude)
    if form.one_zero:
        negative = tirx.And(negative, kept > like(0, kept))
    sign = select(negative, like(form.sign, kept), like(0, kept))
    return cast(kept | sign, "uint8")


def _rounded_power(
    emit: Emitter, x: Expr, layout: _Layout, saturate: bool, round_mode: str
) -> Expr:
    """The exponent of a number, rounded as `round_mode` says; numbers below 0 become NaN."""
    if layout is _SINGLE:
        # float64 has an exponent for every float32, subnormal ones included.
        x, layout = emit.bind(cast(x, "float64")), _DOUBLE
    bits = emit.bind(reinterpret(x, layout.integer))
    up = {"up": (1 << layout.mantissa) - 1, "down": 0, "nearest": 1 << (layout.mantissa - 1)}
    raised = (bits + like(up[round_mode], bits)) >> like(layout.mantissa, bits)
    code = emit.bind(raised - like(layout.bias - 127, bits))
    code = select(code < like(0, code), like(0, code), code)
    code = select(code > like(254, code), like(254 if saturate else 255, code), code)
    invalid = tirx.Or(x < like(0, x), tirx.isnan(x))
    return cast(select(invalid, like(255, code), code), "uint8")
