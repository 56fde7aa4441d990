"""Pooling."""

from __future__ import annotations

from bireme.frontend.onnx.emit import Tensor, scalar
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops.shape import pad, reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.ops.windows import Window, some_windows, spatial, window
from bireme.ir import BiremeError, DType, product


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


TABLE: Table = {
    "AveragePool": lambda n: average(n, n[0]),
    "GlobalAveragePool": _global("reduce_mean"),
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global("reduce_max"),
    "LpPool": _lp,
    "MaxPool": _max,
    "MaxUnpool": _max_unpool,
}
