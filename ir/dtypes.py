"""Element types: one table with each type's name, width, NumPy type and MLIR spelling.

Narrow types, the last ten, are for data: ops move and cast them, none calculates with them. Each
element takes a byte, also of the types that need only 4 or 2 bits, which are the low ones.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np

from bireme.ir.errors import BiremeError


class DType(Enum):
    """Element type of a tensor. The value is `(name, bits, NumPy type, MLIR spelling)`."""

    BOOL = ("bool", 8, np.bool_, "i1")
    I8 = ("int8", 8, np.int8, "i8")
    U8 = ("uint8", 8, np.uint8, "ui8")
    I16 = ("int16", 16, np.int16, "i16")
    U16 = ("uint16", 16, np.uint16, "ui16")
    I32 = ("int32", 32, np.int32, "i32")
    U32 = ("uint32", 32, np.uint32, "ui32")
    I64 = ("int64", 64, np.int64, "i64")
    U64 = ("uint64", 64, np.uint64, "ui64")
    F16 = ("float16", 16, np.float16, "f16")
    BF16 = ("bfloat16", 16, ml_dtypes.bfloat16, "bf16")
    F32 = ("float32", 32, np.float32, "f32")
    F64 = ("float64", 64, np.float64, "f64")
    F8E4M3FN = ("float8_e4m3fn", 8, ml_dtypes.float8_e4m3fn, "f8E4M3FN")
    F8E4M3FNUZ = ("float8_e4m3fnuz", 8, ml_dtypes.float8_e4m3fnuz, "f8E4M3FNUZ")
    F8E5M2 = ("float8_e5m2", 8, ml_dtypes.float8_e5m2, "f8E5M2")
    F8E5M2FNUZ = ("float8_e5m2fnuz", 8, ml_dtypes.float8_e5m2fnuz, "f8E5M2FNUZ")
    F8E8M0FNU = ("float8_e8m0fnu", 8, ml_dtypes.float8_e8m0fnu, "f8E8M0FNU")
    F4E2M1FN = ("float4_e2m1fn", 8, ml_dtypes.float4_e2m1fn, "f4E2M1FN")
    I4 = ("int4", 8, ml_dtypes.int4, "i4")
    U4 = ("uint4", 8, ml_dtypes.uint4, "ui4")
    I2 = ("int2", 8, ml_dtypes.int2, "i2")
    U2 = ("uint2", 8, ml_dtypes.uint2, "ui2")

    @property
    def label(self) -> str:
        """Name as NumPy spells it, e.g. `float32`."""
        return str(self.value[0])

    @property
    def bits(self) -> int:
        """Width in memory; `bool` and narrow types take a whole byte."""
        return int(self.value[1])

    @property
    def value_bits(self) -> int:
        """Width of what an element holds: below `bits` for narrow types of 4 or 2 bits."""
        return _SUB_BYTE.get(self, self.bits)

    @property
    def bytes(self) -> int:
        return self.bits // 8

    @property
    def numpy(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self.value[2])
        return found

    @property
    def mlir(self) -> str:
        return str(self.value[3])

    @property
    def is_float(self) -> bool:
        return self in _FLOATS

    @property
    def is_integer(self) -> bool:
        return self is not DType.BOOL and self not in _FLOATS

    @property
    def is_narrow(self) -> bool:
        """Whether the type is only moved and cast."""
        return self in NARROW

    @property
    def is_signed(self) -> bool:
        """Whether there are values below 0."""
        return (self in _FLOATS and self is not DType.F8E8M0FNU) or self in _SIGNED

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest value of an integer type."""
        if self.is_signed:
            return -(1 << (self.value_bits - 1)), (1 << (self.value_bits - 1)) - 1
        return 0, (1 << self.value_bits) - 1

    @staticmethod
    def of(value: Any) -> DType:
        """The DType of a name, NumPy dtype, array or DType. Raises BM2003 for anything else."""
        if isinstance(value, DType):
            return value
        if isinstance(value, str) and value in _BY_NAME:
            return _BY_NAME[value]
        try:
            # A NumPy scalar class has a `dtype` too, but that is a descriptor.
            named = value if isinstance(value, type) else getattr(value, "dtype", value)
            return _BY_NUMPY[np.dtype(named)]
        except (TypeError, KeyError):
            names = ", ".join(_BY_NAME)
            raise BiremeError("BM2003", f"expected one of {names}; found {value!r}") from None

    def __repr__(self) -> str:
        return self.label


_SUB_BYTE = {DType.F4E2M1FN: 4, DType.I4: 4, DType.U4: 4, DType.I2: 2, DType.U2: 2}
NARROW = tuple(DType)[13:]
_FLOATS = frozenset({DType.F16, DType.BF16, DType.F32, DType.F64, *NARROW[:6]})
_SIGNED = frozenset({DType.I8, DType.I16, DType.I32, DType.I64, DType.I4, DType.I2})
_BY_NAME = {t.label: t for t in DType}
_BY_NUMPY = {t.numpy: t for t in DType}
BY_MLIR = {t.mlir: t for t in DType}
# Types that ops calculate with.
FLOATS = tuple(t for t in DType if t.is_float and not t.is_narrow)
INTEGERS = tuple(t for t in DType if t.is_integer and not t.is_narrow)
NUMERIC = INTEGERS + FLOATS
WIDE = (DType.BOOL, *NUMERIC)
ANY = tuple(DType)
