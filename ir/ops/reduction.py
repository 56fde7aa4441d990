"""Ops that combine the elements along axes: reductions, cumulative sums, sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dims import Dim
from bireme.ir.dtypes import NUMERIC, DType
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import divide, highest, lowest, widen
from bireme.ir.ops._rules import BOOLS, rank_at_least
from bireme.ir.types import TensorType


def _reduced(shape: Sequence[Dim], axes: Sequence[int], keepdims: bool) -> tuple[Dim, ...]:
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def _reduce_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    axes = t.attrs["axes"]
    if not axes or axes != t.axes(axes, x.rank):
        raise t.fail(
            f"axes must be one or more of 0 to {x.rank - 1} in ascending order; found {axes}",
            "BM1006",
        )
    return [x.with_shape(_reduced(x.shape, axes, t.attrs["keepdims"]))]


def _mean(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    # Narrow integers are summed in 64 bits, floats in their own (widened) type.
    total = np.asarray(np.sum(x, axis=axis, keepdims=keepdims))
    return divide(total, total.dtype.type(math.prod(x.shape[a] for a in axis)))


def _whole(function: Callable[..., Array]) -> Callable[..., Array]:
    """A NumPy reduction that keeps the operand's type, where NumPy's own would widen integers."""
    return lambda x, **how: function(x, dtype=x.dtype, **how)


def _reduction(
    name: str, function: Callable[..., Array], doc: str, dtypes: tuple[DType, ...] = NUMERIC
) -> OpDef:
    def reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (x,) = inputs
        result = function(widen(x), axis=attrs["axes"], keepdims=attrs["keepdims"])
        return [np.asarray(result).astype(x.dtype, copy=False)]

    return OpDef(
        name=name,
        operands=(Operand("x", dtypes),),
        attrs=(
            Attr(
                "axes", AttrKind.INTS, doc="axes to reduce: at least one, not negative, ascending"
            ),
            Attr("keepdims", AttrKind.BOOL, True, "keep the reduced axes with size 1"),
        ),
        infer=_reduce_type,
        reference=reference,
        fusion=Fusion.REDUCTION,
        doc=doc,
    )


def _arg_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    rank_at_least(t, x, 1, "operand")
    axis = t.axis(t.attrs["axis"], x.rank)
    if x.shape[axis] == 0:
        raise t.fail(f"axis {axis} of {x} is empty")
    return [TensorType(DType.I64, _reduced(x.shape, (axis,), t.attrs["keepdims"]))]


def _arg(name: str, function: Callable[..., Array], what: str) -> OpDef:
    def reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        x, axis, keepdims = widen(inputs[0]), attrs["axis"], attrs["keepdims"]
        if not attrs["last"]:
            return [np.asarray(function(x, axis=axis, keepdims=keepdims), np.int64)]
        found = function(np.flip(x, axis), axis=axis, keepdims=keepdims)
        return [np.asarray(x.shape[axis] - 1 - found, np.int64)]

    return OpDef(
        name=name,
        operands=(Operand("x", NUMERIC),),
        attrs=(
            Attr("axis", AttrKind.INT, doc="axis that is searched"),
            Attr("keepdims", AttrKind.BOOL, True, "keep the axis with size 1"),
            Attr("last", AttrKind.BOOL, False, "of equal elements take the last, not the first"),
        ),
        infer=_arg_type,
        reference=reference,
        fusion=Fusion.REDUCTION,
        doc=f"Index (int64) of the {what} element along an axis; NaN counts as {what}.",
    )


def _cumsum_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    rank_at_least(t, x, 1, "operand")
    t.axis(t.attrs["axis"], x.rank)
    return [x]


def _cumsum_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, axis = widen(inputs[0]), attrs["axis"]
    if attrs["reverse"]:
        x = np.flip(x, axis)
    total = np.cumsum(x, axis, dtype=x.dtype)
    if attrs["exclusive"]:
        total = np.roll(total, 1, axis)
        total[(slice(None),) * (axis % x.ndim) + (slice(0, 1),)] = 0
    if attrs["reverse"]:
        total = np.flip(total, axis)
    return [total.astype(inputs[0].dtype)]


def _topk_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    rank_at_least(t, x, 1, "operand")
    axis = t.axis(t.attrs["axis"], x.rank)
    if len(t.attrs["k"]) != 1:
        raise t.fail(f"k must be one size; found {len(t.attrs['k'])}", "BM1006")
    (k,) = t.attrs["k"]
    spare = x.shape[axis] - k
    if (isinstance(spare, int) and spare < 0) or (isinstance(k, int) and k < 0):
        raise t.fail(f"k {k} does not lie in 0 to {x.shape[axis]}, the size of axis {axis} of {x}")
    shape = list(x.shape)
    shape[axis] = k
    return [x.with_shape(shape), TensorType(DType.I64, tuple(shape))]


def _topk_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    (x,) = inputs
    (k,), axis = attrs["k"], attrs["axis"]
    if not 0 <= k <= x.shape[axis]:
        raise BiremeError("BM6003", f"k is {k}; axis {axis} has {x.shape[axis]} elements")
    key = widen(x)
    if attrs["largest"]:
        # Sorting the reversed axis and reversing the result keeps equal elements in order.
        order = np.argsort(np.flip(key, axis), axis, kind="stable")
        order = x.shape[axis] - 1 - np.flip(order, axis)
    else:
        order = np.argsort(key, axis, kind="stable")
    order = order.take(np.arange(k), axis)
    return [np.take_along_axis(x, order, axis), order.astype(np.int64)]


_ORDERED = BOOLS + NUMERIC

OPS = (
    _reduction("reduce_sum", _whole(np.sum), "Sum along axes, 0 of nothing; integers wrap."),
    _reduction("reduce_mean", _mean, "Mean along axes; integers round toward zero."),
    _reduction("reduce_prod", _whole(np.prod), "Product along axes, 1 of nothing; integers wrap."),
    _reduction(
        "reduce_max",
        lambda x, **how: np.max(x, initial=lowest(x.dtype), **how),
        "Maximum along axes, NaN if any is; of nothing: the least value of the type.",
        _ORDERED,
    ),
    _reduction(
        "reduce_min",
        lambda x, **how: np.min(x, initial=highest(x.dtype), **how),
        "Minimum along axes, NaN if any is; of nothing: the greatest value of the type.",
        _ORDERED,
    ),
    _arg("argmax", np.argmax, "greatest"),
    _arg("argmin", np.argmin, "least"),
    OpDef(
        name="cumsum",
        operands=(Operand("x", NUMERIC),),
        attrs=(
            Attr("axis", AttrKind.INT, doc="axis that is summed along"),
            Attr("exclusive", AttrKind.BOOL, False, "leave the element itself out of its sum"),
            Attr("reverse", AttrKind.BOOL, False, "sum from the end"),
        ),
        infer=_cumsum_type,
        reference=_cumsum_reference,
        fusion=Fusion.REDUCTION,
        doc="Each element is the sum of those up to it along an axis; integers wrap.",
    ),
    OpDef(
        name="topk",
        operands=(Operand("x", NUMERIC),),
        attrs=(
            Attr("k", AttrKind.DIMS, doc="how many elements are kept (one size)"),
            Attr("axis", AttrKind.INT, -1, "axis that is searched"),
            Attr("largest", AttrKind.BOOL, True, "the greatest, not the least elements"),
            Attr("sorted", AttrKind.BOOL, True, "best first; if not, in any order"),
        ),
        infer=_topk_type,
        reference=_topk_reference,
        fusion=Fusion.REDUCTION,
        doc="The `k` greatest or least elements along an axis, and their indices (int64). Of equal "
        "ones the lower index comes first; NaN counts as greatest.",
    ),
)
