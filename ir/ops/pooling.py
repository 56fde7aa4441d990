"""Pooling: one figure for each window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dtypes import FLOATS, NUMERIC, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import lowest, widen
from bireme.ir.ops._rules import at_least, has_rank
from bireme.ir.ops._windows import (
    DILATIONS,
    KERNEL,
    PADS,
    STRIDES,
    check_window,
    count_windows,
    padded,
    taps,
    window_counts,
)
from bireme.ir.ops.shape import pack, unpack
from bireme.ir.types import TensorType


def _pool_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    kernel, block = t.attrs["kernel"], t.attrs["block"]
    rank = len(kernel)
    at_least(t, "kernel", 1)
    at_least(t, "block", 1)
    check_window(t, rank)
    has_rank(t, x, rank + (2 if block == 1 else 3), "x")
    if block > 1:
        t.same(x.shape[-1], block, "the last size of x is block")
    counts = window_counts(t, x.shape[2 : 2 + rank], kernel, t.attrs["ceil_mode"])
    return [x.with_shape([*x.shape[:2], *counts, *x.shape[2 + rank :]])]


def _max_pool_type(t: Typing) -> Sequence[TensorType]:
    if t.attrs["storage_order"] not in (0, 1):
        raise t.fail(f"storage_order must be 0 or 1; found {t.attrs['storage_order']}", "BM1006")
    (result,) = _pool_type(t)
    if not t.attrs["indices"]:
        return [result]
    if t.attrs["block"] > 1:
        raise t.fail("indices cannot be had from a blocked pool", "BM1006")
    return [result, result.with_dtype(DType.I64)]


Pool = Callable[[Array, Attrs], Sequence[Array]]


def _blocked(pool: Pool) -> Callable[[Sequence[Array], Attrs], Sequence[Array]]:
    """The reference of a pool on `[N, C, *S]`: it unpacks a blocked operand and packs the result."""

    def reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (x,), block = inputs, attrs["block"]
        if block == 1:
            return pool(x, attrs)
        return [pack(y, block) for y in pool(unpack(x, x.shape[1] * block), attrs)]

    return reference


def _counts(x: Array, attrs: Attrs) -> list[int]:
    rank = x.ndim - 2
    pads = attrs["pads"]
    return [
        count_windows(
            x.shape[2 + i], attrs["kernel"][i], attrs["strides"][i], attrs["dilations"][i],
            pads[i], pads[rank + i], attrs["ceil_mode"],
        )
        for i in range(rank)
    ]  # fmt: skip


def _spare(x: Array, attrs: Attrs, counts: Sequence[int]) -> list[int]:
    """Elements by which the last window of each axis reaches beyond the padding (`ceil_mode`)."""
    rank = x.ndim - 2
    reach = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(
            counts, attrs["strides"], attrs["kernel"], attrs["dilations"], strict=True
        )
    ]
    pads = attrs["pads"]
    return [max(r - x.shape[2 + i] - pads[i] - pads[rank + i], 0) for i, r in enumerate(reach)]


def _each_tap(x: Array, attrs: Attrs, value: float | int) -> tuple[list[int], list[Array]]:
    """Number of windows along each axis, and for each tap what it reads in every window."""
    counts = _counts(x, attrs)
    full = padded(x, attrs["pads"], value, _spare(x, attrs, counts))
    found = taps(full, counts, attrs["kernel"], attrs["strides"], attrs["dilations"])
    return counts, [view for _, view in found]


def _max_pool(x: Array, attrs: Attrs) -> Sequence[Array]:
    least = lowest(x.dtype)
    if not attrs["indices"]:
        _, views = _each_tap(x, attrs, least)
        best = views[0].copy()
        for view in views[1:]:
            np.maximum(best, view, out=best)
        return [best]
    return _max_pool_with_places(x, attrs, least)


def _max_pool_with_places(x: Array, attrs: Attrs, least: float | int) -> Sequence[Array]:
    order = "C" if attrs["storage_order"] == 0 else "F"
    spatial = x.shape[2:]
    size = int(np.prod(spatial))
    inside = np.arange(size).reshape(spatial, order=order)
    channel = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(spatial))
    places = channel * size + inside
    _, views = _each_tap(x, attrs, least)
    _, wheres = _each_tap(places, attrs, -1)
    best, where = views[0].copy(), wheres[0].copy()
    for view, place in zip(views[1:], wheres[1:], strict=True):
        # A window may hold nothing above the padding's value; it then names a real element.
        better = (view > best) | ((where < 0) & (place >= 0)) | (np.isnan(view) & ~np.isnan(best))
        best, where = np.where(better, view, best), np.where(better, place, where)
    return [best, where.astype(np.int64)]


def _avg_pool(x: Array, attrs: Attrs) -> Sequence[Array]:
    wide = widen(x)
    _, views = _each_tap(wide, attrs, 0)
    # How many elements of each window count: padding only if asked for, nothing beyond it.
    ones = np.ones((1, 1, *x.shape[2:]), wide.dtype)
    if attrs["count_include_pad"]:
        padding = attrs["pads"]
        ones = padded(ones, padding, 1)
        counted = padded(ones, [0] * len(padding), 0, _spare(x, attrs, _counts(x, attrs)))
        found = taps(
            counted, _counts(x, attrs), attrs["kernel"], attrs["strides"], attrs["dilations"]
        )
        weights = [view for _, view in found]
    else:
        _, weights = _each_tap(ones, attrs, 0)
    zero = np.zeros((), wide.dtype)
    return [(sum(views, zero) / sum(weights, zero)).astype(x.dtype)]


def _lp_pool(x: Array, attrs: Attrs) -> Sequence[Array]:
    wide, p = widen(x), attrs["p"]
    _, views = _each_tap(np.abs(wide) ** wide.dtype.type(p), attrs, 0)
    total = sum(views, np.zeros((), wide.dtype))
    return [np.power(total, wide.dtype.type(1 / p)).astype(x.dtype)]


_CEIL = Attr(
    "ceil_mode",
    AttrKind.BOOL,
    False,
    "also take a last window that reaches beyond the padding, if it starts before the padding's end",
)
_BLOCK = Attr(
    "block", AttrKind.INT, 1, "channels in a block: above 1 `x` is `[N, C/block, *S, block]`"
)
_WINDOW = (KERNEL, STRIDES, PADS, DILATIONS, _CEIL)

OPS = (
    OpDef(
        name="max_pool",
        operands=(Operand("x", NUMERIC),),
        attrs=(
            *_WINDOW,
            Attr("indices", AttrKind.BOOL, False, "also give where each maximum stands (int64)"),
            Attr("storage_order", AttrKind.INT, 0, "of the indices: 0 row-major, 1 column-major"),
            _BLOCK,
        ),
        infer=_max_pool_type,
        reference=_blocked(_max_pool),
        fusion=Fusion.REDUCTION,
        doc="Greatest element of each window of `x [N, C, *S]`, NaN if any is; padding never wins. An "
        "index counts elements of the whole of `x`, the spatial axes in `storage_order`.",
    ),
    OpDef(
        name="avg_pool",
        operands=(Operand("x", FLOATS),),
        attrs=(
            *_WINDOW,
            Attr("count_include_pad", AttrKind.BOOL, False, "padding counts as elements, of 0"),
            _BLOCK,
        ),
        infer=_pool_type,
        reference=_blocked(_avg_pool),
        fusion=Fusion.REDUCTION,
        doc="Mean of each window of `x [N, C, *S]`. What lies beyond the padding never counts.",
    ),
    OpDef(
        name="lp_pool",
        operands=(Operand("x", FLOATS),),
        attrs=(*_WINDOW, Attr("p", AttrKind.INT, 2, "which norm"), _BLOCK),
        infer=_pool_type,
        reference=_blocked(_lp_pool),
        fusion=Fusion.REDUCTION,
        doc="p-norm of each window of `x [N, C, *S]`; padding counts as 0.",
    ),
)
