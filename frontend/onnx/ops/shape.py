"""Operators that move, repeat, cut and join elements, with shapes known as expressions."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Emitter, Tensor, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, product
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


def axis_first(x: Tensor, axis: int) -> list[int]:
    """The permutation that puts `axis` before the others."""
    return [axis, *(i for i in range(x.rank) if i != axis)]


def prefix_along(b: Emitter, x: Tensor, axis: int, count: Tensor) -> Tensor:
    """The first `count` elements along `axis`; without a copy along the first."""
    if axis == 0:
        return b.prefix(x, count)
    (size,) = b.bind(count, [x.shape[axis]])
    return cut(b, x, axis, 0, size)


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


TABLE: Table = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Shape": _shape,
    "Size": _size,
    "SpaceToDepth": _space_to_depth,
    "Transpose": _transpose,
}
