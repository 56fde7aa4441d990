"""Ops between real numbers and the integers that stand for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.ir.dtypes import FLOATS, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import has_rank, same_dtype, same_shape
from bireme.ir.types import TensorType

_NARROW = (DType.I8, DType.U8, DType.I16, DType.U16)


def _check_parameters(t: Typing) -> None:
    """Scale (and zero point) are scalars, or vectors along the axis."""
    x, scale = t.types[:2]
    if scale.rank == 0:
        shape = scale.shape
    else:
        has_rank(t, scale, 1, "scale")
        shape = (x.shape[t.axis(t.attrs["axis"], x.rank)],)
    same_shape(t, scale.shape, shape, "scale")
    for zero_point in t.types[2:]:
        same_shape(t, zero_point.shape, scale.shape, "scale and zero_point")


def _quantize_type(t: Typing) -> Sequence[TensorType]:
    _check_parameters(t)
    if t.types[0].dtype.is_float:
        same_dtype(t, t.types[:2])
    return [t.types[0].with_dtype(t.types[2].dtype)]


def _dequantize_type(t: Typing) -> Sequence[TensorType]:
    _check_parameters(t)
    if len(t.types) == 3:
        same_dtype(t, (t.types[0], t.types[2]))
    return [t.types[0].with_dtype(t.types[1].dtype)]


def _along(x: Array, parameter: Array, axis: int) -> Array:
    """A vector shaped to broadcast along an axis of `x`; a scalar stays one."""
    if parameter.ndim == 0:
        return parameter
    shape = [1] * x.ndim
    shape[axis] = parameter.size
    return parameter.reshape(shape)


def _quantize_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, scale, zero_point = inputs
    wide = widen(_along(x, scale, attrs["axis"]))
    steps = np.rint(x.astype(wide.dtype) / wide)
    limits = np.iinfo(zero_point.dtype)
    # float64 holds every 16-bit integer plus any step exactly enough to saturate rightly.
    shifted = steps.astype(np.float64) + _along(x, zero_point, attrs["axis"])
    return [np.clip(shifted, limits.min, limits.max).astype(zero_point.dtype)]


def _dequantize_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, scale = inputs[:2]
    # The difference of 32-bit integers may need more than 32 bits.
    steps = x.astype(np.int64)
    if len(inputs) == 3:
        steps = steps - _along(x, inputs[2], attrs["axis"]).astype(np.int64)
    wide = widen(_along(x, scale, attrs["axis"]))
    return [(steps.astype(wide.dtype) * wide).astype(scale.dtype)]


_AXIS = Attr("axis", AttrKind.INT, 1, "axis along which a vector of scales runs")

OPS = (
    OpDef(
        name="quantize",
        operands=(
            Operand("x", (*FLOATS, DType.I32)),
            Operand("scale", FLOATS),
            Operand("zero_point", _NARROW),
        ),
        attrs=(_AXIS,),
        infer=_quantize_type,
        reference=_quantize_reference,
        fusion=Fusion.POINTWISE,
        doc="`round(x / scale) + zero_point`, halves to even, saturated to the type of "
        "`zero_point`. Scale and zero point are scalars, or vectors along `axis`.",
    ),
    OpDef(
        name="dequantize",
        operands=(
            Operand("x", (*_NARROW, DType.I32)),
            Operand("scale", FLOATS),
            Operand("zero_point", (*_NARROW, DType.I32), optional=True),
        ),
        attrs=(_AXIS,),
        infer=_dequantize_type,
        reference=_dequantize_reference,
        fusion=Fusion.POINTWISE,
        doc="`(x - zero_point) * scale` in the type of `scale`. Scale and zero point (0 when not "
        "given) are scalars, or vectors along `axis`.",
    ),
)
