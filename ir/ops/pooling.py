"""Pooling: one figure for each window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dims import evaluate
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
    padded,
    taps,
    window_count,
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
        t.same(x.shape[-1], block, f"last size of {x} against block")
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


def _lp_pool_type(t: Typing) -> Sequence[TensorType]:
    at_least(t, "p", 1)
    return _pool_type(t)


Pool = Callable[[Array, Attrs], Sequence[Array]]


def _blocked(pool: Pool) -> Callable[[Sequence[Array], Attrs], Sequence[Array]]:
    """Reference of a pool on `[N, C, *S]`: unpacks a blocked operand, packs the result."""

    def reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (x,), block = inputs, attrs["block"]
        if block == 1:
            return pool(x, attrs)
        return [pack(y, block) for y in pool(unpack(x, x.shape[1] * block), attrs)]

    return reference


def _spans(attrs: Attrs) -> list[int]:
    """Elements from the first to the last tap of a window, along each axis."""
    return [(k - 1) * d + 1 for k, d in zip(attrs["kernel"], attrs["dilations"], strict=True)]


def _counts(x: Array, attrs: Attrs) -> list[int]:
    """Windows along each spatial axis."""
    rank, pads = x.ndim - 2, attrs["pads"]
    spans, strides, ceil_mode = _spans(attrs), attrs["strides"], attrs["ceil_mode"]
    counts = [
        window_count(size, spans[i], strides[i], pads[i], pads[rank + i], ceil_mode)
        for i, size in enumerate(x.shape[2:])
    ]
    return [evaluate(count, {}) for count in counts]


def _spare(x: Array, attrs: Attrs) -> list[int]:
    """Elements by which the last window of each axis reaches beyond the padding (`ceil_mode`)."""
    rank, pads = x.ndim - 2, attrs["pads"]
    reach = [
        (count - 1) * stride + span
        for count, stride, span in zip(
            _counts(x, attrs), attrs["strides"], _spans(attrs), strict=True
        )
    ]
    return [max(r - x.shape[2 + i] - pads[i] - pads[rank + i], 0) for i, r in enumerate(reach)]


def _taps(full: Array, counts: Sequence[int], attrs: Attrs) -> list[Array]:
    """For each tap, what it reads in every window of a padded tensor."""
    found = taps(full, counts, attrs["kernel"], attrs["strides"], attrs["dilations"])
    return [view for _, view in found]


def _each_tap(x: Array, attrs: Attrs, value: float | int) -> list[Array]:
    """For each tap, what it reads in every window, padding being `value`."""
    return _taps(padded(x, attrs["pads"], value, _spare(x, attrs)), _counts(x, attrs), attrs)


def _max_pool(x: Array, attrs: Attrs) -> Sequence[Array]:
    least = lowest(x.dtype)
    if not attrs["indices"]:
        views = _each_tap(x, attrs, least)
        best = views[0].copy()
        for view in views[1:]:
            np.maximum(best, view, out=best)
        return [best]
    return _max_pool_with_places(x, attrs, least)


def _max_pool_with_places(x: Array, attrs: Attrs, least: float | int) -> Sequence[Array]:
    spatial = x.shape[2:]
    size = math.prod(spatial)
    inside = np.arange(size).reshape(spatial)
    if attrs["storage_order"] == 1:
        inside = np.arange(size).reshape(spatial[::-1]).T
    channel = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(spatial))
    places = channel * size + inside
    views = _each_tap(x, attrs, least)
    wheres = _each_tap(places, attrs, -1)
    best, where = views[0].copy(), wheres[0].copy()
    for view, place in zip(views[1:], wheres[1:], strict=True):
        # A window may hold nothing above the padding's value; it then names a real element.
        better = (view > best) | ((where < 0) & (place >= 0)) | (np.isnan(view) & ~np.isnan(best))
        best, where = np.where(better, view, best), np.where(better, place, where)
    return [best, where.astype(np.int64)]


def _avg_pool(x: Array, attrs: Attrs) -> Sequence[Array]:
    wide = widen(x)
    # How many elements of each window count: padding only if asked for, nothing beyond it.
    ones = padded(np.ones((1, 1, *x.shape[2:]), wide.dtype), attrs["pads"], 0)
    if attrs["count_include_pad"]:
        ones = np.ones_like(ones)
    ones = padded(ones, (0,) * len(attrs["pads"]), 0, _spare(x, attrs))
    zero = np.zeros((), wide.dtype)
    total = sum(_each_tap(wide, attrs, 0), zero)
    return [(total / sum(_taps(ones, _counts(x, attrs), attrs), zero)).astype(x.dtype)]


def _lp_pool(x: Array, attrs: Attrs) -> Sequence[Array]:
    wide, p = widen(x), attrs["p"]
    views = _each_tap(np.abs(wide) ** wide.dtype.type(p), attrs, 0)
    total = sum(views, np.zeros((), wide.dtype))
    return [np.power(total, wide.dtype.type(1 / p)).astype(x.dtype)]


_CEIL = Attr(
    "ceil_mode",
    AttrKind.BOOL,
    False,
    "also take a last window that reaches beyond the padding, if it starts before the padding's "
    "end",
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
        doc="Greatest element of each window of `x [N, C, *S]`, NaN if any is; padding never wins. "
        "An index counts elements of the whole of `x`, the spatial axes in `storage_order`.",
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
        infer=_lp_pool_type,
        reference=_blocked(_lp_pool),
        fusion=Fusion.REDUCTION,
        doc="p-norm of each window of `x [N, C, *S]`; padding counts as 0.",
    ),
)
