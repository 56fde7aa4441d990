"""Matrix products, convolutions, einsum."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Emitter, Tensor
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.einsum import einsum
from bireme.frontend.onnx.ops.shape import pad, reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.ops.windows import AUTO_PAD, some_windows, spatial, window
from bireme.ir import BiremeError, Dim, DType


def matmul(b: Emitter, x: Tensor, y: Tensor) -> Tensor:
    """NumPy's matmul: a vector counts as a row (left) or a column (right)."""
    if x.rank == 0 or y.rank == 0:
        raise BiremeError("BM2004", f"a scalar in a matrix product: {x.type}, {y.type}")
    left = reshape(b, x, (1, *x.shape)) if x.rank == 1 else x
    right = reshape(b, y, (*y.shape, 1)) if y.rank == 1 else y
    result: Tensor = b.matmul(left, right)
    shape = list(result.shape)
    if y.rank == 1:
        shape.pop()
    if x.rank == 1:
        shape.pop(-1 if y.rank == 1 else -2)
    return reshape(b, result, shape)


def gemm(n: Node) -> Tensor:
    """`alpha * A B + beta * C`, either matrix transposed or not."""
    a, b = n[0], n[1]
    if a.rank != 2 or b.rank != 2:
        raise BiremeError("BM2004", f"matrices expected: {a.type}, {b.type}")
    a = transpose(n.b, a, (1, 0)) if n.flag("transA") else a
    b = transpose(n.b, b, (1, 0)) if n.flag("transB") else b
    alpha, beta = n.number("alpha", 1.0), n.number("beta", 1.0)
    result: Tensor = n.b.matmul(a, b)
    if alpha != 1.0:
        result = n.b.mul(result, alpha)
    bias = n.get(2)
    if bias is None:
        return result
    return n.b.add(result, bias if beta == 1.0 else n.b.mul(bias, beta))


def centred(n: Node, x: Tensor, zero_point: Tensor | None, axis: int | None = None) -> Tensor:
    """An 8-bit operand minus its zero point, as int32. A vector of those runs along `axis`."""
    wide: Tensor = n.b.cast(x, dtype=DType.I32)
    if zero_point is None:
        return wide
    zero = n.b.cast(zero_point, dtype=DType.I32)
    if zero.rank == 1 and zero.shape != (1,):
        if axis is None:
            raise BiremeError("BM1006", f"the zero point must be a scalar: {zero_point.type}")
        zero = reshape(
            n.b, zero, [zero.shape[0] if i == axis % x.rank else 1 for i in range(x.rank)]
        )
    elif zero.rank == 1:
        zero = reshape(n.b, zero, ())
    return n.b.sub(wide, zero)


def _matmul_integer(n: Node) -> Tensor:
    a, b = n[0], n[1]
    left = centred(n, a, n.get(2), -2 if a.rank > 1 else None)
    return matmul(n.b, left, centred(n, b, n.get(3), -1))


def _bias(b: Emitter, y: Tensor, bias: Tensor | None) -> Tensor:
    """Adds one number for each channel."""
    if bias is None:
        return y
    result: Tensor = b.add(y, reshape(b, bias, (bias.shape[0], *[1] * (y.rank - 2))))
    return result


def conv(n: Node, x: Tensor, w: Tensor) -> Tensor:
    """The convolution that the node's attributes describe, without a bias."""
    sizes = spatial(x)
    kernel: Sequence[Dim] = w.shape[2:]
    given = n.integers("kernel_shape", []) if n.has("kernel_shape") else None
    if given is not None and list(given) != list(kernel):
        raise BiremeError("BM1006", f"kernel_shape {given} does not fit weights {w.type}")
    frame = window(n, sizes, kernel)
    pads = frame.pads
    if pads is None or any(p < 0 for p in pads):
        if pads is not None:
            raise BiremeError("BM1006", f"negative pads {pads}")
        x = pad(n.b, x, [0, 0, *frame.before], [0, 0, *frame.after])
        pads = (0,) * (2 * len(kernel))
    result: Tensor = n.b.conv(
        x,
        w,
        strides=frame.strides,
        pads=pads,
        dilations=frame.dilations,
        groups=n.integer("group", 1),
    )
    return some_windows(n, result)


def _conv(n: Node) -> Tensor:
    return _bias(n.b, conv(n, n[0], n[1]), n.get(2))


def _conv_integer(n: Node) -> Tensor:
    return conv(n, centred(n, n[0], n.get(2)), centred(n, n[1], n.get(3), 0))


def _conv_transpose(n: Node) -> Tensor:
    x, w = n[0], n[1]
    sizes = spatial(x)
    rank = len(sizes)
    taps = [k for k in w.shape[2:] if isinstance(k, int)]
    if len(taps) != rank:
        raise BiremeError("BM1006", f"weights {w.type} for {x.type}")
    n.integers("kernel_shape", taps)
    strides = n.integers("strides", [1] * rank)
    dilations = n.integers("dilations", [1] * rank)
    pads = n.integers("pads", [0] * (2 * rank))
    extra = n.integers("output_padding", [0] * rank)
    auto = n.choice("auto_pad", "NOTSET", AUTO_PAD)
    wanted = n.integers("output_shape", [])[-rank:] if n.has("output_shape") else None
    if {len(strides), len(dilations), len(extra), len(pads) // 2} != {rank}:
        raise BiremeError("BM1006", f"attributes do not fit {rank} spatial axes")
    if auto == "VALID":
        pads = [0] * (2 * rank)
    if wanted is not None or auto.startswith("SAME"):
        pads = _transpose_pads(sizes, taps, strides, dilations, extra, wanted, auto)
    # Negative padding here is output that gets nothing but zeros.
    grow = [max(-p, 0) for p in pads]
    result: Tensor = n.b.conv_transpose(
        x,
        w,
        strides=strides,
        pads=[max(p, 0) for p in pads],
        dilations=dilations,
        groups=n.integer("group", 1),
        output_padding=extra,
    )
    result = pad(n.b, result, [0, 0, *grow[:rank]], [0, 0, *grow[rank:]])
    return _bias(n.b, result, n.get(2))


def _transpose_pads(
    sizes: Sequence[Dim],
    taps: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    extra: Sequence[int],
    wanted: Sequence[int] | None,
    auto: str,
) -> list[int]:
    """Padding that gives the wanted output shape, or `size * stride` when none is stated."""
    before, after = [], []
    for i, size in enumerate(sizes):
        target = wanted[i] if wanted is not None else size * strides[i]
        reach = (taps[i] - 1) * dilations[i] + 1
        total = strides[i] * (size - 1) + extra[i] + reach - target
        if not isinstance(total, int):
            raise BiremeError("BM1007", f"the padding depends on the input's size {size}")
        if wanted is None:
            total = max(total, 0)
        half = total // 2
        # ONNX: SAME_UPPER puts the odd element at the end, any other choice at the beginning.
        first, second = (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
        before.append(first)
        after.append(second)
    return before + after


TABLE: Table = {
    "Conv": _conv,
    "ConvInteger": _conv_integer,
    "ConvTranspose": _conv_transpose,
    "Einsum": lambda n: einsum(n, n.text("equation")),
    "Gemm": gemm,
    "MatMul": lambda n: matmul(n.b, n[0], n[1]),
    "MatMulInteger": _matmul_integer,
}
