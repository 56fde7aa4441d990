"""Operators whose results have a size that the data decides.

Each fills a buffer of the largest size there can be, counts what it put there, and names the size
of the filled part: `Emitter.prefix`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.frontend.onnx.emit import Emitter, Tensor, data, scalar, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.at_run_time import decided, vector
from bireme.frontend.onnx.ops.shape import axis_first, expand, reshape, transpose, unsqueeze
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType, product


def places(b: Emitter, condition: Tensor) -> Tensor:
    """The places of the true elements of a vector, ascending."""
    found, count = b.op("compact", [condition])
    return b.prefix(found, count)


def coordinates(b: Emitter, flat: Tensor, shape: Sequence[Dim]) -> list[Tensor]:
    """Numbers of elements of a tensor of `shape` (of one axis or more) as an index of each axis."""
    found = []
    for size in reversed(shape[1:]):
        extent = reshape(b, sizes([size]), ())
        found.append(b.mod(flat, extent))
        flat = b.div(flat, extent)
    return [flat, *reversed(found)]


def _non_zero(n: Node) -> Tensor:
    x, b = n[0], n.b
    if x.array is not None:
        return data(np.stack(np.nonzero(np.atleast_1d(x.array))).astype(np.int64))
    flat = reshape(b, x, (product(x.shape),))
    found = places(b, flat if x.dtype is DType.BOOL else b.not_equal(flat, 0))
    rows = [unsqueeze(b, i, [0]) for i in coordinates(b, found, x.shape or (1,))]
    return rows[0] if len(rows) == 1 else b.concat(*rows, axis=0)


def _most(count: Tensor) -> Dim | None:
    """The most that a number can be which counts true elements: how many elements there are."""
    op = count.value.owner if count.value is not None else None
    while op is not None and op.name in ("reshape", "reduce_sum", "cast"):
        (source, *_) = op.operands
        if op.name == "cast" and source.type.dtype is DType.BOOL:
            return source.type.elements
        op = source.owner
    return None


def _expand(n: Node) -> Tensor:
    """To a shape that is known, or to as many rows as a mask has true elements, which is how
    exporters write what is assigned under a mask.
    """
    b, x, given = n.b, n[0], n.sizes(1)
    if None not in given:
        return expand(b, x, n.dims(1))
    asked, rank = vector(n, 1), max(x.rank, len(given))
    lead = rank - len(given)
    own = [1] * (rank - x.rank) + list(x.shape)
    # A size of 1 is broadcast to the operand's own; others must be that, where it is not 1.
    asked = b.where(b.equal(asked, 1), sizes(own[lead:]), asked)
    counted = _most(n[1]) if len(given) == 1 else None

    def most(place: int) -> Dim:
        if own[lead + place] != 1:
            return own[lead + place]
        return n.most_of_axis(lead + place) if counted is None else counted

    def equal(found: Sequence[Dim]) -> list[Dim]:
        pairs = zip(found, own[lead:], given, strict=True)
        return [d for pair in pairs if pair[2] is None and pair[1] != 1 for d in pair[:2]]

    found = decided(b, asked, given, most, equal)
    rows = zip(found, own[lead:], given, strict=True)
    return expand(b, x, [o if g is None and o != 1 else f for f, o, g in rows])


def _compress(n: Node) -> Tensor:
    x, condition = n[0], n[1]
    if not n.has("axis"):
        x, axis = reshape(n.b, x, (product(x.shape),)), 0
    else:
        axis = n.axis(n.integer("axis"), x.rank)
    if condition.array is not None:
        chosen = data(np.flatnonzero(condition.array).astype(np.int64))
    else:
        chosen = places(n.b, reshape(n.b, condition, (product(condition.shape),)))
    return n.b.gather(x, chosen, axis=axis)


def _unique(n: Node) -> list[Tensor]:
    """Rows are sorted; where one differs from the one before, a group of equal ones starts."""
    x, b = n[0], n.b
    if n.has("axis"):
        axis = n.axis(n.integer("axis"), x.rank)
        front = transpose(b, x, axis_first(x, axis))
        rows = reshape(b, front, (front.shape[0], product(front.shape[1:])))
    else:
        axis, x = 0, reshape(b, x, (product(x.shape),))
        rows = reshape(b, x, (x.shape[0], 1))
    count = rows.shape[0]
    order, starts = b.op("sort_rows", [rows])
    group = b.sub(b.cumsum(b.cast(starts, dtype=DType.I64), axis=0), 1)
    first = b.gather(order, places(b, starts), axis=0)
    inverse = _scattered(b, count, order, group)
    counts = _scattered(b, first.shape[0], group, _filled(b, 1, count), reduction="add")
    if not n.flag("sorted", True):
        # From the order of the elements to that of first occurrence.
        first, order = b.op("topk", [first], k=first.shape, axis=0, largest=False)
        counts = b.gather(counts, order, axis=0)
        line = b.iota(shape=first.shape, axis=0, dtype=DType.I64)
        inverse = b.gather(_scattered(b, first.shape[0], order, line), inverse, axis=0)
    return [b.gather(x, first, axis=axis), first, inverse, counts]


def _filled(b: Emitter, value: int, size: Dim) -> Tensor:
    result: Tensor = b.expand(scalar(value, DType.I64), shape=(size,))
    return result


def _scattered(
    b: Emitter, size: Dim, indices: Tensor, values: Tensor, reduction: str = "none"
) -> Tensor:
    """A vector of `size` zeros with `values` at `indices`."""
    result: Tensor = b.scatter_elements(
        _filled(b, 0, size), indices, values, axis=0, reduction=reduction
    )
    return result


def _non_max_suppression(n: Node) -> Tensor:
    boxes, scores, most, b = n[0], n[1], n.get(2), n.b
    center = n.flag("center_point_box")
    if boxes.rank != 3 or scores.rank != 3:
        raise BiremeError("BM1006", f"boxes {boxes.type} and scores {scores.type} need 3 axes")
    if most is None or (most.array is not None and int(n.scalar(2)) <= 0):
        return data(np.zeros((0, 3), np.int64))
    kept = boxes.shape[1]
    if most.dims is not None:
        kept = b.bounds.minimum(kept, most.dims[0])
    limits = [b.cast(reshape(b, most, ()), dtype=DType.I64)]
    threshold = n.get(3)
    limits.append(scalar(0, DType.F32) if threshold is None else reshape(b, threshold, ()))
    least = n.get(4)
    limits += [] if least is None else [reshape(b, least, ())]
    (chosen,) = b.op("suppress", [boxes, scores, *limits], kept=(kept,), center=center)
    flat = reshape(b, chosen, (product(chosen.shape),))
    found = places(b, b.greater_equal(flat, 0))
    batch, label, _ = coordinates(b, found, chosen.shape)
    columns = [batch, label, b.gather(flat, found, axis=0)]
    result: Tensor = b.concat(*(unsqueeze(b, c, [1]) for c in columns), axis=1)
    return result


TABLE: Table = {
    "Compress": _compress,
    "Expand": _expand,
    "NonMaxSuppression": _non_max_suppression,
    "NonZero": _non_zero,
    "Unique": _unique,
}
