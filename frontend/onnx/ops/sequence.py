"""Sequences of tensors: lists while importing, nothing in the graph.

What is split into a number of parts that only run time knows, or gathered by such a number of steps
of a loop, is one tensor whose rows are the items.
"""

from __future__ import annotations

from bireme.frontend.onnx.emit import Tensor, sequence, sizes, stacked
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import axis_first, cut, reshape, transpose, unsqueeze
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType, TensorType

# Each tensor of a sequence is an op of its own.
_MOST_TENSORS = 4096


def growing() -> Tensor:
    """Stands for the items that a sequence already has, in the body of a loop that adds more."""
    return stacked(Tensor(TensorType(DType.BOOL, (0,))))


def _is_growing(item: Tensor) -> bool:
    return item.stacked and item.value is None and item.known is None


def _readable(n: Node) -> list[Tensor]:
    """The items of input 0. Raises BM1003 where a loop has not gathered them yet."""
    items = n.items(0)
    if any(_is_growing(item) for item in items):
        raise BiremeError("BM1003", "a sequence is read in the loop that adds to it")
    return items


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
    if n.get(2) is not None and any(item.stacked for item in items):
        raise BiremeError("BM1003", "an item is put into a sequence whose length is not known")
    place = int(n.scalar(2)) if n.get(2) is not None else len(items)
    if not -len(items) <= place <= len(items):
        raise BiremeError("BM1006", f"position {place} in a sequence of {len(items)}")
    place = place if place >= 0 else place + len(items)
    return sequence([*items[:place], n[1], *items[place:]])


def _erase(n: Node) -> Tensor:
    items = _readable(n)
    if any(item.stacked for item in items):
        raise BiremeError("BM1003", "an item is taken from a sequence whose length is not known")
    place = _place(n, 1, len(items), -1)
    return sequence(items[:place] + items[place + 1 :])


def _at(n: Node) -> Tensor:
    items, place = _readable(n), n[1]
    if place.array is not None and not any(item.stacked for item in items):
        return items[_place(n, 1, len(items), 0)]
    return n.b.gather(_joined(n, items, 0, True), reshape(n.b, place, ()), axis=0)


def _length(n: Node) -> Tensor:
    items = _readable(n)
    total: Dim = sum((item.shape[0] if item.stacked else 1 for item in items), 0)
    return reshape(n.b, sizes([total]), ())


def _concat(n: Node) -> Tensor:
    items, stack = _readable(n), n.flag("new_axis")
    if not items:
        raise BiremeError("BM1006", "an empty sequence has no tensor")
    rank = items[0].rank - items[0].stacked + stack
    return _joined(n, items, n.axis(n.integer("axis"), rank), stack)


def _joined(n: Node, items: list[Tensor], axis: int, stack: bool) -> Tensor:
    """The items along `axis`, which is a new one if `stack`. Raises BM1006 for no items."""
    if not items:
        raise BiremeError("BM1006", "an empty sequence has no tensor")
    parts = []
    for item in items:
        if item.stacked:
            order = [*range(1, axis + 1), 0, *range(axis + 1, item.rank)]
            part = transpose(n.b, item, order)
            if not stack:
                merged = part.shape[axis] * part.shape[axis + 1]
                part = reshape(n.b, part, (*part.shape[:axis], merged, *part.shape[axis + 2 :]))
            parts.append(part)
        else:
            parts.append(unsqueeze(n.b, item, [axis]) if stack else item)
    return parts[0] if len(parts) == 1 else n.b.concat(*parts, axis=axis)


def _split(n: Node) -> Tensor:
    x = n[0]
    axis = n.axis(n.integer("axis", 0), x.rank)
    size = x.shape[axis]
    keep = n.flag("keepdims", True) or n.get(1) is not None
    extents: list[Dim]
    if n.get(1) is not None and n[1].rank == 1:
        extents = n.dims(1)
    else:
        each = int(n.scalar(1)) if n.get(1) is not None else 1
        if not isinstance(size, int) and each == 1:
            rows = transpose(n.b, x, axis_first(x, axis))
            return sequence([stacked(unsqueeze(n.b, rows, [axis + 1]) if keep else rows)])
        if not isinstance(size, int):
            raise BiremeError("BM1007", f"how many parts {size} elements give is not known")
        if each < 1:
            raise BiremeError("BM1006", f"parts of {each} elements")
        if size > _MOST_TENSORS * each:
            raise BiremeError("BM1003", f"a sequence of more than {_MOST_TENSORS} tensors")
        extents = [min(each, size - start) for start in range(0, size, each)]
    spare = sum(extents, -size)
    if isinstance(spare, int) and spare != 0:
        raise BiremeError("BM1006", f"parts {extents} do not add up to {size}")
    parts, start = [], 0 * size
    for part in extents:
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
