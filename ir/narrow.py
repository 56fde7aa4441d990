"""Conversion to and from narrow element types, in NumPy: the specification of `cast` for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bireme.ir.dtypes import DType
from bireme.ir.errors import BiremeError

Array = np.ndarray[Any, Any]
# How a number between two powers of two becomes a float8_e8m0fnu.
ROUND_MODES = ("up", "down", "nearest")
_LARGEST = {
    DType.F8E4M3FN: 448.0,
    DType.F8E4M3FNUZ: 240.0,
    DType.F8E5M2: 57344.0,
    DType.F8E5M2FNUZ: 57344.0,
    DType.F4E2M1FN: 6.0,
}


def widen_narrow(x: Array, dtype: DType) -> Array:
    """The values of a narrow type as float32, or as int32 for integers; all are exact."""
    return x.astype(np.float32 if dtype.is_float else np.int32)


def to_narrow(x: Array, dtype: DType, *, saturate: bool, round_mode: str) -> Array:
    """Numbers of a wide type as elements of a narrow one.

    Floats round to nearest, halves to even. What is then beyond the largest becomes the largest if
    `saturate` or if the type has neither infinity nor NaN, else infinity or, without one, NaN.
    Integers keep their low bits; fractions are cut off first. Raises BM1006 for a `round_mode` that
    is not in ROUND_MODES.
    """
    if dtype is DType.F8E8M0FNU:
        return _powers(x, saturate, round_mode)
    if dtype.is_integer:
        bits = x.astype(np.int64) & ((1 << dtype.value_bits) - 1)
        return bits.astype(np.uint8).view(dtype.numpy)
    single = _single(x) if x.dtype == np.float64 else x.astype(np.float32)
    if saturate:
        single = np.clip(single, -_LARGEST[dtype], _LARGEST[dtype])
    return single.astype(dtype.numpy)


def _single(x: Array) -> Array:
    """float64 as the float32 that rounds further as the number itself would.

    Inexact results get an odd last place ("round to odd"), so that none lies halfway between two
    numbers of a narrower type.
    """
    nearest = x.astype(np.float32)
    bits = nearest.view(np.int32)
    wide = nearest.astype(np.float64)
    odd = (bits - (np.abs(wide) > np.abs(x))) | 1
    inexact = (wide != x) & ~np.isnan(x)
    return np.where(inexact, odd, bits).astype(np.int32).view(np.float32)


def _powers(x: Array, saturate: bool, round_mode: str) -> Array:
    """Powers of two, from 2**-127 to 2**127. Numbers below 0 and NaN become NaN, 0 the least."""
    if round_mode not in ROUND_MODES:
        names = ", ".join(ROUND_MODES)
        raise BiremeError("BM1006", f"round_mode must be one of {names}; found {round_mode!r}")
    fraction, exponent = np.frexp(x.astype(np.float64))
    # x = fraction * 2**exponent with fraction in [0.5, 1).
    above = {"up": fraction > 0.5, "down": False, "nearest": fraction >= 0.75}[round_mode]
    power = np.where(x == 0, -127, np.maximum(exponent - 1 + above, -127))
    too_large = (power > 127) | np.isposinf(x)
    code = np.where(too_large, 254 if saturate else 255, power + 127)
    code = np.where(np.isnan(x) | (x < 0), 255, code)
    return code.astype(np.uint8).view(DType.F8E8M0FNU.numpy)
