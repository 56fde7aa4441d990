"""Deformable convolution: bilinear samples at moved places, then a matrix product."""

from __future__ import annotations

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data, scalar, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import cut, expand, reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.ops.windows import Window, spatial, window
from bireme.ir import BiremeError, Dim, DType, product


def _deform_conv(n: Node) -> Tensor:
    x, weights, offset, mask, bias = n[0], n[1], n[2], n.get(4), n.get(3)
    extent = spatial(x)
    groups, parts = n.integer("group", 1), n.integer("offset_group", 1)
    if len(extent) != 2 or offset.rank != 4 or groups < 1 or parts < 1:
        raise BiremeError("BM1003", f"deformable convolution of {x.type} by {weights.type}")
    n.integers("kernel_shape", [])
    frame = window(n, extent, weights.shape[2:])
    taps = int(np.prod(frame.kernel))
    batch, channels = x.shape[:2]
    rows, columns = offset.shape[2:]
    if not isinstance(channels, int) or channels % parts or channels % groups:
        raise BiremeError("BM1006", f"{groups} groups, {parts} offset groups of {x.type}")
    samples = _samples(n, reshape(n.b, offset, (batch, parts, taps, 2, rows, columns)), frame)
    if mask is not None:
        samples = n.b.mul(samples, reshape(n.b, mask, (batch, parts, 1, taps * rows * columns)))
    inner = channels // groups * taps
    column = reshape(n.b, samples, (batch, groups, inner, rows * columns))
    outputs = weights.shape[0]
    result = n.b.matmul(reshape(n.b, weights, (groups, outputs // groups, inner)), column)
    result = reshape(n.b, result, (batch, outputs, rows, columns))
    return result if bias is None else n.b.add(result, reshape(n.b, bias, (outputs, 1, 1)))


def _samples(n: Node, moved: Tensor, frame: Window) -> Tensor:
    """`[N, offset groups, channels of one, taps * places]`; what lies outside the image is zero."""
    b, x = n.b, n[0]
    batch, parts, taps, _, rows, columns = moved.shape
    width = x.shape[1] // parts
    image = reshape(b, x, (batch, parts, width, x.shape[2] * x.shape[3]))
    total: Dim = product([taps, rows, columns])
    places = [_places(n, moved, axis, frame) for axis in (0, 1)]
    starts = [b.floor(p) for p in places]
    after = [b.sub(p, s) for p, s in zip(places, starts, strict=True)]
    result: Tensor | None = None
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight, flat = scalar(1, x.dtype), scalar(0, DType.I64)
        for axis, step in enumerate(corner):
            size = reshape(b, sizes([x.shape[2 + axis]]), ())
            place = b.add(b.cast(starts[axis], dtype=DType.I64), step)
            inside = b.logical_and(b.greater_equal(place, 0), b.less(place, size))
            share = after[axis] if step else b.sub(scalar(1, x.dtype), after[axis])
            weight = b.mul(weight, b.where(inside, share, 0.0))
            flat = b.add(b.mul(flat, size), b.where(inside, place, 0))
        indices = expand(b, reshape(b, flat, (batch, parts, 1, total)), (1, 1, width, 1))
        found = b.gather_elements(image, indices, axis=3)
        term = b.mul(found, reshape(b, weight, (batch, parts, 1, total)))
        result = term if result is None else b.add(result, term)
    assert result is not None
    return result


def _places(n: Node, moved: Tensor, axis: int, frame: Window) -> Tensor:
    """Places `[N, offset groups, taps, rows, columns]` along one axis of the image."""
    b, (batch, parts, taps, _, rows, columns) = n.b, moved.shape
    kernel = np.indices(tuple(frame.kernel))[axis].reshape(-1, 1, 1) * frame.dilations[axis]
    steps = b.iota(shape=((rows, columns)[axis],), axis=0, dtype=DType.I64)
    line = reshape(b, steps, (rows, 1) if axis == 0 else (1, columns))
    first = b.sub(b.mul(line, frame.strides[axis]), reshape(b, sizes([frame.before[axis]]), ()))
    base = b.cast(b.add(first, data(kernel.astype(np.int64))), dtype=moved.dtype)
    shift = reshape(b, cut(b, moved, 3, axis, 1), (batch, parts, taps, rows, columns))
    return b.add(shift, base)


TABLE: Table = {"DeformConv": _deform_conv}
