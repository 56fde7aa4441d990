"""Reading and writing elements at places that indices name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data, scalar, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.at_run_time import vector
from bireme.frontend.onnx.ops.shape import cut, expand, reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType

# Col2Im's places in the image are calculated when the model is imported.
_MOST_PLACES = 1 << 22


def index(n: Node, x: Tensor) -> Tensor:
    """Indices in a type that gathers take."""
    if x.dtype in (DType.I32, DType.I64):
        return x
    result: Tensor = n.b.cast(x, dtype=DType.I64)
    return result


def _gather(n: Node) -> Tensor:
    axis = n.axis(n.integer("axis", 0), n[0].rank)
    return n.b.gather(n[0], index(n, n[1]), axis=axis)


def _gather_elements(n: Node) -> Tensor:
    axis = n.axis(n.integer("axis", 0), n[0].rank)
    return n.b.gather_elements(n[0], index(n, n[1]), axis=axis)


def _gather_nd(n: Node) -> Tensor:
    return n.b.gather_nd(n[0], index(n, n[1]), batch_dims=n.integer("batch_dims", 0))


_REDUCTIONS = ("none", "add", "mul", "max", "min")


def _scatter_elements(n: Node) -> Tensor:
    axis = n.axis(n.integer("axis", 0), n[0].rank)
    reduction = n.choice("reduction", "none", _REDUCTIONS) if n.opset >= 16 else "none"
    return n.b.scatter_elements(n[0], index(n, n[1]), n[2], axis=axis, reduction=reduction)


def _scatter_nd(n: Node) -> Tensor:
    reduction = n.choice("reduction", "none", _REDUCTIONS) if n.opset >= 16 else "none"
    return n.b.scatter_nd(n[0], index(n, n[1]), n[2], reduction=reduction)


def _tensor_scatter(n: Node) -> Tensor:
    """Writes `update` into the cache along an axis, from each batch row's own place on."""
    cache, update = n[0], n[1]
    axis = n.axis(n.integer("axis", -2), cache.rank)
    mode = n.choice("mode", "linear", ("linear", "circular"))
    length = update.shape[axis]
    column = [length if i == axis else 1 for i in range(cache.rank)]
    places = n.b.reshape(n.b.iota(shape=(length,), axis=0, dtype=DType.I64), shape=tuple(column))
    if n.get(2) is not None:
        start = n.b.cast(n[2], dtype=DType.I64)
        rows = [start.shape[0], *[1] * (cache.rank - 1)]
        places = n.b.add(places, reshape(n.b, start, rows))
    if mode == "circular":
        size = reshape(n.b, sizes([cache.shape[axis]]), ())
        places = n.b.mod(places, size)
    places = expand(n.b, places, update.shape)
    return n.b.scatter_elements(cache, places, update, axis=axis)


def _one_hot(n: Node) -> Tensor:
    if n[1].type.elements != 1:
        raise BiremeError("BM1006", f"depth must be one number: {n[1].type}")
    indices = n.b.cast(n[0], dtype=DType.I64)
    axis = n.axis(n.integer("axis", -1), indices.rank + 1)
    asked = vector(n, 1)
    (depth,) = asked.dims or n.b.bind(asked, [n.most_of_axis(axis)])
    off, on = (reshape(n.b, cut(n.b, n[2], 0, i, 1), ()) for i in (0, 1))
    shape = list(indices.shape)
    shape.insert(axis, 1)
    size = reshape(n.b, sizes([depth]), ())
    wrapped = n.b.where(n.b.less(indices, 0), n.b.add(indices, size), indices)
    column = [depth if i == axis else 1 for i in range(len(shape))]
    line = n.b.reshape(n.b.iota(shape=(depth,), axis=0, dtype=DType.I64), shape=tuple(column))
    return n.b.where(n.b.equal(reshape(n.b, wrapped, shape), line), on, off)


def _reverse_sequence(n: Node) -> Tensor:
    batch, time = n.integer("batch_axis", 1), n.integer("time_axis", 0)
    return n.b.reverse_sequence(n[0], index(n, n[1]), batch_axis=batch, time_axis=time)


def _line(n: Node, size: Dim, axis: int, rank: int) -> Tensor:
    """0, 1, 2, ... along one axis of `rank`."""
    line = n.b.iota(shape=(size,), axis=0, dtype=DType.I64)
    return reshape(n.b, line, [size if i == axis else 1 for i in range(rank)])


def _trilu(n: Node) -> Tensor:
    x, upper = n[0], n.flag("upper", True)
    if x.rank < 2:
        raise BiremeError("BM1006", f"expected at least a matrix; found {x.type}")
    rows = _line(n, x.shape[-2], 0, 2)
    columns = _line(n, x.shape[-1], 1, 2)
    if n.get(1) is not None:
        columns = n.b.sub(columns, reshape(n.b, n[1], ()))
    kept = n.b.greater_equal(columns, rows) if upper else n.b.less_equal(columns, rows)
    return n.b.where(kept, x, scalar(0, x.dtype))


def _eye_like(n: Node) -> Tensor:
    x = n[0]
    dtype = n.dtype("dtype", x.dtype)
    if x.rank != 2:
        raise BiremeError("BM1006", f"expected a matrix; found {x.type}")
    columns = n.b.sub(_line(n, x.shape[1], 1, 2), n.integer("k", 0))
    return n.b.cast(n.b.equal(columns, _line(n, x.shape[0], 0, 2)), dtype=dtype)


def _col2im(n: Node) -> Tensor:
    """Adds up the columns at the places that a sliding block reads."""
    x, image, block = n[0], n.ints_of(1), n.ints_of(2)
    rank = len(image)
    strides = n.integers("strides", [1] * rank)
    dilations = n.integers("dilations", [1] * rank)
    pads = n.integers("pads", [0] * (2 * rank))
    if x.rank != 3 or {len(block), len(strides), len(dilations), len(pads) // 2} != {rank}:
        raise BiremeError("BM1006", f"blocks of {rank} axes in {x.type}")
    if min(*block, *strides, *dilations) < 1:
        raise BiremeError("BM1006", "blocks, strides and dilations must be 1 or more")
    padded = [image[i] + pads[i] + pads[rank + i] for i in range(rank)]
    batch, rows, count = x.shape
    taps = math.prod(block)
    blocks = math.prod(
        max(padded[i] - (block[i] - 1) * dilations[i] - 1, -strides[i]) // strides[i] + 1
        for i in range(rank)
    )
    if blocks != count:
        raise BiremeError("BM1006", f"{blocks} blocks expected; found {x.type}")
    if taps * blocks > _MOST_PLACES:
        raise BiremeError("BM1003", f"{blocks} blocks of {taps} elements")
    places = _block_places(padded, block, strides, dilations)
    channels = rows // taps
    values = n.b.reshape(x, shape=(batch, channels, taps * count))
    indices = n.b.expand(data(places.reshape(1, 1, -1)), shape=(batch, channels, taps * count))
    total = int(np.prod(padded))
    empty = n.b.expand(scalar(0, x.dtype), shape=(batch, channels, total))
    summed = n.b.scatter_elements(empty, indices, values, axis=2, reduction="add")
    result = n.b.reshape(summed, shape=(batch, channels, *padded))
    for i, size in enumerate(image):
        result = cut(n.b, result, 2 + i, pads[i], size)
    assert isinstance(result, Tensor)
    return result


def _block_places(
    padded: Sequence[int], block: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Flat places `[taps, blocks]` in the padded image."""
    axes = range(len(padded))
    reach = [(block[i] - 1) * dilations[i] + 1 for i in axes]
    starts = [range(0, padded[i] - reach[i] + 1, strides[i]) for i in axes]
    steps = [[k * dilations[i] for k in range(block[i])] for i in axes]
    pitch = [int(np.prod(padded[i + 1 :])) for i in axes]

    def flat(points: Sequence[Sequence[int]]) -> list[int]:
        return [
            sum(p * q for p, q in zip(point, pitch, strict=True))
            for point in itertools.product(*points)
        ]

    return np.add.outer(np.array(flat(steps), np.int64), np.array(flat(starts), np.int64))


TABLE: Table = {
    "Col2Im": _col2im,
    "EyeLike": _eye_like,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TensorScatter": _tensor_scatter,
    "Trilu": _trilu,
}
