"""Ops for results whose size the data decides.

`bind` gives sizes that a tensor holds their names. Operators that find elements, rather than being
told how many there are, are made of ops that fill a buffer of the largest size there can be and
count what they put there, and of `prefix`, which gives the filled part a size with a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.ir.dims import minimum, symbol
from bireme.ir.dtypes import NUMERIC, DType
from bireme.ir.errors import BiremeError, counted
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import at_least, has_rank, one_per_axis, rank_at_least
from bireme.ir.types import TensorType

_COUNT = TensorType(DType.I64, ())


def _prefix_type(t: Typing) -> Sequence[TensorType]:
    x, count = t.types
    rank_at_least(t, x, 1, "x")
    has_rank(t, count, 0, "count")
    name = t.attrs["symbol"]
    if name in x.symbols:
        raise t.fail(f"{x} has the size {name} already")
    return [x.with_shape((symbol(name), *x.shape[1:]))]


def _prefix_reference(inputs: Sequence[Array], _attrs: Attrs) -> Sequence[Array]:
    x, count = inputs
    if not 0 <= int(count) <= x.shape[0]:
        raise BiremeError("BM6003", f"a count of {int(count)} for {x.shape[0]} rows")
    return [x[: int(count)]]


def _bind_type(t: Typing) -> Sequence[TensorType]:
    (counts,) = t.types
    symbols, equal = t.attrs["symbols"], t.attrs["equal"]
    if counts.elements != len(symbols) or counts.rank > 1:
        raise t.fail(f"{counts} does not hold {counted(len(symbols), 'size')}")
    for name in symbols:
        symbol(name)  # raises where it is no name
    one_per_axis(t, "most", len(symbols))
    at_least(t, "most", 0)
    if len(equal) % 2 or len(set(symbols)) != len(symbols):
        raise t.fail("sizes have names of their own, and equal ones come in pairs", "BM1006")
    for a, b in zip(equal[::2], equal[1::2], strict=True):
        t.same(a, b, "sizes in the data")
    return []


def _bind_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    for name, size, most in zip(attrs["symbols"], inputs[0].ravel(), attrs["most"], strict=True):
        if not 0 <= size <= most:
            raise BiremeError("BM6003", f"{name} is {size}; it must lie in 0 to {most}")
    return []


def _compact_type(t: Typing) -> Sequence[TensorType]:
    (condition,) = t.types
    has_rank(t, condition, 1, "condition")
    return [condition.with_dtype(DType.I64), _COUNT]


def _compact_reference(inputs: Sequence[Array], _attrs: Attrs) -> Sequence[Array]:
    found = np.flatnonzero(inputs[0])
    places = np.zeros(inputs[0].shape, np.int64)
    places[: found.size] = found
    return [places, np.array(found.size)]


def _sort_rows_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    has_rank(t, x, 2, "x")
    rows = x.with_shape(x.shape[:1])
    return [rows.with_dtype(DType.I64), rows.with_dtype(DType.BOOL)]


def _sort_rows_reference(inputs: Sequence[Array], _attrs: Attrs) -> Sequence[Array]:
    (x,) = inputs
    rows, columns = x.shape
    x = x.astype(np.uint8) if x.dtype == np.bool_ else widen(x)
    if columns == 0:
        return [np.arange(rows, dtype=np.int64), np.arange(rows) == 0]
    # NumPy sorts NaN last; the numbers of equal rows decide, as `lexsort` is stable.
    order = np.lexsort(x.T[::-1]).astype(np.int64)
    ordered = x[order]
    same = (ordered[1:] == ordered[:-1]) | ((ordered != ordered)[1:] & (ordered != ordered)[:-1])
    return [order, np.concatenate([np.ones(min(rows, 1), bool), ~same.all(1)])]


def _suppress_type(t: Typing) -> Sequence[TensorType]:
    boxes, scores, *limits = t.types
    has_rank(t, boxes, 3, "boxes")
    has_rank(t, scores, 3, "scores")
    for limit, name in zip(limits, ("most", "iou_threshold", "score_threshold"), strict=False):
        has_rank(t, limit, 0, name)
    batch = t.same(boxes.shape[0], scores.shape[0], "batches of boxes and scores")
    count = t.same(boxes.shape[1], scores.shape[2], "boxes and their scores")
    t.same(boxes.shape[2], 4, "numbers that give a box")
    one_per_axis(t, "kept", 1)
    at_least(t, "kept", 0)
    (kept,) = t.attrs["kept"]
    if kept != minimum(kept, count) and isinstance(count - kept, int):
        raise t.fail(f"{kept} of {count} boxes cannot be kept", "BM1006")
    return [TensorType(DType.I64, (batch, scores.shape[1], kept))]


def _corners(boxes: Array, center: bool) -> tuple[Array, Array]:
    """Lower and upper corners, each [..., 2]."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if center:
        half = second / np.float32(2)
        return first - half, first + half
    return np.minimum(first, second), np.maximum(first, second)


def _suppress_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    boxes, scores, most, iou_threshold, *rest = inputs
    low, high = _corners(boxes, attrs["center"])
    area = np.prod(high - low, axis=-1)
    (kept,) = attrs["kept"]
    result = np.full((*scores.shape[:2], kept), -1, np.int64)
    for batch, label in np.ndindex(*scores.shape[:2]):
        row = scores[batch, label]
        candidates = np.argsort(-row, kind="stable")
        if rest:
            candidates = candidates[row[candidates] > rest[0]]
        chosen: list[int] = []
        for box in candidates:
            if len(chosen) >= min(int(most), kept):
                break
            shared = np.prod(
                np.maximum(
                    np.minimum(high[batch, chosen], high[batch, box])
                    - np.maximum(low[batch, chosen], low[batch, box]),
                    0,
                ),
                axis=-1,
            )
            union = area[batch, chosen] + area[batch, box] - shared
            real = (shared > 0) & (area[batch, chosen] > 0) & (area[batch, box] > 0) & (union > 0)
            if not np.any(real & (shared / np.where(real, union, 1) > iou_threshold)):
                chosen.append(int(box))
        result[batch, label, : len(chosen)] = chosen
    return [result]


OPS = (
    OpDef(
        name="bind",
        operands=(Operand("counts", (DType.I64,)),),
        attrs=(
            Attr("symbols", AttrKind.STRS, doc="the new sizes' names, one for each element"),
            Attr("most", AttrKind.DIMS, doc="the most that each of them can be"),
            Attr("equal", AttrKind.DIMS, (), "sizes that turn out equal: pairs, one by one"),
        ),
        infer=_bind_type,
        reference=_bind_reference,
        fusion=Fusion.SIZE,
        doc="Names sizes that the data holds: ops behind this one, in its block and the regions of "
        "that, may use the elements of `counts`, a scalar or a vector, as `symbols`. A run fails "
        "unless each lies between 0 and its `most`, and unless those of each pair in `equal` are "
        "the same. Memory for a product of sizes that `equal` says to be another size is reserved "
        "accordingly.",
    ),
    OpDef(
        name="prefix",
        operands=(Operand("x"), Operand("count", (DType.I64,))),
        attrs=(Attr("symbol", AttrKind.STR, doc="the new size's name"),),
        infer=_prefix_type,
        reference=_prefix_reference,
        fusion=Fusion.SIZE,
        doc="The first `count` rows of `x`, without a copy. The size is called `symbol` from here "
        "on: ops behind this one, in its block and the regions of that, may use it. A run fails "
        "unless it lies between 0 and the rows of `x`.",
    ),
    OpDef(
        name="compact",
        operands=(Operand("condition", (DType.BOOL,)),),
        attrs=(),
        infer=_compact_type,
        reference=_compact_reference,
        fusion=Fusion.OPAQUE,
        doc="The places of the true elements of a vector, ascending and followed by zeros, and how "
        "many there are.",
    ),
    OpDef(
        name="sort_rows",
        operands=(Operand("x", (*NUMERIC, DType.BOOL)),),
        attrs=(),
        infer=_sort_rows_type,
        reference=_sort_rows_reference,
        fusion=Fusion.OPAQUE,
        doc="The numbers of the rows of a matrix in ascending order of the rows, by their first "
        "elements, then the second and so on; equal rows keep their order, NaN comes last and "
        "equals itself. The second result says which rows of that order differ from the one "
        "before.",
    ),
    OpDef(
        name="suppress",
        operands=(
            Operand("boxes", (DType.F32,)),
            Operand("scores", (DType.F32,)),
            Operand("most", (DType.I64,)),
            Operand("iou_threshold", (DType.F32,)),
            Operand("score_threshold", (DType.F32,), optional=True),
        ),
        attrs=(
            Attr("kept", AttrKind.DIMS, doc="one size: places for boxes of each class"),
            Attr("center", AttrKind.BOOL, False, "boxes are (x, y, width, height) from the center"),
        ),
        infer=_suppress_type,
        reference=_suppress_reference,
        fusion=Fusion.OPAQUE,
        doc="Non-maximum suppression of `boxes` [batch, n, 4], given by two corners, for each "
        "class of `scores` [batch, classes, n]: boxes by descending score (of equal ones the first "
        "box), each taken unless its intersection over union with one already taken is above "
        "`iou_threshold`; at most `most`, and only scores above `score_threshold`. Their numbers, "
        "then -1.",
    ),
)
