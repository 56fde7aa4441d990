"""ONNX element types and the dialect's."""

from __future__ import annotations

from onnx import TensorProto

from bireme.ir import BiremeError, DType

FROM_ONNX: dict[int, DType] = {
    TensorProto.BOOL: DType.BOOL,
    TensorProto.INT8: DType.I8,
    TensorProto.UINT8: DType.U8,
    TensorProto.INT16: DType.I16,
    TensorProto.UINT16: DType.U16,
    TensorProto.INT32: DType.I32,
    TensorProto.UINT32: DType.U32,
    TensorProto.INT64: DType.I64,
    TensorProto.UINT64: DType.U64,
    TensorProto.FLOAT16: DType.F16,
    TensorProto.BFLOAT16: DType.BF16,
    TensorProto.FLOAT: DType.F32,
    TensorProto.DOUBLE: DType.F64,
    TensorProto.FLOAT8E4M3FN: DType.F8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ: DType.F8E4M3FNUZ,
    TensorProto.FLOAT8E5M2: DType.F8E5M2,
    TensorProto.FLOAT8E5M2FNUZ: DType.F8E5M2FNUZ,
    TensorProto.FLOAT8E8M0: DType.F8E8M0FNU,
    TensorProto.FLOAT4E2M1: DType.F4E2M1FN,
    TensorProto.INT4: DType.I4,
    TensorProto.UINT4: DType.U4,
    TensorProto.INT2: DType.I2,
    TensorProto.UINT2: DType.U2,
}
TO_ONNX: dict[DType, int] = {dtype: code for code, dtype in FROM_ONNX.items()}
# The first opset with the type, where that is later than the one that is usually written.
SINCE = {DType.F4E2M1FN: 23, DType.F8E8M0FNU: 24, DType.I2: 25, DType.U2: 25}


def type_name(code: int) -> str:
    """ONNX's name of an element type, or its number when it has none."""
    names = {number: name for name, number in TensorProto.DataType.items()}
    return str(names.get(code, code)).lower()


def dtype_of(code: int, what: str) -> DType:
    """The element type with ONNX number `code`. Raises BM1003 for one the dialect lacks."""
    if code not in FROM_ONNX:
        raise BiremeError("BM1003", f"{what} has element type {type_name(code)}")
    return FROM_ONNX[code]
