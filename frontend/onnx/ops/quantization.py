"""Quantised operators."""

from __future__ import annotations

import numpy as np

from bireme.frontend.onnx.emit import Emitter, Tensor, data, scalar
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.contraction import centred, conv, matmul
from bireme.frontend.onnx.ops.elementwise import cast
from bireme.frontend.onnx.ops.shape import reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, DType


def _parameter(n: Node, x: Tensor) -> Tensor:
    """A scale or zero point of one element as a scalar."""
    return reshape(n.b, x, ()) if x.rank == 1 and x.shape == (1,) else x


def _spread(n: Node, parameter: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Blocked parameters with one element for each of `x`'s along `axis`."""
    size = x.shape[axis]
    if parameter.rank != x.rank or not isinstance(size, int):
        raise BiremeError(
            "BM1006", f"blocks of {block} along axis {axis}: {parameter.type}, {x.type}"
        )
    places = np.arange(size, dtype=np.int64) // block
    result: Tensor = n.b.gather(parameter, data(places), axis=axis)
    return result


def _quantize(n: Node) -> Tensor:
    x, scale, zero = n[0], _parameter(n, n[1]), n.get(2)
    axis, block = n.integer("axis", 1), n.integer("block_size", 0)
    saturate = n.flag("saturate", True)
    if n.integer("output_dtype", 0):
        dtype = n.dtype("output_dtype")
    else:
        dtype = DType.U8 if zero is None else zero.dtype
    if n.integer("precision", 0):
        precision = n.dtype("precision")
        x, scale = cast(n, x, precision), cast(n, scale, precision)
    if x.dtype.is_float and x.dtype is not scale.dtype:
        scale = cast(n, scale, x.dtype) if x.dtype.bits >= scale.dtype.bits else scale
        x = cast(n, x, scale.dtype)
    if zero is None:
        zero = n.b.expand(scalar(0, dtype), shape=scale.shape)
    zero = _parameter(n, zero)
    if not (block or scale.rank > 1 or zero.dtype.is_narrow):
        return n.b.quantize(x, scale, zero, axis=_axis(n, x, scale, axis))
    wide, shift = (_for_each(n, p, x, axis, block) for p in (scale, zero))
    ratio = n.b.div(cast(n, x, wide.dtype), wide)
    if zero.dtype.is_float:
        return _rounded(n, ratio, shift, saturate)
    return _stepped(n, ratio, shift)


def _axis(n: Node, x: Tensor, scale: Tensor, axis: int) -> int:
    """The axis of a vector of scales; a scalar needs none."""
    return n.axis(axis, x.rank) if scale.rank else 0


def _for_each(n: Node, parameter: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point in a shape that broadcasts to `x`'s, per tensor, axis or block."""
    if block or parameter.rank > 1:
        return _spread(n, parameter, x, n.axis(axis, x.rank), block)
    return _along(n, parameter, x.rank, _axis(n, x, parameter, axis))


def _stepped(n: Node, ratio: Tensor, zero: Tensor) -> Tensor:
    """The nearest step, moved by the zero point and limited to what its integer type holds."""
    kind = DType.F32 if ratio.dtype.bits < 32 else ratio.dtype  # has the limits of 16-bit steps
    shifted = n.b.add(cast(n, n.b.round(ratio), kind), cast(n, zero, kind))
    least, most = zero.dtype.limits
    bounded = n.b.minimum(n.b.maximum(shifted, least), most)
    return n.b.cast(bounded, dtype=zero.dtype)


def _rounded(n: Node, ratio: Tensor, zero: Tensor, saturate: bool) -> Tensor:
    """The nearest narrow float; a zero point of 0, the usual one, keeps the sign of zeros."""
    if zero.array is None or zero.array.astype(np.float32).any():
        ratio = n.b.add(ratio, cast(n, zero, ratio.dtype))
    return n.b.cast(ratio, dtype=zero.dtype, saturate=saturate)


def _dequantize(n: Node) -> Tensor:
    x, scale, zero = n[0], _parameter(n, n[1]), n.get(2)
    axis, block = n.integer("axis", 1), n.integer("block_size", 0)
    dtype = n.dtype("output_dtype") if n.integer("output_dtype", 0) else scale.dtype
    zero = None if zero is None else _parameter(n, zero)
    if not (block or scale.rank > 1 or x.dtype.is_narrow):
        operands = [x, scale] if zero is None else [x, scale, zero]
        return cast(n, n.b.dequantize(*operands, axis=_axis(n, x, scale, axis)), dtype)
    kind = DType.F32 if x.dtype.is_float else DType.I32
    steps = cast(n, x, kind)
    if zero is not None:
        steps = n.b.sub(steps, cast(n, _for_each(n, zero, x, axis, block), kind))
    wide = _for_each(n, scale, x, axis, block)
    return cast(n, n.b.mul(cast(n, steps, wide.dtype), wide), dtype)


def _requantized(n: Node, total: Tensor, factor: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """An int32 sum times `factor`, quantised to the result's scale and zero point."""
    real = n.b.mul(n.b.cast(total, dtype=factor.dtype), factor)
    result: Tensor = n.b.quantize(real, _parameter(n, scale), _parameter(n, zero), axis=0)
    return result


def _along(n: Node, parameter: Tensor, rank: int, axis: int) -> Tensor:
    """A vector of scales in the shape that broadcasts along `axis`."""
    parameter = _parameter(n, parameter)
    if parameter.rank != 1:
        return parameter
    shape = [parameter.shape[0] if i == axis % rank else 1 for i in range(rank)]
    return reshape(n.b, parameter, shape)


def _qlinear_matmul(n: Node) -> Tensor:
    a, b = n[0], n[3]
    left = centred(n, a, n[2], -2 if a.rank > 1 else None)
    total = matmul(n.b, left, centred(n, b, n[5], -1))
    rank = max(total.rank, 2)
    factor = n.b.mul(_along(n, n[1], rank, -2), _along(n, n[4], rank, -1))
    scale = n[6]
    if factor.dtype is not scale.dtype:
        factor = cast(n, factor, scale.dtype)
    return _requantized(n, total, factor, scale, n[7])


def _qlinear_conv(n: Node) -> Tensor:
    total = conv(n, centred(n, n[0], n[2]), centred(n, n[3], n[5], 0))
    bias = n.get(8)
    if bias is not None:
        total = n.b.add(total, reshape(n.b, bias, (bias.shape[0], *[1] * (total.rank - 2))))
    factor = n.b.mul(_parameter(n, n[1]), _along(n, n[4], total.rank, 1))
    return _requantized(n, total, factor, n[6], n[7])


def dynamic_quantize(b: Emitter, tensor: Tensor) -> list[Tensor]:
    """8-bit steps, scale and zero point for the range of the data, widened to hold 0."""
    x = tensor
    axes = tuple(range(x.rank))
    if not axes:
        x, axes = reshape(b, x, (1,)), (0,)
    low = b.minimum(b.reduce_min(x, axes=axes, keepdims=False), 0.0)
    high = b.maximum(b.reduce_max(x, axes=axes, keepdims=False), 0.0)
    scale = b.div(b.sub(high, low), 255.0)
    # Data of zeros only has no range; any scale does.
    divisor = b.where(b.equal(scale, 0.0), 1.0, scale)
    steps = b.round(b.neg(b.div(low, divisor)))
    zero = b.cast(b.minimum(b.maximum(steps, 0.0), 255.0), dtype=DType.U8)
    return [reshape(b, b.quantize(x, divisor, zero, axis=0), tensor.shape), scale, zero]


TABLE: Table = {
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": lambda n: dynamic_quantize(n.b, n[0]),
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}
