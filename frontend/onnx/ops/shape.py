"""Operators that move, repeat, cut and join elements, with shapes known as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bireme.frontend.onnx.emit import Emitter, Tensor, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType, ceildiv, product
from bireme.ir.dims import floordiv


def reshape(b: Emitter, x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """`x` with another shape; nothing when it has that shape already."""
    return x if x.shape == tuple(shape) else b.reshape(x, shape=tuple(shape))


def unsqueeze(b: Emitter, x: Tensor, axes: Sequence[int]) -> Tensor:
    """`x` with axes of size 1 at the given (non-negative) places of the result."""
    shape = list(x.shape)
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return reshape(b, x, shape)


def transpose(b: Emitter, x: Tensor, perm: Sequence[int]) -> Tensor:
    """`x` with its axes in the order `perm`."""
    return x if list(perm) == list(range(x.rank)) else b.transpose(x, perm=tuple(perm))


def cut(b: Emitter, x: Tensor, axis: int, start: Dim, size: Dim, step: int = 1) -> Tensor:
    """`size` elements of `x` along `axis` from `start`."""
    if start == 0 and step == 1 and size == x.shape[axis]:
        return x
    starts: list[Dim] = [0] * x.rank
    extents, steps = list(x.shape), [1] * x.rank
    starts[axis], extents[axis], steps[axis] = start, size, step
    return b.slice(x, starts=tuple(starts), sizes=tuple(extents), steps=tuple(steps))


def pad(
    b: Emitter, x: Tensor, before: Sequence[Dim], after: Sequence[Dim], value: Tensor | float = 0
) -> Tensor:
    """`x` padded with a constant; nothing when no axis grows."""
    if not any(before) and not any(after):
        return x
    return b.pad(x, value, before=tuple(before), after=tuple(after))


def rest(total: Sequence[Dim], others: Sequence[Dim]) -> Dim:
    """The size left for one axis: elements of shape `total` over elements of shape `others`."""
    above, below = list(total), []
    for size in others:
        if size in above:
            above.remove(size)
        else:
            below.append(size)
    bottom = product(below)
    if bottom == 0:
        raise BiremeError("BM1006", "a size of -1 beside a size of 0 has no value")
    return floordiv(product(above), bottom)


def _reshape(n: Node) -> Tensor:
    x, wanted = n[0], n.dims(1)
    keep_zero = n.flag("allowzero")
    shape: list[Dim] = []
    for axis, size in enumerate(wanted):
        if size == 0 and not keep_zero:
            if axis >= x.rank:
                raise BiremeError("BM1006", f"size 0 at axis {axis} of a reshape of {x.type}")
            size = x.shape[axis]
        shape.append(size)
    if shape.count(-1) > 1 or any(isinstance(d, int) and d < -1 for d in shape):
        raise BiremeError("BM1006", f"shape {wanted} is not allowed")
    if -1 in shape:
        axis = shape.index(-1)
        shape[axis] = rest(x.shape, shape[:axis] + shape[axis + 1 :])
    return reshape(n.b, x, shape)


def _flatten(n: Node) -> Tensor:
    x = n[0]
    axis = n.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise BiremeError("BM1006", f"axis {axis} is outside [{-x.rank}, {x.rank}]")
    axis = axis if axis >= 0 else axis + x.rank
    return reshape(n.b, x, (product(x.shape[:axis]), product(x.shape[axis:])))


def _axes(n: Node) -> list[int] | None:
    """Axes from attribute or input, as written, or None when not given."""
    if n.opset < 13:
        return n.integers("axes", []) if n.has("axes") else None
    return n.ints_of(1) if n.get(1) is not None else None


def _squeeze(n: Node) -> Tensor:
    x, given = n[0], _axes(n)
    if given is None:
        if not x.type.is_static:
            raise BiremeError("BM1007", f"which axes of {x.type} have size 1 is not known")
        axes = [i for i, d in enumerate(x.shape) if d == 1]
    else:
        axes = n.axes(given, x.rank)
    for axis in axes:
        if isinstance(x.shape[axis], int) and x.shape[axis] != 1:
            raise BiremeError("BM1006", f"axis {axis} of {x.type} is not 1")
    return reshape(n.b, x, [d for i, d in enumerate(x.shape) if i not in axes])


def _unsqueeze(n: Node) -> Tensor:
    given = _axes(n)
    if given is None:
        raise BiremeError("BM1006", "axes are missing")
    return unsqueeze(n.b, n[0], n.axes(given, n[0].rank + len(given)))


def _transpose(n: Node) -> Tensor:
    rank = n[0].rank
    perm = n.integers("perm", list(reversed(range(rank))))
    if sorted(perm) != list(range(rank)):
        raise BiremeError("BM1006", f"perm {perm} is no order of {rank} axes")
    return transpose(n.b, n[0], perm)


def _concat(n: Node) -> Tensor:
    tensors = [n[i] for i in range(len(n.inputs))]
    axis = n.axis(n.integer("axis"), tensors[0].rank)
    return tensors[0] if len(tensors) == 1 else n.b.concat(*tensors, axis=axis)


def _slice_attributes(n: Node) -> Tensor:
    starts, ends = n.integers("starts"), n.integers("ends")
    axes = n.integers("axes", list(range(len(starts))))
    return _sliced(n, starts, ends, axes, [1] * len(starts))


def _slice(n: Node) -> Tensor:
    (count,) = n[1].type.static_shape
    axes = n.ints_of(3) if n.get(3) is not None else list(range(count))
    steps = n.ints_of(4) if n.get(4) is not None else [1] * count
    if n[1].dims is None or n[2].dims is None:
        return _sliced_by_data(n, axes, steps)
    return _sliced(n, n.dims(1), n.dims(2), axes, steps)


def _sliced_by_data(n: Node, axes: Sequence[int], steps: Sequence[int]) -> Tensor:
    """A slice whose ends the data decides: along each axis at most all elements, counted at run
    time. Ends are clamped as `Bounds.slice` does.
    """
    x, b = n[0], n.b
    (count,) = n[1].type.static_shape
    if not (n[1].shape == n[2].shape == (len(axes),) and len(steps) == count):
        raise BiremeError("BM1006", "starts, ends, axes and steps differ in length")
    for index in (1, 2):
        if n[index].guess:
            raise n.unknown(index)
    n.axes(axes, x.rank)
    for i, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        if step == 0:
            raise BiremeError("BM1006", "a step is 0")
        axis %= x.rank
        size = reshape(b, sizes([x.shape[axis]]), ())
        first, last = (0, size) if step > 0 else (-1, b.sub(size, 1))
        start, end = (
            _clamped(b, reshape(b, cut(b, n[index], 0, i, 1), ()), size, low, last)
            for index, low in ((1, 0), (2, first))
        )
        if step > 0:
            span = b.add(b.sub(end, start), step - 1)
        else:
            span = b.add(b.sub(start, end), -step - 1)
        length = b.div(b.maximum(span, 0), abs(step))
        x = _moved(b, x, axis, start, step, length)
    return x


def _clamped(b: Emitter, end: Tensor, size: Tensor, low: Any, high: Any) -> Tensor:
    """An end of a slice as a place between `low` and `high`."""
    end = b.cast(end, dtype=DType.I64)
    end = b.where(b.less(end, 0), b.add(end, size), end)
    result: Tensor = b.minimum(b.maximum(end, low), high)
    return result


def _moved(b: Emitter, x: Tensor, axis: int, start: Tensor, step: int, length: Tensor) -> Tensor:
    """`length` elements along `axis` from `start` on: gathered, then cut in front of all axes."""
    size = x.shape[axis]
    if step == 1 and start.dims == [0]:
        return prefix_along(b, x, axis, length)
    at = b.add(b.mul(b.iota(shape=(size,), axis=0, dtype=DType.I64), step), start)
    last = reshape(b, sizes([size]), ())
    at = b.maximum(b.minimum(at, b.sub(last, 1)), 0)
    return prefix_along(b, b.gather(x, at, axis=axis), axis, length)


def axis_first(x: Tensor, axis: int) -> list[int]:
    """The permutation that puts `axis` before the others."""
    return [axis, *(i for i in range(x.rank) if i != axis)]


def prefix_along(b: Emitter, x: Tensor, axis: int, count: Tensor) -> Tensor:
    """The first `count` elements along `axis`."""
    front = axis_first(x, axis)
    cut_off = b.prefix(transpose(b, x, front), count)
    return transpose(b, cut_off, [front.index(i) for i in range(x.rank)])


def _sliced(
    n: Node, starts: Sequence[Dim], ends: Sequence[Dim], axes: Sequence[int], steps: Sequence[int]
) -> Tensor:
    x = n[0]
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise BiremeError("BM1006", "starts, ends, axes and steps differ in length")
    n.axes(axes, x.rank)
    first: list[Dim] = [0] * x.rank
    extent, stride = list(x.shape), [1] * x.rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise BiremeError("BM1006", "a step is 0")
        axis %= x.rank
        first[axis], extent[axis] = n.b.bounds.slice(start, end, step, x.shape[axis])
        stride[axis] = step
    if extent == list(x.shape) and not any(first) and all(s == 1 for s in stride):
        return x
    return n.b.slice(x, starts=tuple(first), sizes=tuple(extent), steps=tuple(stride))


def _split(n: Node) -> list[Tensor]:
    x = n[0]
    axis = n.axis(n.integer("axis", 0), x.rank)
    size, count = x.shape[axis], n.outputs
    if n.opset < 13 and n.has("split"):
        parts: list[Dim] = list(n.integers("split"))
    elif n.opset >= 13 and n.get(1) is not None:
        parts = n.dims(1)
    else:
        count = n.integer("num_outputs", count) if n.opset >= 18 else count
        if not 0 < count <= len(n.proto.output):
            raise BiremeError("BM1006", f"{count} parts for {len(n.proto.output)} outputs")
        each = ceildiv(size, count)
        parts = [each] * (count - 1)
        parts.append(size - each * (count - 1))
    if len(parts) < n.outputs:
        raise BiremeError("BM1006", f"{len(parts)} parts for {n.outputs} outputs")
    total = sum(parts[1:], parts[0]) - size
    if isinstance(total, int) and total != 0:
        raise BiremeError("BM1006", f"parts {parts} do not add up to {size}")
    results, start = [], 0 * size
    for part in parts:
        results.append(cut(n.b, x, axis, start, part))
        start = start + part
    return results


_PAD_MODES = ("constant", "reflect", "edge", "wrap")


def _pad_attributes(n: Node) -> Tensor:
    pads = n.integers("pads")
    return _padded(n, pads, list(range(n[0].rank)), n.number("value", 0.0))


def _pad(n: Node) -> Tensor:
    x = n[0]
    axes = n.ints_of(3) if n.get(3) is not None else list(range(x.rank))
    value: Tensor | float = 0
    if n.get(2) is not None:
        value = reshape(n.b, n[2], ())
    return _padded(n, n.dims(1), axes, value)


def _padded(n: Node, pads: Sequence[Dim], axes: Sequence[int], value: Tensor | float) -> Tensor:
    x = n[0]
    mode = n.choice("mode", "constant", _PAD_MODES)
    if len(pads) != 2 * len(axes):
        raise BiremeError("BM1006", f"{len(pads)} pads for {len(axes)} axes")
    n.axes(axes, x.rank)
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for index, axis in enumerate(axes):
        axis %= x.rank
        before[axis], after[axis] = pads[index], pads[index + len(axes)]
        for side in (before, after):  # a negative pad cuts elements off
            low, high = n.b.bounds.of(side[axis])
            if high < 0:
                start = -side[axis] if side is before else 0
                x = cut(n.b, x, axis, start, x.shape[axis] + side[axis])
                side[axis] = 0
            elif low < 0:
                raise BiremeError("BM1007", f"the sign of pad {side[axis]} is not known")
    if not any(before) and not any(after):
        return x
    operands = [x, value] if mode == "constant" else [x]
    return n.b.pad(*operands, before=tuple(before), after=tuple(after), mode=mode)


def expand(b: Emitter, x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """`x` broadcast with `shape`, both ways as ONNX does. Raises BM2004."""
    rank = max(x.rank, len(shape))
    ours = [1] * (rank - x.rank) + list(x.shape)
    theirs = [1] * (rank - len(shape)) + list(shape)
    result = tuple(t if d == 1 else d for d, t in zip(ours, theirs, strict=True))
    for d, t in zip(result, theirs, strict=True):
        if isinstance(d - t, int) and d != t and t != 1:
            raise BiremeError("BM2004", f"{x.type} cannot be broadcast with {list(shape)}")
    return x if result == x.shape else b.expand(x, shape=result)


def _tile(n: Node) -> Tensor:
    x, repeats = n[0], n.dims(1)
    if len(repeats) != x.rank:
        raise BiremeError("BM1006", f"{len(repeats)} repeats for {x.type}")
    return x if all(r == 1 for r in repeats) else n.b.tile(x, repeats=tuple(repeats))


def _shape(n: Node) -> Tensor:
    x = n[0]
    start, end = n.integer("start", 0), n.integer("end", x.rank)
    return sizes(x.shape[slice(start, end)])


def _size(n: Node) -> Tensor:
    return n.b.reshape(sizes([n[0].type.elements]), shape=())


def _depth_to_space(n: Node) -> Tensor:
    x, block = n[0], n.integer("blocksize")
    mode = n.choice("mode", "DCR", ("DCR", "CRD"))
    if x.rank != 4 or block < 1:
        raise BiremeError("BM1006", f"blocksize {block} on {x.type}")
    batch, channels, height, width = x.shape
    depth = floordiv(channels, block * block)
    split: tuple[Dim, ...]
    if mode == "DCR":
        split, perm = (batch, block, block, depth, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (batch, depth, block, block, height, width), (0, 1, 4, 2, 5, 3)
    moved = n.b.transpose(n.b.reshape(x, shape=split), perm=perm)
    return reshape(n.b, moved, (batch, depth, height * block, width * block))


def _space_to_depth(n: Node) -> Tensor:
    x, block = n[0], n.integer("blocksize")
    mode = n.choice("mode", "DCR", ("DCR", "CRD")) if n.has("mode") else "DCR"
    if x.rank != 4 or block < 1:
        raise BiremeError("BM1006", f"blocksize {block} on {x.type}")
    batch, channels, height, width = x.shape
    rows, columns = floordiv(height, block), floordiv(width, block)
    split = n.b.reshape(x, shape=(batch, channels, rows, block, columns, block))
    perm = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = n.b.transpose(split, perm=perm)
    return reshape(n.b, moved, (batch, channels * block * block, rows, columns))


def _center_crop_pad(n: Node) -> Tensor:
    x, wanted = n[0], n.dims(1)
    axes = n.integers("axes", list(range(x.rank)))
    if len(axes) != len(wanted):
        raise BiremeError("BM1006", f"{len(wanted)} sizes for {len(axes)} axes")
    n.axes(axes, x.rank)
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for axis, size in zip(axes, wanted, strict=True):
        axis %= x.rank
        have = x.shape[axis]
        smaller = n.b.bounds.less(size, have)
        if smaller is None:
            raise BiremeError(
                "BM1007", f"whether size {have} is cut or padded to {size} is not known"
            )
        if smaller:
            x = cut(n.b, x, axis, floordiv(have - size, 2), size)
        else:
            before[axis] = floordiv(size - have, 2)
            after[axis] = size - have - before[axis]
    return pad(n.b, x, before, after)


TABLE: Table = {
    "CenterCropPad": _center_crop_pad,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Flatten": _flatten,
    "Pad": ((2, _pad_attributes), (11, _pad)),
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": ((1, _slice_attributes), (10, _slice)),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
