"""Sums of products: matrix product and convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bireme.ir.dims import Dim, ceildiv
from bireme.ir.dtypes import NUMERIC, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import (
    at_least,
    has_rank,
    multiple,
    one_per_axis,
    rank_at_least,
    same_dtype,
)
from bireme.ir.ops._windows import (
    DILATIONS,
    PADS,
    STRIDES,
    check_window,
    padded,
    taps,
    window_counts,
    windows,
)
from bireme.ir.ops.shape import pack, unpack
from bireme.ir.types import TensorType
from bireme.ir.winograd import POINTS, TAPS, transforms

_HALVES = (DType.BF16, DType.F16)


def _result_dtype(t: Typing) -> DType:
    """Element type of the result: that of the operands, or the one that sums are made in."""
    dtype = same_dtype(t, t.types)
    at_least(t, "pair", 1)
    if not t.attrs["wide"]:
        return dtype
    if dtype not in _HALVES:
        raise t.fail(f"wide needs operands of float16 or bfloat16; found {dtype}", "BM2003")
    return DType.F32


def _matmul_type(t: Typing) -> Sequence[TensorType]:
    a, b = t.types
    dtype = _result_dtype(t)
    at_least(t, "block", 1)
    rank_at_least(t, a, 2, "a")
    if t.attrs["block"] > 1:
        return [_packed_matmul_type(t, dtype, a, b)]
    if t.attrs["pair"] > 1:
        raise t.fail("pair needs a block above 1", "BM1006")
    rank_at_least(t, b, 2, "b")
    t.same(a.shape[-1], b.shape[-2], f"inner sizes of {a} and {b}")
    batch = t.broadcast(a.shape[:-2], b.shape[:-2])
    return [TensorType(dtype, (*batch, a.shape[-2], b.shape[-1]))]


def _packed_matmul_type(t: Typing, dtype: DType, a: TensorType, b: TensorType) -> TensorType:
    block, columns, pair = t.attrs["block"], t.attrs["columns"], t.attrs["pair"]
    at_least(t, "columns", 1)
    has_rank(t, b, 3 if pair == 1 else 4, "packed b")
    inner = ceildiv(a.shape[-1], pair)
    t.same(inner, b.shape[1], f"inner sizes of {a} and packed {b}")
    if pair > 1:
        t.same(b.shape[3], pair, f"last size of packed {b} against pair")
    t.same(b.shape[2], block, f"columns in a block of packed {b} against block")
    t.same(b.shape[0], -(-columns // block), f"blocks of {b} for {columns} columns")
    return TensorType(dtype, (*a.shape[:-1], columns))


def _matmul_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    a, b = inputs
    if attrs["block"] > 1:
        b = unpair(b) if attrs["pair"] > 1 else b
        blocks, inner, block = b.shape
        b = np.moveaxis(b, 0, 1).reshape(inner, blocks * block)[: a.shape[-1], : attrs["columns"]]
    return [np.matmul(widen(a), widen(b)).astype(_result_type(a, attrs), copy=False)]


def unpair(weights: Array) -> Array:
    """`[..., inner / pair, block, pair]` as `[..., inner, block]`."""
    *outer, inner, block, pair = weights.shape
    return np.moveaxis(weights, -1, -2).reshape(*outer, inner * pair, block)


def _result_type(operand: Array, attrs: Attrs) -> np.dtype[Any]:
    return np.dtype(np.float32) if attrs["wide"] else operand.dtype


def _conv_type(t: Typing) -> Sequence[TensorType]:
    x, w = t.types
    dtype = _result_dtype(t)
    for name in ("groups", "in_block", "out_block"):
        at_least(t, name, 1)
    rank = len(t.attrs["strides"])
    check_window(t, rank)
    if t.attrs["out_block"] > 1:
        return [_blocked_conv_type(t, dtype, x, w, rank)]
    for name in ("in_block", "winograd", "pair"):
        if t.attrs[name] > 1:
            raise t.fail(f"{name} needs an out_block above 1", "BM1006")
    has_rank(t, x, rank + 2, "x")
    has_rank(t, w, rank + 2, "w")
    t.same(x.shape[1], w.shape[1] * t.attrs["groups"], f"channels of {x} and of filters {w}")
    multiple(t, w.shape[0], t.attrs["groups"], f"filters of {w} in groups")
    counts = window_counts(t, x.shape[2:], w.shape[2:])
    return [TensorType(dtype, (x.shape[0], w.shape[0], *counts))]


def _blocked_conv_type(
    t: Typing, dtype: DType, x: TensorType, w: TensorType, rank: int
) -> TensorType:
    inner, outer, groups = t.attrs["in_block"], t.attrs["out_block"], t.attrs["groups"]
    pair = t.attrs["pair"]
    plain = inner == 1
    has_rank(t, x, rank + (2 if plain else 3), "x")
    if not plain:
        t.same(x.shape[-1], inner, f"last size of {x} against in_block")
    if not 0 <= t.attrs["spare"] < inner:
        detail = f"spare must be below in_block, {inner}; found {t.attrs['spare']}"
        raise t.fail(detail, "BM1006")
    if t.attrs["winograd"]:
        kernel = _winograd_kernel(t, x, w)
    elif w.rank == rank + 2:
        # Depthwise: one filter for each channel.
        if inner != outer:
            raise t.fail(f"depthwise blocks differ: {inner} and {outer}", "BM1006")
        t.same(w.shape[-1], outer, f"last size of {w} against out_block")
        t.same(x.shape[1], w.shape[0], f"channel blocks of {x} and of filters {w}")
        kernel = w.shape[1:-1]
    else:
        if pair > 1:
            has_rank(t, w, rank + 5, "w")
            t.same(w.shape[-1], pair, f"last size of {w} against pair")
            w = w.with_shape((*w.shape[:-3], w.shape[-3] * pair, w.shape[-2]))
        has_rank(t, w, rank + 4, "w")
        t.same(w.shape[-2], inner, f"channels in a block of {w} against in_block")
        t.same(w.shape[-1], outer, f"filters in a block of {w} against out_block")
        t.same(x.shape[1], w.shape[1] * groups, f"channel blocks of {x} and of filters {w}")
        multiple(t, w.shape[0], groups, f"filter blocks of {w} in groups")
        kernel = w.shape[2:-2]
    counts = window_counts(t, x.shape[2 : 2 + rank], kernel)
    return TensorType(dtype, (x.shape[0], w.shape[0], *counts, outer))


def _winograd_kernel(t: Typing, x: TensorType, w: TensorType) -> Sequence[Dim]:
    """Taps of transformed filters."""
    attrs, tile = t.attrs, t.attrs["winograd"]
    plain = {*attrs["strides"], *attrs["dilations"], attrs["groups"]} == {1} and not any(
        attrs["pads"]
    )
    if tile not in POINTS or not plain or len(attrs["strides"]) != 2 or attrs["in_block"] == 1:
        known = " or ".join(map(str, POINTS))
        detail = f"winograd is {known}, for blocked 3x3 windows at every place; found {tile}"
        raise t.fail(detail, "BM1006")
    points = tile + TAPS - 1
    has_rank(t, w, 6, "w")
    for axis in (1, 2):
        t.same(w.shape[axis], points, f"points of {w} for tiles of {tile} outputs")
    t.same(x.shape[1], w.shape[3], f"channel blocks of {x} and of filters {w}")
    t.same(w.shape[4], attrs["in_block"], f"last size but one of {w} against in_block")
    t.same(w.shape[5], attrs["out_block"], f"last size of {w} against out_block")
    return (TAPS, TAPS)


def convolve(
    x: Array,
    w: Array,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Array:
    """Convolution of `[N, C, *S]` with `[O, C / groups, *K]`: a matrix product per group."""
    kernel = w.shape[2:]
    view = windows(padded(x, pads, 0), kernel, strides, dilations)
    batch, _, *sizes = view.shape
    counts = sizes[: len(kernel)]
    depth = math.prod(w.shape[1:])
    # [N, C, *out, *K] -> [N, G, C / G, *K, *out] -> columns of a matrix.
    rank = len(kernel)
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    columns = view.transpose(order).reshape(batch, groups, depth, math.prod(counts))
    filters = w.reshape(groups, w.shape[0] // groups, depth)
    return np.asarray(np.matmul(filters, columns)).reshape(batch, w.shape[0], *counts)


def _conv_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, w = map(widen, inputs)
    window = (attrs["strides"], attrs["pads"], attrs["dilations"])
    inner, outer, groups = attrs["in_block"], attrs["out_block"], attrs["groups"]
    result = _result_type(inputs[0], attrs)
    if outer == 1:
        return [convolve(x, w, *window, groups).astype(result, copy=False)]
    if inner > 1:
        x = unpack(x, x.shape[1] * inner)
    if attrs["winograd"]:
        packed = pack(_winograd(x, w, attrs["winograd"]), outer)
        return [packed.astype(result, copy=False)]
    if w.ndim == len(attrs["strides"]) + 2:
        w = np.moveaxis(w, -1, 1)
        w = w.reshape(w.shape[0] * outer, 1, *w.shape[2:])
        groups = w.shape[0]
    else:
        # [O/ob, C/ib, *K, ib, ob] -> [O/ob, ob, C/ib, ib, *K]
        w = unpair(w) if attrs["pair"] > 1 else w
        w = np.moveaxis(w, (-1, -2), (1, 3))
        w = w.reshape(w.shape[0] * outer, w.shape[2] * inner, *w.shape[4:])
    return [pack(convolve(x, w, *window, groups), outer).astype(result, copy=False)]


def _winograd(x: Array, w: Array, tile: int) -> Array:
    """Convolution of `[N, C, H, W]` with transformed filters `[O/ob, n, n, C/ib, ib, ob]`."""
    matrices, points = transforms(tile), tile + TAPS - 1
    batch, channels, height, width = x.shape
    height, width = height - TAPS + 1, width - TAPS + 1
    spare = [(0, 0), (0, 0), (0, -height % tile), (0, -width % tile)]
    view = windows(np.pad(x, spare), (points, points), (tile, tile), (1, 1))
    rows, columns = view.shape[2:4]
    # Products for each point: [n, n, O, C] times [n, n, C, N * tiles].
    data = np.asarray(matrices.input @ view @ matrices.input.T)
    data = data.transpose(4, 5, 1, 0, 2, 3).reshape(points, points, channels, -1)
    filters = w.transpose(1, 2, 0, 5, 3, 4).reshape(points, points, -1, channels)
    sums = np.matmul(filters, data).transpose(2, 3, 0, 1)
    result = np.asarray(matrices.output @ sums @ matrices.output.T)
    result = result.reshape(-1, batch, rows, columns, tile, tile).transpose(1, 0, 2, 4, 3, 5)
    whole = result.reshape(batch, -1, rows * tile, columns * tile)
    return np.ascontiguousarray(whole[:, :, :height, :width])


def _conv_transpose_type(t: Typing) -> Sequence[TensorType]:
    x, w = t.types
    dtype = same_dtype(t, t.types)
    at_least(t, "groups", 1)
    rank = len(t.attrs["strides"])
    check_window(t, rank)
    one_per_axis(t, "output_padding", rank)
    at_least(t, "output_padding", 0)
    has_rank(t, x, rank + 2, "x")
    has_rank(t, w, rank + 2, "w")
    t.same(x.shape[1], w.shape[0], f"channels of {x} and of filters {w}")
    multiple(t, x.shape[1], t.attrs["groups"], f"channels of {x} in groups")
    sizes: list[Dim] = []
    for i, (size, taps_) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True)):
        span = (taps_ - 1) * t.attrs["dilations"][i] + 1
        full = (size - 1) * t.attrs["strides"][i] + span + t.attrs["output_padding"][i]
        found = full - t.attrs["pads"][i] - t.attrs["pads"][rank + i]
        if isinstance(found, int) and found < 0:
            raise t.fail(f"spatial axis {i}: the padding removes more than the {full} elements")
        sizes.append(found)
    return [TensorType(dtype, (x.shape[0], w.shape[1] * t.attrs["groups"], *sizes))]


def _conv_transpose_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, w = map(widen, inputs)
    strides, dilations, pads = attrs["strides"], attrs["dilations"], attrs["pads"]
    groups, rank = attrs["groups"], len(attrs["strides"])
    batch, channels, *counts = x.shape
    filters, kernel = w.shape[1], w.shape[2:]
    # Every input element times every tap of every filter: [N, G, O/G * K, S].
    depth = channels // groups
    left = w.reshape(groups, depth, filters * math.prod(kernel)).transpose(0, 2, 1)
    right = x.reshape(batch, groups, depth, math.prod(counts))
    products = np.matmul(left, right).reshape(batch, groups, filters, *kernel, *counts)
    spans = [
        max((n - 1) * s + (k - 1) * d + 1, 0) + extra
        for n, s, k, d, extra in zip(
            counts, strides, kernel, dilations, attrs["output_padding"], strict=True
        )
    ]
    full = np.zeros((batch, groups * filters, *spans), x.dtype)
    for place, target in taps(full, counts, kernel, strides, dilations):
        target += products[(slice(None), slice(None), slice(None), *place)].reshape(target.shape)
    inner = [slice(pads[i], spans[i] - pads[rank + i]) for i in range(rank)]
    return [full[(slice(None), slice(None), *inner)].astype(inputs[0].dtype)]


_GROUPS = Attr("groups", AttrKind.INT, 1, "groups of channels that do not see each other")
_WIDE = Attr("wide", AttrKind.BOOL, False, "float16 or bfloat16 operands, a float32 result")

OPS = (
    OpDef(
        name="matmul",
        operands=(Operand("a", NUMERIC), Operand("b", NUMERIC)),
        attrs=(
            Attr(
                "block", AttrKind.INT, 1, "above 1: `b` is packed, [columns / block, inner, block]"
            ),
            Attr(
                "columns", AttrKind.INT, 0, "columns of a packed `b`; the last block may hold more"
            ),
            Attr(
                "pair",
                AttrKind.INT,
                1,
                "above 1: so many rows of a packed `b` stand together, [columns / block, inner / "
                "pair, block, pair]",
            ),
            _WIDE,
        ),
        infer=_matmul_type,
        reference=_matmul_reference,
        fusion=Fusion.CONTRACTION,
        doc="Matrix product over the last two axes; the axes before them broadcast. float16 and "
        "bfloat16 are summed in float32, integers wrap. With `block` above 1, `b` stands for one "
        "matrix `[inner, columns]`, packed as `[ceil(columns / block), inner, block]`.",
    ),
    OpDef(
        name="conv",
        operands=(Operand("x", NUMERIC), Operand("w", NUMERIC)),
        attrs=(
            STRIDES,
            PADS,
            DILATIONS,
            _GROUPS,
            Attr("in_block", AttrKind.INT, 1, "channels in a block of `x`; 1: `x` is not blocked"),
            Attr("out_block", AttrKind.INT, 1, "channels in a block of the result; 1: no blocks"),
            Attr(
                "spare",
                AttrKind.INT,
                0,
                "channels at the end of the last block of `x` that do not exist: `w` is zero there",
            ),
            Attr(
                "winograd",
                AttrKind.INT,
                0,
                "m above 0: `w` is transformed for tiles of m × m outputs",
            ),
            Attr(
                "pair",
                AttrKind.INT,
                1,
                "above 1: so many input channels of a blocked `w` stand together, [..., in_block / "
                "pair, out_block, pair]",
            ),
            _WIDE,
        ),
        infer=_conv_type,
        reference=_conv_reference,
        fusion=Fusion.CONTRACTION,
        doc="Convolution (cross-correlation) of `x [N, C, *S]` with `w [O, C/groups, *K]` to `[N, "
        "O, *S']`, without bias; padding is zero. With `out_block` ob above 1 the channels are "
        "blocked: `w` is `[O/ob, (C/groups)/ib, *K, ib, ob]` or, for a depthwise convolution (ib = "
        "ob = b), `[C/b, *K, b]`; `x` is `[N, C/ib, *S, ib]`, with ib = 1 the plain `[N, C, *S]`; "
        "the result is `[N, O/ob, *S', ob]`. With `winograd` m, `w` holds 3×3 filters at the n = "
        "m + 2 points of Winograd's minimal filtering, `[O/ob, n, n, C/ib, ib, ob]`.",
    ),
    OpDef(
        name="conv_transpose",
        operands=(Operand("x", NUMERIC), Operand("w", NUMERIC)),
        attrs=(
            STRIDES,
            Attr(
                "pads",
                AttrKind.INTS,
                doc="elements removed before each spatial axis of the result, then those after "
                "each",
            ),
            DILATIONS,
            _GROUPS,
            Attr(
                "output_padding", AttrKind.INTS, doc="for each spatial axis, zeros added at its end"
            ),
        ),
        infer=_conv_transpose_type,
        reference=_conv_transpose_reference,
        fusion=Fusion.CONTRACTION,
        doc="Transposed convolution of `x [N, C, *S]` with `w [C, O/groups, *K]` to `[N, O, *S']`: "
        "each element adds its multiple of the filters to the result, at `strides` times its "
        "place.",
    ),
)
