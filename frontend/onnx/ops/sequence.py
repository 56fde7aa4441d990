"""Sequences of tensors whose length is known: lists while importing, nothing in the graph."""

from __future__ import annotations

from bireme.frontend.onnx.emit import Tensor, scalar, sequence
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import cut, reshape, unsqueeze
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType


def _place(n: Node, index: int, length: int, default: int) -> int:
    """A position in a sequence. Raises BM1006 for one outside."""
    place = int(n.scalar(index)) if n.get(index) is not None else default
    if not -length <= place < length:
        raise BiremeError("BM1006", f"position {place} in a sequence of {length}")
    return place % length


def _construct(n: Node) -> Tensor:
    return sequence([n[i] for i in range(len(n.inputs))])


def _empty(n: Node) -> Tensor:
    n.dtype("dtype", DType.F32)
    return sequence([])


def _insert(n: Node) -> Tensor:
    items = n.items(0)
    place = int(n.scalar(2)) if n.get(2) is not None else len(items)
    if not -len(items) <= place <= len(items):
        raise BiremeError("BM1006", f"position {place} in a sequence of {len(items)}")
    place = place if place >= 0 else place + len(items)
    return sequence([*items[:place], n[1], *items[place:]])


def _erase(n: Node) -> Tensor:
    items = n.items(0)
    place = _place(n, 1, len(items), -1)
    return sequence(items[:place] + items[place + 1 :])


def _at(n: Node) -> Tensor:
    items = n.items(0)
    return items[_place(n, 1, len(items), 0)]


def _length(n: Node) -> Tensor:
    return scalar(len(n.items(0)), DType.I64)


def _concat(n: Node) -> Tensor:
    items, stack = n.items(0), n.flag("new_axis")
    if not items:
        raise BiremeError("BM1006", "an empty sequence has no tensor")
    axis = n.axis(n.integer("axis"), items[0].rank + stack)
    if stack:
        items = [unsqueeze(n.b, t, [axis]) for t in items]
    return items[0] if len(items) == 1 else n.b.concat(*items, axis=axis)


def _split(n: Node) -> Tensor:
    x = n[0]
    axis = n.axis(n.integer("axis", 0), x.rank)
    size = x.shape[axis]
    keep = n.flag("keepdims", True) or n.get(1) is not None
    sizes: list[Dim]
    if n.get(1) is not None and n[1].rank == 1:
        sizes = n.dims(1)
    else:
        each = int(n.scalar(1)) if n.get(1) is not None else 1
        if not isinstance(size, int):
            raise BiremeError("BM1007", f"how many parts {size} elements give is not known")
        if each < 1:
            raise BiremeError("BM1006", f"parts of {each} elements")
        sizes = [min(each, size - start) for start in range(0, size, each)]
    spare = sum(sizes, -size)
    if isinstance(spare, int) and spare != 0:
        raise BiremeError("BM1006", f"parts {sizes} do not add up to {size}")
    parts, start = [], 0 * size
    for part in sizes:
        piece = cut(n.b, x, axis, start, part)
        if not keep:
            piece = reshape(n.b, piece, piece.shape[:axis] + piece.shape[axis + 1 :])
        parts.append(piece)
        start = start + part
    return sequence(parts)


TABLE: Table = {
    "ConcatFromSequence": _concat,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
    "SplitToSequence": _split,
}
