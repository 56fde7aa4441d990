"""Pooling."""

from __future__ import annotations

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data, scalar
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops.shape import cut, pad, reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.ops.windows import Window, some_windows, spatial, window
from bireme.ir import BiremeError, Dim, DType, product


def _frame(n: Node) -> Window:
    return window(n, spatial(n[0]), n.integers("kernel_shape"))


def _pads(frame: Window) -> tuple[int, ...]:
    if frame.pads is None:
        raise BiremeError("BM1007", "automatic padding depends on the input's size")
    return frame.pads


def _max(n: Node) -> list[Tensor]:
    x, frame = n[0], _frame(n)
    ceil_mode, order = n.flag("ceil_mode"), n.integer("storage_order", 0)
    pads = frame.pads
    if pads is None:
        if n.wants(1) or not x.dtype.is_float:
            pads = _pads(frame)
        low = scalar(float("-inf"), x.dtype)
        x = pad(n.b, x, [0, 0, *frame.before], [0, 0, *frame.after], low)
        pads = (0,) * (2 * len(frame.kernel))
    found = n.b.op(
        "max_pool",
        [x],
        kernel=frame.kernel,
        strides=frame.strides,
        pads=pads,
        dilations=frame.dilations,
        ceil_mode=ceil_mode,
        indices=n.wants(1),
        storage_order=order,
    )
    some_windows(n, found[0])
    return found


def average(n: Node, x: Tensor) -> Tensor:
    """The average pool that the node's attributes describe."""
    frame = _frame(n)
    result = n.b.avg_pool(
        x,
        kernel=frame.kernel,
        strides=frame.strides,
        pads=_pads(frame),
        dilations=frame.dilations,
        ceil_mode=n.flag("ceil_mode"),
        count_include_pad=n.flag("count_include_pad"),
    )
    return some_windows(n, result)


def _lp(n: Node) -> Tensor:
    frame = _frame(n)
    return n.b.lp_pool(
        n[0],
        kernel=frame.kernel,
        strides=frame.strides,
        pads=_pads(frame),
        dilations=frame.dilations,
        ceil_mode=n.flag("ceil_mode"),
        p=n.integer("p", 2),
    )


def _global(name: str) -> Converter:
    def convert(n: Node) -> Tensor:
        axes = tuple(range(2, len(spatial(n[0])) + 2))
        result: Tensor = getattr(n.b, name)(n[0], axes=axes, keepdims=True)
        return result

    return convert


def _global_lp(n: Node) -> Tensor:
    x, p = n[0], float(n.integer("p", 2))
    axes = tuple(range(2, len(spatial(x)) + 2))
    total = n.b.reduce_sum(n.b.pow(n.b.abs(x), p), axes=axes, keepdims=True)
    return n.b.pow(total, 1.0 / p)


def _max_unpool(n: Node) -> Tensor:
    """Scatters the values to the flat places that the pool noted."""
    x, places = n[0], n[1]
    sizes = spatial(x)
    rank = len(sizes)
    kernel = n.integers("kernel_shape")
    strides = n.integers("strides", [1] * rank)
    pads = n.integers("pads", [0] * (2 * rank))
    if len(kernel) != rank or len(strides) != rank or len(pads) != 2 * rank:
        raise BiremeError("BM1006", f"kernel, strides and pads do not fit {x.type}")
    natural = [
        (size - 1) * strides[i] + kernel[i] - pads[i] - pads[rank + i]
        for i, size in enumerate(sizes)
    ]
    shape = [*x.shape[:2], *natural]
    wanted = n.dims(2) if n.get(2) is not None else shape
    flat = product(shape)
    zeros = n.b.expand(scalar(0, x.dtype), shape=(flat,))
    indices = reshape(n.b, n.b.cast(places, dtype=DType.I64), (product(places.shape),))
    updates = reshape(n.b, x, (product(x.shape),))
    filled = n.b.scatter_elements(zeros, indices, updates, axis=0)
    result = reshape(n.b, filled, shape)
    grow = [w - s for w, s in zip(wanted, shape, strict=True)]
    return pad(n.b, result, [0] * len(grow), grow)


def _max_roi(n: Node) -> Tensor:
    """The largest element of every bin of each region, rows and columns one after the other.

    Bins are whole elements, rounded outwards, and may overlap; an empty one gives 0.
    """
    b, x, regions = n.b, n[0], n[1]
    bins, scale = n.integers("pooled_shape"), n.number("spatial_scale", 1.0)
    if x.rank != 4 or regions.rank != 2 or regions.shape[1] != 5 or len(bins) != 2:
        raise BiremeError("BM1006", f"bins {bins} of regions {regions.type} in {x.type}")
    count, channels = regions.shape[0], x.shape[1]
    batch = b.cast(reshape(b, cut(b, regions, 1, 0, 1), (count,)), dtype=DType.I64)
    found = b.gather(x, batch, axis=0)
    empty: Tensor | None = None
    for axis in (1, 0):
        first, last = (cut(b, regions, 1, i - axis, 1) for i in (2, 4))
        inside = _bins(n, first, last, scale, bins[axis], x.shape[2 + axis])
        shape = (count, 1, 1, bins[axis], inside.shape[2])
        if axis == 0:
            found = transpose(b, found, (0, 1, 3, 2))
        rows = reshape(b, found, (count, channels, found.shape[2], 1, found.shape[3]))
        kept = b.where(reshape(b, inside, shape), rows, float("-inf"))
        found = b.reduce_max(kept, axes=(4,), keepdims=False)
        none = b.logical_not(b.reduce_max(inside, axes=(2,), keepdims=False))
        none = reshape(b, none, (count, 1, bins[0], 1) if axis == 0 else (count, 1, 1, bins[1]))
        empty = none if empty is None else b.logical_or(empty, none)
    return b.where(empty, 0.0, transpose(b, found, (0, 1, 3, 2)))


def _bins(n: Node, first: Tensor, last: Tensor, scale: float, bins: int, size: Dim) -> Tensor:
    """Whether `[regions, bins, size]` a place along one axis belongs to a bin of a region."""
    b, count = n.b, first.shape[0]
    low, high = (_half_away(n, b.mul(t, scale)) for t in (first, last))
    step = b.div(b.maximum(b.add(b.sub(high, low), 1.0), 1.0), float(bins))
    number = data(np.arange(bins + 1, dtype=first.dtype.numpy).reshape(1, -1))
    edges = b.mul(number, step)
    top = b.add(b.floor(cut(b, edges, 1, 0, bins)), low)
    bottom = b.add(b.ceil(cut(b, edges, 1, 1, bins)), low)
    place = b.iota(shape=(1, 1, size), axis=2, dtype=first.dtype)
    top, bottom = (reshape(b, t, (count, bins, 1)) for t in (top, bottom))
    result: Tensor = b.logical_and(b.greater_equal(place, top), b.less(place, bottom))
    return result


def _half_away(n: Node, x: Tensor) -> Tensor:
    """The nearest whole number; halves go away from zero, as C rounds them."""
    near = n.b.floor(n.b.add(n.b.abs(x), 0.5))
    result: Tensor = n.b.where(n.b.less(x, 0.0), n.b.neg(near), near)
    return result


TABLE: Table = {
    "AveragePool": lambda n: average(n, n[0]),
    "GlobalAveragePool": _global("reduce_mean"),
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global("reduce_max"),
    "LpPool": _lp,
    "MaxPool": _max,
    "MaxRoiPool": _max_roi,
    "MaxUnpool": _max_unpool,
}
