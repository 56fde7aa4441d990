"""Quantised operators of ONNX Runtime's domain: the float operator between the integers' scales."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data, scalar
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops import quantization
from bireme.frontend.onnx.ops.contraction import centred, matmul
from bireme.frontend.onnx.ops.elementwise import cast
from bireme.frontend.onnx.ops.microsoft_attention import self_attention
from bireme.frontend.onnx.ops.pooling import average
from bireme.frontend.onnx.ops.quantization import dynamic_quantize
from bireme.frontend.onnx.ops.recurrent import lstm
from bireme.frontend.onnx.ops.shape import reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, DType


def _scalar(n: Node, x: Tensor) -> Tensor:
    if x.shape not in ((), (1,)):
        raise BiremeError("BM1003", f"a scale or zero point for each channel: {x.type}")
    return reshape(n.b, x, ())


def _real(n: Node, first: int) -> Tensor:
    """The numbers that inputs `first` (integers), + 1 (scale) and + 2 (zero point) stand for."""
    zero = n.get(first + 2)
    operands = [n[first], _scalar(n, n[first + 1])]
    if zero is not None:
        operands.append(_scalar(n, zero))
    return n.b.dequantize(*operands, axis=0)


def _quantized(n: Node, y: Tensor, scale: int, dtype: DType) -> Tensor:
    """`y` with the scale in input `scale` and the zero point after it."""
    zero = n.get(scale + 1)
    zero = scalar(0, dtype) if zero is None else _scalar(n, zero)
    return n.b.quantize(y, _scalar(n, n[scale]), zero, axis=0)


def _binary(name: str) -> Converter:
    def convert(n: Node) -> Tensor:
        y = n.b.op(name, [_real(n, 0), _real(n, 3)])[0]
        return _quantized(n, y, 6, n[0].dtype)

    return convert


def _unary(function: Callable[[Node, Tensor], Tensor]) -> Converter:
    return lambda n: _quantized(n, function(n, _real(n, 0)), 3, n[0].dtype)


def _leaky_relu(n: Node, x: Tensor) -> Tensor:
    return n.b.where(n.b.less(x, 0.0), n.b.mul(x, n.number("alpha", 0.01)), x)


def _channels_first(n: Node) -> None:
    if n.flag("channels_last"):
        raise BiremeError("BM1003", "attribute 'channels_last' = 1 is not supported")


def _average_pool(n: Node, x: Tensor) -> Tensor:
    _channels_first(n)
    return average(n, x)


def _global_average_pool(n: Node, x: Tensor) -> Tensor:
    _channels_first(n)
    return n.b.reduce_mean(x, axes=tuple(range(2, x.rank)), keepdims=True)


def _softmax(n: Node, x: Tensor) -> Tensor:
    axis = n.axis(n.integer("axis", -1), x.rank)
    if n.integer("opset", 13) < 13 and axis != x.rank - 1:
        raise BiremeError("BM1003", "softmax over several axes")
    return n.b.softmax(x, axis=axis)


def _concat(n: Node) -> Tensor:
    parts = [_real(n, i) for i in range(2, len(n.inputs), 3)]
    if not parts:
        raise BiremeError("BM1005", "nothing to join")
    axis = n.axis(n.integer("axis"), parts[0].rank)
    return _quantized(n, n.b.concat(*parts, axis=axis), 0, n[2].dtype)


def _matmul_bits(n: Node) -> Tensor:
    """A product with weights of 4 or 8 bits that have a scale for each block of a column."""
    bits, block = n.integer("bits", 4), n.integer("block_size")
    depth, width = n.integer("K"), n.integer("N")
    n.integer("accuracy_level", 0)
    n.integer("weight_prepacked", 0)
    if bits not in (4, 8) or block < 1 or depth < 1 or width < 1 or n.get(4) is not None:
        raise BiremeError("BM1003", f"weights of {bits} bits in blocks of {block}, or reordered")
    blocks = -(-depth // block)
    # Turned here, one byte a number: what is left for every run is to widen and to scale.
    values = _unpacked(n, 1, bits, (width, blocks * block)).T[:depth]
    x, scales = n[0], _spread(n, reshape(n.b, n[2], (width, blocks)), depth, block)
    if n.get(3) is None:
        zero = scalar(1 << (bits - 1), x.dtype)
    elif n[3].dtype is DType.U8:
        per_row = -(-blocks * bits // 8) * 8 // bits
        points = np.ascontiguousarray(_unpacked(n, 3, bits, (width, per_row))[:, :blocks])
        zero = n.b.cast(_spread(n, data(points), depth, block), dtype=x.dtype)
    else:
        zero = _spread(n, reshape(n.b, n[3], (width, blocks)), depth, block)
    steps = n.b.cast(data(np.ascontiguousarray(values)), dtype=x.dtype)
    weights = n.b.mul(n.b.sub(steps, zero), cast(n, scales, x.dtype))
    result = matmul(n.b, x, weights)
    bias = n.get(5)
    return result if bias is None else n.b.add(result, bias)


def _spread(n: Node, parameter: Tensor, depth: int, block: int) -> Tensor:
    """Parameters `[columns, blocks]` as `[depth, columns]`, one row for each of the weights."""
    rows = data(np.arange(depth, dtype=np.int64) // block)
    result: Tensor = n.b.gather(transpose(n.b, parameter, (1, 0)), rows, axis=0)
    return result


def _unpacked(
    n: Node, index: int, bits: int, shape: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Unsigned numbers of 4 or 8 bits, the first in the low half of its byte."""
    raw = n.array(index).reshape(-1)
    if raw.dtype != np.uint8 or raw.size * 8 != shape[0] * shape[1] * bits:
        raise BiremeError(
            "BM1006", f"{n.label(index)} does not hold {shape} numbers of {bits} bits"
        )
    if bits == 8:
        return raw.reshape(shape)
    return np.stack([raw & 15, raw >> 4], axis=1).reshape(shape)


def _dynamic_matmul(n: Node) -> Tensor:
    """The left side is quantised to its range, 8 bits, before the product."""
    steps, scale, zero = dynamic_quantize(n.b, n[0])
    left = n.b.dequantize(steps, scale, zero, axis=0)
    parameters = [n[2]] if n.get(3) is None else [n[2], n[3]]
    parameters = [reshape(n.b, p, ()) if p.shape == (1,) else p for p in parameters]
    axis = n[1].rank - 1 if parameters[0].rank else 0
    result = matmul(n.b, left, n.b.dequantize(n[1], *parameters, axis=axis))
    bias = n.get(4)
    return result if bias is None else n.b.add(result, bias)


def _dynamic_lstm(n: Node) -> list[Tensor]:
    """An LSTM with weights of 8 bits. They are widened once; its inputs and states stay floats,
    which ONNX Runtime quantises at every step.
    """
    weights = [_widened(n, i, scale) for i, scale in ((1, 8), (2, 10))]
    return lstm(n, *(transpose(n.b, w, (0, 2, 1)) for w in weights))


def _widened(n: Node, place: int, scale: int) -> Tensor:
    """Weights `[directions, inputs, gates]`, scales for each direction or also for each gate."""
    x = n[place]
    shapes = [(*n[i].shape, *[1] * (2 - n[i].rank)) for i in (scale, scale + 1)]
    factor, zero = (
        reshape(n.b, n[i], (shape[0], 1, shape[1]))
        for i, shape in zip((scale, scale + 1), shapes, strict=True)
    )
    steps = n.b.sub(n.b.cast(x, dtype=DType.I32), n.b.cast(zero, dtype=DType.I32))
    result: Tensor = n.b.mul(n.b.cast(steps, dtype=factor.dtype), factor)
    return result


def _gemm(n: Node) -> Tensor:
    """A product of 8-bit matrices summed in 32 bits; floats unless a result's scale is given."""
    a, b = (
        transpose(n.b, x, (1, 0)) if n.flag(name) else x
        for x, name in ((centred(n, n[0], n[2]), "transA"), (_columns(n), "transB"))
    )
    total = n.b.matmul(a, b)
    if n.get(6) is not None:
        total = n.b.add(total, n[6])
    factor = n.b.mul(_parameter(n, n[1]), _parameter(n, n[4]))
    real = n.b.mul(n.b.cast(total, dtype=DType.F32), factor)
    alpha = n.number("alpha", 1.0)
    real = real if alpha == 1.0 else n.b.mul(real, alpha)
    return real if n.get(7) is None else _quantized(n, real, 7, n[8].dtype)


def _matmul_integer(n: Node) -> Tensor:
    """A product of 8-bit matrices as floats: `A B aScale bScale + bias`."""
    total = matmul(n.b, centred(n, n[0], n.get(4)), centred(n, n[1], n.get(5), -1))
    factor = n.b.mul(_parameter(n, n[2]), _parameter(n, n[3]))
    real = n.b.mul(n.b.cast(total, dtype=factor.dtype), factor)
    bias = n.get(6)
    return real if bias is None else n.b.add(real, bias)


def _attention(n: Node) -> list[Tensor | None]:
    """Attention whose input is multiplied with its weights as 8-bit integers."""
    total = matmul(n.b, centred(n, n[0], n.get(6)), centred(n, n[1], n.get(7), -1))
    factor = n.b.mul(_parameter(n, n[3]), _parameter(n, n[4]))
    joined = n.b.mul(n.b.cast(total, dtype=factor.dtype), factor)
    return self_attention(n, joined, 5, n.get(8), [])


def _where(n: Node) -> Tensor:
    chosen = n.b.where(n[0], _real(n, 1), _real(n, 4))
    return _quantized(n, chosen, 7, n[1].dtype)


def _columns(n: Node) -> Tensor:
    """The right matrix minus its zero points, one for each column or one for all."""
    return centred(n, n[3], n[5], 0 if n.flag("transB") else 1)


def _parameter(n: Node, x: Tensor) -> Tensor:
    return reshape(n.b, x, ()) if x.shape == (1,) else x


TABLE: Table = {
    "DequantizeLinear": quantization.TABLE["DequantizeLinear"],
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulNBits": _matmul_bits,
    "MatMulIntegerToFloat": _matmul_integer,
    "QAttention": _attention,
    "QGemm": _gemm,
    "QLinearAdd": _binary("add"),
    "QLinearAveragePool": _unary(_average_pool),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _unary(_global_average_pool),
    "QLinearLeakyRelu": _unary(_leaky_relu),
    "QLinearMul": _binary("mul"),
    "QLinearSigmoid": _unary(lambda n, x: n.b.sigmoid(x)),
    "QLinearSoftmax": _unary(_softmax),
    "QLinearWhere": _where,
    "QuantizeLinear": quantization.TABLE["QuantizeLinear"],
}
